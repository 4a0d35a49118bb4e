//! The models that devices have, as files: differences are taken to them.
//!
//! A file is named after its SHA-256. That of a version is a link to the engine's own (which goes when no open task needs it); what a
//! lossy difference results in lies here alone. Nothing here must last: where a file is missing or is not what its name says, the device
//! gets the whole model. There is one file for each model that some device has or is about to have: at most two a device.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{Digest, FleetError, files};

/// The folder.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
}

impl Held {
    /// Those of a run, as an earlier process left them.
    pub fn at(folder: PathBuf) -> Result<Self, FleetError> {
        files::folder(&folder)?;
        Ok(Self { folder })
    }

    /// Where a model lies, or would.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Where one grows whose digest is not known yet.
    pub fn growing(&self) -> PathBuf {
        self.folder.join("growing")
    }

    pub fn has(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// Keeps a model that lies elsewhere, unless it is there already.
    pub fn link(&self, digest: Digest, from: &Path) -> Result<(), FleetError> {
        let path = self.path(digest);
        if path.exists() || std::fs::hard_link(from, &path).is_ok() {
            return Ok(());
        }
        // A file system without links.
        std::fs::copy(from, &path)
            .map(|_| ())
            .map_err(FleetError::file(&path))
    }

    pub fn forget(&self, digest: Digest) -> Result<(), FleetError> {
        files::remove(&self.path(digest))
    }

    /// Removes all others.
    pub fn forget_all_but(&self, needed: &BTreeSet<Digest>) -> Result<(), FleetError> {
        let error = || FleetError::file(&self.folder);
        for entry in std::fs::read_dir(&self.folder).map_err(error())? {
            let entry = entry.map_err(error())?;
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if digest.is_none_or(|digest| !needed.contains(&digest)) {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_held_outlives_the_file_that_it_was_kept_in() {
        let folder = tempfile::tempdir().unwrap();
        let held = Held::at(folder.path().join("held")).unwrap();
        let version = folder.path().join("12");
        std::fs::write(&version, "a model").unwrap();
        let digest = Digest::of("a model");
        held.link(digest, &version).unwrap();
        held.link(digest, &version).unwrap();
        std::fs::remove_file(&version).unwrap();
        assert_eq!(std::fs::read(held.path(digest)).unwrap(), b"a model");
        std::fs::write(held.path(Digest::of("another")), "another").unwrap();
        std::fs::write(held.growing(), "half").unwrap();
        held.forget_all_but(&BTreeSet::from([digest])).unwrap();
        assert!(held.has(digest) && !held.has(Digest::of("another")));
        assert!(!held.growing().exists());
        held.forget(digest).unwrap();
        held.forget(digest).unwrap();
        assert!(!held.has(digest));
    }
}
