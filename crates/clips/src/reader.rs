//! Reads a clip set without copying pixels.

use std::path::{Path, PathBuf};

use crate::shard::Shard;
use crate::{Clip, ClipsError, Dataset, Split, files, index};

/// A clip set on disk, mapped into memory. Cheap to share between threads.
#[derive(Debug)]
pub struct ClipSet {
    folder: PathBuf,
    dataset: Dataset,
    clips: Vec<Clip>,
    shards: Vec<Shard>,
}

impl ClipSet {
    /// Opens the set in a folder: reads its index, maps its shards and checks one against the other.
    /// No pixel is read.
    ///
    /// # Errors
    /// Names the file that is missing, cut off, of another shape or made by another version, and the
    /// clip that is not where the index says.
    pub fn open(folder: &Path) -> Result<Self, ClipsError> {
        let dataset = Dataset::read(&folder.join(files::DATASET))?;
        let index_path = folder.join(files::CLIPS);
        let clips = index::read(&index_path, &dataset)?;
        let count = clips
            .iter()
            .map(|clip| clip.shard.saturating_add(1))
            .max()
            .unwrap_or(0);
        let shards = (0..count)
            .map(|number| Shard::open(&folder.join(files::shard(number)), dataset.clip_shape()))
            .collect::<Result<Vec<_>, _>>()?;
        for (line, clip) in clips.iter().enumerate() {
            let rows = shards[clip.shard as usize].rows();
            if clip.row as usize >= rows {
                return Err(ClipsError::Row {
                    path: index_path,
                    line: line + 1,
                    id: clip.id.clone(),
                    shard: clip.shard,
                    row: clip.row,
                    rows,
                });
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            dataset,
            clips,
            shards,
        })
    }

    /// The folder it was opened from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Classes and geometry.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// All clips, ordered by id.
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }

    /// How many clips there are.
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Whether there is no clip at all.
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }

    /// The pixels of a clip: frames x height x width x 3 bytes, RGB, straight from the memory map.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn pixels(&self, index: usize) -> &[u8] {
        let clip = &self.clips[index];
        self.shards[clip.shard as usize].pixels(clip.row as usize, self.dataset.clip_bytes())
    }

    /// Indices of the clips on one side of the split, ascending.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        self.clips
            .iter()
            .enumerate()
            .filter(|(_, clip)| clip.split == split)
            .map(|(index, _)| index)
            .collect()
    }
}
