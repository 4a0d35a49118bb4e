//! Models that open tasks started from, as files.
//!
//! Each is read twice or more: to be published, and for every update that is made of it. One that this process wrote is then held against
//! a CRC-32, which finds what a disk damages and takes a tenth of the time; one of an earlier process against its SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{Digest, FleetError, files};

/// The folder of models.
#[derive(Debug)]
pub(super) struct Versions {
    folder: PathBuf,
    /// The last one kept, which several tasks start from.
    last: Option<(u64, Digest)>,
    /// The checksums of those that this process wrote.
    checksums: BTreeMap<u64, u32>,
}

/// A model that is read piece by piece, and checked at its end.
pub(crate) struct Reading {
    pieces: files::Pieces,
    check: Check,
}

/// What is computed, and what it must be.
enum Check {
    Checksum(crc32fast::Hasher, u32),
    Digest(Sha256, Digest),
}

impl Versions {
    pub fn at(folder: &Path) -> Result<Self, FleetError> {
        files::folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            last: None,
            checksums: BTreeMap::new(),
        })
    }

    /// Where a model lies that was kept.
    pub fn path(&self, version: u64) -> PathBuf {
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
        let mut checksum = crc32fast::Hasher::new();
        files::each_block(parameters, |bytes| {
            checksum.update(bytes);
            file.add(bytes)
        })?;
        let digest = file.digest();
        file.finish(files::Lasting::Derived)?;
        self.checksums.insert(version, checksum.finalize());
        self.last = Some((version, digest));
        Ok(digest)
    }

    /// A model that was kept, at its beginning.
    pub fn open(&self, version: u64, digest: Digest) -> Result<Reading, FleetError> {
        let check = match self.checksums.get(&version) {
            Some(checksum) => Check::Checksum(crc32fast::Hasher::new(), *checksum),
            None => Check::Digest(Sha256::new(), digest),
        };
        let pieces = files::Pieces::open(&self.path(version))?;
        Ok(Reading { pieces, check })
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
        let mut reading = self.open(version, digest)?;
        let mut block = Vec::with_capacity(files::BLOCK * 4);
        loop {
            reading.fill(&mut block, files::BLOCK * 4)?;
            if block.is_empty() {
                return reading.check();
            }
            each(&block);
        }
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
        self.checksums
            .retain(|version, _| versions.contains(version));
        Ok(())
    }
}

impl Reading {
    /// So many bytes more, or those that are left.
    pub fn next(&mut self, bytes: usize) -> Result<Vec<u8>, FleetError> {
        let mut piece = Vec::with_capacity(bytes);
        self.fill(&mut piece, bytes)?;
        Ok(piece)
    }

    /// The same in the place of what was read before.
    fn fill(&mut self, piece: &mut Vec<u8>, bytes: usize) -> Result<(), FleetError> {
        self.pieces.fill(piece, bytes)?;
        match &mut self.check {
            Check::Checksum(checksum, _) => checksum.update(piece),
            Check::Digest(hash, _) => hash.update(&*piece),
        }
        Ok(())
    }

    /// Whether what was read to its end is what the task was sent with.
    pub fn check(self) -> Result<(), FleetError> {
        let whole = match self.check {
            Check::Checksum(checksum, expected) => checksum.finalize() == expected,
            Check::Digest(hash, expected) => hash.finalize()[..] == expected.as_bytes()[..],
        };
        if whole {
            return Ok(());
        }
        Err(FleetError::Damaged {
            path: self.pieces.path().to_owned(),
            offset: 0,
            reason: "it is not the model that was sent with the task".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_was_damaged_on_the_disk_is_noticed_by_the_process_that_wrote_it_and_by_the_next()
     {
        let folder = tempfile::tempdir().unwrap();
        let mut own = Versions::at(folder.path()).unwrap();
        let model: Vec<f32> = (0..100_000).map(|number| number as f32).collect();
        let digest = own.keep(7, &model).unwrap();
        let next = Versions::at(folder.path()).unwrap();
        let mut read = Vec::new();
        for versions in [&own, &next] {
            read.clear();
            let block = |block: &[u8]| read.extend_from_slice(block);
            versions.read(7, digest, block).unwrap();
            assert_eq!(Digest::of(&read), digest);
        }
        read[250_000] ^= 4;
        std::fs::write(own.path(7), &read).unwrap();
        for versions in [&own, &next] {
            let error = versions.read(7, digest, |_| {}).unwrap_err().to_string();
            assert!(error.contains("not the model"), "{error}");
        }
    }
}
