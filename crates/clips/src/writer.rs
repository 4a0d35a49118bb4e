//! Writes a clip set, one clip after the other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::clip::write_line;
use crate::columns::Columns;
use crate::shard::{ShardWriter, Stored};
use crate::{Clip, ClipSet, ClipsError, Dataset, Encoding, files, jpeg};

/// Bytes of clips that a shard holds at most, unless one clip is larger.
const SHARD_BYTES: usize = 256 << 20;

/// Writes a clip set, one clip after the other, in the order of their ids.
///
/// Memory stays constant but for some 40 bytes a clip, and equal clips give equal bytes. The set is complete only when
/// [`finish`](Self::finish) has returned: `dataset.json` is written last.
#[derive(Debug)]
pub struct ClipSetWriter {
    folder: PathBuf,
    dataset: Dataset,
    shard_bytes: usize,
    lines: BufWriter<File>,
    columns: Columns,
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
        let lines = File::create(&path).map_err(|source| ClipsError::Write { path, source })?;
        Ok(Self {
            folder: folder.to_owned(),
            shard_bytes,
            dataset,
            lines: BufWriter::new(lines),
            columns: Columns::default(),
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
    pub fn push(&mut self, clip: Clip, pixels: &[u8]) -> Result<(), ClipsError> {
        let (bytes, expected) = (pixels.len(), self.dataset.clip_bytes());
        let wrong =
            (bytes != expected).then(|| format!("it has {bytes} bytes of pixels, not {expected}"));
        if let Some(message) = self.refusal(&clip).or(wrong) {
            return Err(ClipsError::Refused {
                id: clip.id,
                message,
            });
        }
        let encoded;
        let stored = match self.dataset.encoding {
            Encoding::Raw => Stored::Raw(pixels),
            Encoding::Jpeg { quality } => {
                encoded = jpeg::encode(pixels, &self.dataset, quality).map_err(|message| {
                    ClipsError::Refused {
                        id: clip.id.clone(),
                        message,
                    }
                })?;
                encoded.stored()
            }
        };
        self.put(clip, &stored)
    }

    /// Adds a clip with the pixels of another set's clip `number`: the stored bytes as they are where both sets
    /// have the same encoding, so that nothing is encoded twice, else as [`push`](Self::push).
    ///
    /// # Errors
    /// As [`push`](Self::push); the other set's clip is damaged or of another shape.
    pub fn take_over(
        &mut self,
        clip: Clip,
        set: &ClipSet,
        number: usize,
    ) -> Result<(), ClipsError> {
        if set.dataset().encoding != self.dataset.encoding {
            return self.push(clip, set.pixels(number, &mut Vec::new())?);
        }
        let (found, expected) = (set.dataset().clip_shape(), self.dataset.clip_shape());
        let wrong = (found != expected)
            .then(|| format!("its pixels have the shape {found:?}, not {expected:?}"));
        if let Some(message) = self.refusal(&clip).or(wrong) {
            return Err(ClipsError::Refused {
                id: clip.id,
                message,
            });
        }
        self.put(clip, &set.stored(number)?)
    }

    fn put(&mut self, mut clip: Clip, stored: &Stored<'_>) -> Result<(), ClipsError> {
        let shard = match &mut self.shard {
            Some(shard) if shard.bytes() + stored.bytes().len() <= self.shard_bytes => shard,
            full => {
                if let Some(full) = full.take() {
                    full.finish()?;
                }
                let path = self.folder.join(files::shard(self.shards));
                self.shards += 1;
                full.insert(ShardWriter::create(path, &self.dataset)?)
            }
        };
        clip.shard = self.shards - 1;
        clip.row = shard.rows() as u32;
        shard.push(stored)?;
        let path = self.folder.join(files::CLIPS);
        let line = write_line(&clip, &self.dataset)
            .map_err(std::io::Error::from)
            .and_then(|line| self.lines.write_all(&line).map(|()| line))
            .map_err(|source| ClipsError::Write { path, source })?;
        self.columns.push(&clip, &line, Some(stored.crc32()))?;
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
        self.lines.flush().map_err(|source| ClipsError::Write {
            path: self.folder.join(files::CLIPS),
            source,
        })?;
        let put = |name: &str, bytes: &[u8]| {
            let path = self.folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| ClipsError::Write { path, source })
        };
        let dataset = self.dataset.to_bytes().map_err(|error| ClipsError::Write {
            path: self.folder.join(files::DATASET),
            source: error.into(),
        })?;
        let index = std::mem::take(&mut self.columns).into_bytes(crc32fast::hash(&dataset));
        put(files::INDEX, &index)?;
        put(files::DATASET, &dataset)?;
        Ok(self.clips)
    }

    fn refusal(&self, clip: &Clip) -> Option<String> {
        if let Some(last) = self.last_id.as_ref().filter(|last| **last >= clip.id) {
            return Some(format!(
                "it does not come after `{last}`; clips are ordered by id"
            ));
        }
        let classes = self.dataset.classes.len();
        (clip.label >= classes).then(|| {
            format!(
                "label {} is out of range: there are {classes} classes",
                clip.label
            )
        })
    }
}
