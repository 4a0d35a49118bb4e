//! Reads a clip set: at once from its index, and raw pixels without copying them.

use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::clip::read_line;
use crate::columns::Columns;
use crate::index::{Expected, Index};
use crate::shard::{Shard, Stored, map};
use crate::{Clip, ClipsError, Dataset, Split, files, jpeg};

/// A clip set on disk, mapped into memory. Cheap to share between threads.
///
/// Methods that take a clip's number panic if it is not below [`len`](Self::len).
#[derive(Debug)]
pub struct ClipSet {
    folder: PathBuf,
    dataset: Dataset,
    /// Under other classes than its own, if that was asked for.
    under: Option<Under>,
    index: Index,
    lines: Mmap,
    shards: Vec<Shard>,
}

/// Other classes, of which a set's own are some.
#[derive(Debug)]
struct Under {
    dataset: Dataset,
    /// Of each class of the set its number among the others.
    labels: Vec<usize>,
}

impl ClipSet {
    /// Opens the set in a folder: maps its files and checks one against the other. No line and no pixel is
    /// read, unless there is no index: then all lines are.
    ///
    /// # Errors
    /// Names the file that is missing, cut off, damaged, of another shape or made by another version,
    /// and the clip that is not where the index says.
    pub fn open(folder: &Path) -> Result<Self, ClipsError> {
        let (dataset, dataset_crc32) = Dataset::read(&folder.join(files::DATASET))?;
        let (lines_path, index_path) = (folder.join(files::CLIPS), folder.join(files::INDEX));
        let lines = map(&lines_path)?;
        let expected = Expected {
            dataset: &dataset,
            dataset_crc32,
            lines: lines.len() as u64,
        };
        let index = match map(&index_path) {
            Ok(index) => Index::mapped(&index_path, index, expected)?,
            Err(ClipsError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                let columns = Columns::of_lines(&lines_path, &lines, &dataset)?;
                Index::made(&lines_path, columns.into_bytes(dataset_crc32), expected)?
            }
            Err(error) => return Err(error),
        };
        let mut set = Self {
            folder: folder.to_owned(),
            shards: Vec::new(),
            dataset,
            under: None,
            index,
            lines,
        };
        for number in 0..set.index.shards() {
            let path = set.shard_path(number as usize);
            set.shards.push(Shard::open(&path, &set.dataset)?);
        }
        let rows: Vec<usize> = set.shards.iter().map(Shard::rows).collect();
        if let Some(clip) = set.index.misplaced(&rows) {
            let (shard, row) = set.index.place(clip);
            return Err(ClipsError::Row {
                path: lines_path,
                line: clip + 1,
                id: set.clip(clip)?.id,
                shard,
                row,
                rows: rows[shard],
            });
        }
        Ok(set)
    }

    /// The same clips as part of a set with these classes: their labels are numbers of `classes`. For a network that
    /// tells more classes apart than there are clips of here.
    ///
    /// # Errors
    /// Names the classes of the set that are not among these.
    pub fn under(mut self, classes: Vec<String>) -> Result<Self, ClipsError> {
        let place = |class: &String| classes.iter().position(|other| other == class);
        let own = self.dataset.classes.iter();
        let labels: Option<Vec<usize>> = own.clone().map(place).collect();
        let Some(labels) = labels else {
            let strange: Vec<&str> = own
                .filter(|class| place(class).is_none())
                .map(String::as_str)
                .collect();
            return Err(ClipsError::OtherClasses {
                path: self.folder,
                strange: strange.join(", "),
                known: classes.join(", "),
            });
        };
        let dataset = Dataset {
            classes,
            ..self.dataset.clone()
        };
        self.under = Some(Under { dataset, labels });
        Ok(self)
    }

    /// The folder it was opened from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Classes and geometry.
    pub fn dataset(&self) -> &Dataset {
        self.under
            .as_ref()
            .map_or(&self.dataset, |under| &under.dataset)
    }

    /// How many clips there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no clip at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index in [`Dataset::classes`] of a clip's class.
    pub fn label(&self, clip: usize) -> usize {
        self.label_under(self.index.label(clip))
    }

    fn label_under(&self, label: usize) -> usize {
        self.under
            .as_ref()
            .map_or(label, |under| under.labels[label])
    }

    /// Which side of the split a clip is on.
    pub fn split(&self, clip: usize) -> Split {
        self.index.split(clip)
    }

    /// The person or recording that a clip is of.
    pub fn group(&self, clip: usize) -> &str {
        self.index.group(clip)
    }

    /// Numbers of the clips on one side of the split, ascending.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        self.index.side(split)
    }

    /// All that is known of a clip, from its line in `clips.jsonl`. Clips are ordered by id.
    ///
    /// # Errors
    /// Names the line that was changed since the index was made.
    pub fn clip(&self, clip: usize) -> Result<Clip, ClipsError> {
        let path = || self.folder.join(files::CLIPS);
        let line = &self.lines[self.index.line(clip)];
        if crc32fast::hash(line) != self.index.line_crc32(clip) {
            return Err(ClipsError::Line {
                path: path(),
                line: clip + 1,
            });
        }
        let mut read = read_line(line, &self.dataset).map_err(|fault| fault.at(&path(), clip))?;
        read.label = self.label_under(read.label);
        Ok(read)
    }

    /// The pixels of a clip: frames x height x width x 3 bytes, RGB. Raw ones come straight from the
    /// memory map and leave `room` alone; others are decoded into `room`, which may be used again.
    ///
    /// # Errors
    /// Names the shard and the row whose bytes are not those that were written or do not decode.
    pub fn pixels<'a>(
        &'a self,
        clip: usize,
        room: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], ClipsError> {
        match self.stored(clip)? {
            Stored::Raw(pixels) => Ok(pixels),
            Stored::Jpeg { bytes, ends } => {
                room.resize(self.dataset.clip_bytes(), 0);
                jpeg::decode(bytes, &ends, &self.dataset, room)
                    .map_err(|message| self.damaged(clip, message))?;
                Ok(room)
            }
        }
    }

    /// Whether the bytes of a clip are those that were written, without decoding them.
    ///
    /// # Errors
    /// Names the shard and the row where they are not.
    pub fn check_pixels(&self, clip: usize) -> Result<(), ClipsError> {
        self.stored(clip).map(drop)
    }

    /// The bytes of a clip as they lie in its shard, compared with their checksum.
    pub(crate) fn stored(&self, clip: usize) -> Result<Stored<'_>, ClipsError> {
        let (shard, row) = self.index.place(clip);
        let stored = self.shards[shard]
            .stored(row)
            .map_err(|message| self.damaged(clip, message))?;
        let crc32 = self.index.clip_crc32(clip);
        if crc32.is_some_and(|expected| expected != stored.crc32()) {
            return Err(self.damaged(clip, "their checksum is another".to_owned()));
        }
        Ok(stored)
    }

    fn damaged(&self, clip: usize, message: String) -> ClipsError {
        let (shard, row) = self.index.place(clip);
        ClipsError::Pixels {
            path: self.shard_path(shard),
            row,
            message,
        }
    }

    fn shard_path(&self, number: usize) -> PathBuf {
        self.folder.join(files::shard(number as u32))
    }
}
