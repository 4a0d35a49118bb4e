//! Writes a clip set, one clip after the other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::shard::ShardWriter;
use crate::{Clip, ClipsError, Dataset, files, index};

/// Bytes of pixels that a shard holds at most, unless one clip is larger.
const SHARD_BYTES: usize = 256 << 20;

/// Writes a clip set, one clip after the other, in the order of their ids.
///
/// Memory stays constant, and equal clips give equal bytes. The set is complete only when
/// [`finish`](Self::finish) has returned: `dataset.json` is written last.
#[derive(Debug)]
pub struct ClipSetWriter {
    folder: PathBuf,
    dataset: Dataset,
    rows_per_shard: usize,
    index: BufWriter<File>,
    shard: Option<ShardWriter>,
    shards: u32,
    clips: usize,
    last_id: Option<String>,
}

impl ClipSetWriter {
    /// Begins a set in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// A data set without classes, with a class twice or with clips of no size; a folder that cannot
    /// be written.
    pub fn create(folder: &Path, dataset: Dataset) -> Result<Self, ClipsError> {
        Self::with_shard_bytes(folder, dataset, SHARD_BYTES)
    }

    /// The same with another limit for a shard.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn with_shard_bytes(
        folder: &Path,
        dataset: Dataset,
        shard_bytes: usize,
    ) -> Result<Self, ClipsError> {
        dataset.check(folder)?;
        std::fs::create_dir_all(folder).map_err(|source| ClipsError::Write {
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(files::CLIPS);
        let index = File::create(&path).map_err(|source| ClipsError::Write { path, source })?;
        Ok(Self {
            folder: folder.to_owned(),
            rows_per_shard: (shard_bytes / dataset.clip_bytes()).max(1),
            dataset,
            index: BufWriter::new(index),
            shard: None,
            shards: 0,
            clips: 0,
            last_id: None,
        })
    }

    /// Adds a clip; its shard and row are set here.
    ///
    /// # Errors
    /// Refuses an id that does not come after the one before, an unknown label, and pixels that are
    /// not frames x height x width x 3.
    pub fn push(&mut self, mut clip: Clip, pixels: &[u8]) -> Result<(), ClipsError> {
        if let Some(message) = self.refusal(&clip, pixels.len()) {
            return Err(ClipsError::Refused {
                id: clip.id,
                message,
            });
        }
        let shard = match &mut self.shard {
            Some(shard) if shard.rows() < self.rows_per_shard => shard,
            full => {
                if let Some(full) = full.take() {
                    full.finish()?;
                }
                let path = self.folder.join(files::shard(self.shards));
                self.shards += 1;
                full.insert(ShardWriter::create(path, self.dataset.clip_shape())?)
            }
        };
        clip.shard = self.shards - 1;
        clip.row = shard.rows() as u32;
        shard.push(pixels)?;
        let path = self.folder.join(files::CLIPS);
        index::line(&clip, &self.dataset)
            .map_err(std::io::Error::from)
            .and_then(|line| self.index.write_all(&line))
            .map_err(|source| ClipsError::Write { path, source })?;
        self.clips += 1;
        self.last_id = Some(clip.id);
        Ok(())
    }

    /// Completes the set and says how many clips it has.
    ///
    /// # Errors
    /// Files that cannot be written, as on a full disk.
    pub fn finish(mut self) -> Result<usize, ClipsError> {
        if let Some(shard) = self.shard.take() {
            shard.finish()?;
        }
        self.index.flush().map_err(|source| ClipsError::Write {
            path: self.folder.join(files::CLIPS),
            source,
        })?;
        let path = self.folder.join(files::DATASET);
        serde_json::to_vec_pretty(&self.dataset)
            .map_err(std::io::Error::from)
            .and_then(|mut text| {
                text.push(b'\n');
                std::fs::write(&path, text)
            })
            .map_err(|source| ClipsError::Write { path, source })?;
        Ok(self.clips)
    }

    fn refusal(&self, clip: &Clip, bytes: usize) -> Option<String> {
        if let Some(last) = self.last_id.as_ref().filter(|last| **last >= clip.id) {
            return Some(format!(
                "it does not come after `{last}`; clips are ordered by id"
            ));
        }
        let classes = self.dataset.classes.len();
        if clip.label >= classes {
            return Some(format!(
                "label {} is out of range: there are {classes} classes",
                clip.label
            ));
        }
        let expected = self.dataset.clip_bytes();
        (bytes != expected).then(|| format!("it has {bytes} bytes of pixels, not {expected}"))
    }
}
