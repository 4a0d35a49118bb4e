//! The models of a device, as files in its folder: the last one that was fetched, and what there is of the next one.
//!
//! ```text
//! model-DIGEST      a model, found to be what its name says
//! fetching-DIGEST   a model from its first byte on, so far
//! ```
//!
//! The last one stays until the next one is whole where that is made of it, and goes before that is fetched where it is not: then the
//! disk needs room for one model alone.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::wire::CHUNK_BYTES;
use crate::{Digest, FleetError, files};

const WHOLE: &str = "model-";
const GROWING: &str = "fetching-";

/// The models in a folder.
#[derive(Debug)]
pub(super) struct Models {
    folder: PathBuf,
    held: watch::Sender<Option<Digest>>,
}

/// A model that is being fetched.
#[derive(Debug)]
pub(super) struct Growing {
    path: PathBuf,
    file: File,
    /// Bytes that it will have.
    length: u64,
    /// Whole pieces that are there.
    pieces: u64,
    /// What it is made of, and where that lies.
    base: Option<(PathBuf, File)>,
    /// SHA-256 that it must have at its end.
    result: Digest,
}

impl Models {
    /// Finds what an earlier process left.
    pub fn open(folder: &Path) -> Result<Self, FleetError> {
        let mut held = None;
        for path in named(folder, WHOLE)? {
            let digest = digest_in(&path, WHOLE);
            if held.is_none() && digest.is_some() {
                held = digest;
            } else {
                files::remove(&path)?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            held: watch::Sender::new(held),
        })
    }

    /// The model that is there as a whole.
    pub fn held(&self) -> Option<Digest> {
        *self.held.borrow()
    }

    /// The same, whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Option<Digest>> {
        self.held.subscribe()
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{WHOLE}{digest}"))
    }

    /// The numbers of this model, if it is the one that is there. One that is not what its name says is removed.
    pub fn read(&self, digest: Digest) -> Result<Option<Vec<f32>>, FleetError> {
        if self.held() != Some(digest) {
            return Ok(None);
        }
        let numbers = read(&self.path(digest), digest)?;
        if numbers.is_none() {
            self.forget()?;
        }
        Ok(numbers)
    }

    /// Removes the model that is there.
    pub fn forget(&self) -> Result<(), FleetError> {
        self.held.send_replace(None);
        named(&self.folder, WHOLE)?
            .iter()
            .try_for_each(|path| files::remove(path))
    }

    /// Begins a model of so many bytes, or goes on with it; of a base, which must be the model that is there: else nothing. Without a base
    /// that one goes first.
    pub fn begin(
        &self,
        result: Digest,
        length: u64,
        base: Option<Digest>,
    ) -> Result<Option<Growing>, FleetError> {
        let base = match base {
            None => {
                self.forget()?;
                None
            }
            Some(base) if self.held() != Some(base) => return Ok(None),
            Some(base) => {
                let path = self.path(base);
                match File::open(&path) {
                    Ok(file) => Some((path, file)),
                    Err(_) => {
                        self.forget()?;
                        return Ok(None);
                    }
                }
            }
        };
        let path = self.folder.join(format!("{GROWING}{result}"));
        for other in named(&self.folder, GROWING)? {
            if other != path {
                files::remove(&other)?;
            }
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path);
        let file = file.map_err(FleetError::file(&path))?;
        let there = file.metadata().map_err(FleetError::file(&path))?.len();
        let pieces = match there >= length {
            true => length.div_ceil(CHUNK_BYTES as u64),
            false => there / CHUNK_BYTES as u64,
        };
        // Whole pieces alone: the last one may have been cut within by a loss of power.
        let whole = length.min(pieces * CHUNK_BYTES as u64);
        file.set_len(whole).map_err(FleetError::file(&path))?;
        Ok(Some(Growing {
            path,
            file,
            length,
            pieces,
            base,
            result,
        }))
    }

    /// The numbers of a model that has come to its end, which is then the one that is there. Nothing if it is not what it should be:
    /// then it goes, and what it was made of, which of the two was wrong being unknown.
    pub fn finish(&self, growing: Growing) -> Result<Option<Vec<f32>>, FleetError> {
        let Growing { path, result, .. } = &growing;
        let Some(numbers) = read(path, *result)? else {
            self.give_up(&growing)?;
            return Ok(None);
        };
        self.forget()?;
        let own = self.path(*result);
        std::fs::rename(path, &own).map_err(FleetError::file(&own))?;
        self.held.send_replace(Some(*result));
        Ok(Some(numbers))
    }

    /// Removes a model that cannot come to an end, and what it was made of.
    pub fn give_up(&self, growing: &Growing) -> Result<(), FleetError> {
        if growing.base.is_some() {
            self.forget()?;
        }
        files::remove(&growing.path)
    }
}

impl Growing {
    /// The first piece that is missing; none when it has come to its end.
    pub fn next(&self) -> Option<u64> {
        (self.pieces < self.all()).then_some(self.pieces)
    }

    /// How many pieces it will have.
    pub fn all(&self) -> u64 {
        self.length.div_ceil(CHUNK_BYTES as u64)
    }

    /// Bytes of the first piece that is missing.
    pub fn next_bytes(&self) -> usize {
        let left = self.length - self.length.min(self.pieces * CHUNK_BYTES as u64);
        left.min(CHUNK_BYTES as u64) as usize
    }

    /// The same piece of what it is made of; nothing if that is too short.
    pub fn there(&mut self) -> Result<Option<Vec<u8>>, FleetError> {
        let mut piece = vec![0; self.next_bytes()];
        let Some((path, file)) = &mut self.base else {
            return Ok(None);
        };
        let place = SeekFrom::Start(self.pieces * CHUNK_BYTES as u64);
        file.seek(place).map_err(FleetError::file(path))?;
        Ok(file.read_exact(&mut piece).is_ok().then_some(piece))
    }

    /// Adds the first piece that is missing.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), FleetError> {
        let written = self.file.write_all(piece);
        written.map_err(FleetError::file(&self.path))?;
        self.pieces += 1;
        Ok(())
    }
}

/// The numbers of a file, if it has this digest; never twice in memory.
fn read(path: &Path, digest: Digest) -> Result<Option<Vec<f32>>, FleetError> {
    let Some(mut pieces) = files::Pieces::open_if_there(path)? else {
        return Ok(None);
    };
    let count = usize::try_from(pieces.length()? / 4).unwrap_or_default();
    let (mut numbers, mut hash) = (Vec::with_capacity(count), Sha256::new());
    let mut piece = Vec::with_capacity(CHUNK_BYTES);
    loop {
        pieces.fill(&mut piece, CHUNK_BYTES)?;
        if piece.is_empty() {
            break;
        }
        hash.update(&piece);
        numbers.extend(files::each_number_of(&piece));
    }
    let whole = hash.finalize()[..] == digest.as_bytes()[..];
    Ok(whole.then_some(numbers))
}

/// Files whose names begin so.
fn named(folder: &Path, begin: &str) -> Result<Vec<PathBuf>, FleetError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(FleetError::file(folder))? {
        let entry = entry.map_err(FleetError::file(folder))?;
        if entry.file_name().to_string_lossy().starts_with(begin) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn digest_in(path: &Path, begin: &str) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(begin)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a model of two pieces and a half.
    fn model(salt: u8) -> Vec<u8> {
        let bytes = (0..CHUNK_BYTES * 5 / 2).map(|place| (place / 7) as u8 ^ salt);
        bytes.collect()
    }

    fn grow(models: &Models, model: &[u8], base: Option<Digest>) -> Option<Vec<f32>> {
        let length = model.len() as u64;
        let mut growing = models.begin(Digest::of(model), length, base).unwrap()?;
        while let Some(piece) = growing.next() {
            let begin = piece as usize * CHUNK_BYTES;
            let end = begin + growing.next_bytes();
            growing.add(&model[begin..end]).unwrap();
        }
        models.finish(growing).unwrap()
    }

    #[test]
    fn a_model_that_broke_off_goes_on_with_whole_pieces_and_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, models) = (model(1), Models::open(folder.path()).unwrap());
        let digest = Digest::of(&bytes);
        let begin = || models.begin(digest, bytes.len() as u64, None).unwrap();
        let mut growing = begin().unwrap();
        growing.add(&bytes[..CHUNK_BYTES]).unwrap();
        growing.add(&bytes[..99]).unwrap();
        let growing = begin().unwrap();
        assert_eq!((growing.next(), models.held()), (Some(1), None));
        drop(growing);
        let numbers = grow(&models, &bytes, None).unwrap();
        assert_eq!(files::bytes_of(&numbers), bytes);
        let again = Models::open(folder.path()).unwrap();
        assert_eq!(again.held(), Some(digest));
        let numbers = again.read(digest).unwrap().unwrap();
        assert_eq!(files::bytes_of(&numbers), bytes);
    }

    #[test]
    fn a_base_is_read_piece_by_piece_and_goes_when_the_next_model_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let models = Models::open(folder.path()).unwrap();
        let (first, second) = (model(1), model(2));
        let base = Digest::of(&first);
        assert!(grow(&models, &first, None).is_some());
        let result = Digest::of(&second);
        let none = models.begin(result, 8, Some(result)).unwrap();
        assert!(none.is_none(), "another base than the one that is there");
        let mut growing = models.begin(result, second.len() as u64, Some(base));
        let growing = growing.as_mut().unwrap().as_mut().unwrap();
        growing.add(&second[..CHUNK_BYTES]).unwrap();
        growing.add(&second[CHUNK_BYTES..2 * CHUNK_BYTES]).unwrap();
        assert_eq!(growing.there().unwrap().unwrap(), first[2 * CHUNK_BYTES..]);
        assert_eq!(models.held(), Some(base));
        assert!(grow(&models, &second, Some(base)).is_some());
        assert_eq!(models.held(), Some(result));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_result_that_is_wrong_goes_with_its_base_and_a_damaged_model_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let models = Models::open(folder.path()).unwrap();
        let first = model(1);
        let digest = Digest::of(&first);
        grow(&models, &first, None).unwrap();
        let mut growing = models.begin(Digest::of("other"), 4, Some(digest));
        let mut growing = growing.as_mut().unwrap().take().unwrap();
        growing.add(&[1; 4]).unwrap();
        assert!(models.finish(growing).unwrap().is_none());
        assert_eq!(models.held(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        grow(&models, &first, None).unwrap();
        std::fs::write(models.path(digest), &first[4..]).unwrap();
        assert!(models.read(digest).unwrap().is_none());
        assert_eq!(models.held(), None);
    }
}
