//! Models that open tasks started from, as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{Digest, FleetError, files};

/// The folder of models.
#[derive(Debug)]
pub(super) struct Versions {
    folder: PathBuf,
    /// The last one kept, which several tasks start from.
    last: Option<(u64, Digest)>,
}

impl Versions {
    pub fn at(folder: &Path) -> Result<Self, FleetError> {
        files::folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            last: None,
        })
    }

    fn path(&self, version: u64) -> PathBuf {
        self.folder.join(version.to_string())
    }

    /// Keeps a model. It is not synced before the next checkpoint: until then, the journal makes it again.
    pub fn keep(&mut self, version: u64, parameters: &[f32]) -> Result<Digest, FleetError> {
        if let Some((last, digest)) = self.last
            && last == version
        {
            return Ok(digest);
        }
        let bytes = files::bytes_of(parameters);
        let digest = Digest::of(&bytes);
        files::write(&self.path(version), &[&bytes], files::Lasting::Derived)?;
        self.last = Some((version, digest));
        Ok(digest)
    }

    /// The bytes of a model that was kept.
    pub fn read(&self, version: u64, digest: Digest) -> Result<Vec<u8>, FleetError> {
        let path = self.path(version);
        let bytes = std::fs::read(&path).map_err(FleetError::file(&path))?;
        if Digest::of(&bytes) != digest {
            return Err(FleetError::Damaged {
                path,
                offset: 0,
                reason: "its digest is not the one that was sent with the task".into(),
            });
        }
        Ok(bytes)
    }

    /// Makes these last.
    pub fn sync(&self, versions: &BTreeSet<u64>) -> Result<(), FleetError> {
        for version in versions {
            files::sync(&self.path(*version))?;
        }
        files::sync_folder_of(&self.path(0))
    }

    /// Removes all others.
    pub fn forget_all_but(&mut self, versions: &BTreeSet<u64>) -> Result<(), FleetError> {
        let entries = std::fs::read_dir(&self.folder).map_err(FleetError::file(&self.folder))?;
        for entry in entries {
            let entry = entry.map_err(FleetError::file(&self.folder))?;
            let version = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if version.is_none_or(|version| !versions.contains(&version)) {
                files::remove(&entry.path())?;
            }
        }
        self.last = self.last.filter(|(last, _)| versions.contains(last));
        Ok(())
    }
}
