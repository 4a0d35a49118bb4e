//! Models that open tasks started from, as files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

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
        let mut file = files::Unfinished::begin_hashed(&self.path(version))?;
        file.add_numbers(parameters)?;
        let digest = file.digest();
        file.finish(files::Lasting::Derived)?;
        self.last = Some((version, digest));
        Ok(digest)
    }

    /// Reads a model that was kept, block by block, so that it need not be in memory as a whole.
    ///
    /// # Errors
    /// It cannot be read, or, after its last block, is not what it was.
    pub fn read(
        &self,
        version: u64,
        digest: Digest,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), FleetError> {
        let path = self.path(version);
        let mut file = File::open(&path).map_err(FleetError::file(&path))?;
        let mut block = vec![0; files::BLOCK * 4];
        let mut hash = Sha256::new();
        loop {
            let filled = fill(&mut file, &mut block).map_err(FleetError::file(&path))?;
            if filled == 0 {
                break;
            }
            hash.update(&block[..filled]);
            each(&block[..filled]);
        }
        if hash.finalize()[..] != digest.as_bytes()[..] {
            return Err(FleetError::Damaged {
                path,
                offset: 0,
                reason: "its digest is not the one that was sent with the task".into(),
            });
        }
        Ok(())
    }

    /// A model that was kept, at its beginning, when all of it was found to be what it was.
    pub fn open(&self, version: u64, digest: Digest) -> Result<File, FleetError> {
        self.read(version, digest, |_| {})?;
        let path = self.path(version);
        File::open(&path).map_err(FleetError::file(&path))
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

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
