//! `index.safetensors`: what training asks of all clips at once, so that a set of any size opens at once.
//!
//! It repeats `clips.jsonl`, column by column, and says where each line and each clip's bytes are and what
//! their checksums must be. One element a clip, but for the groups:
//!
//! | tensor | type | |
//! | --- | --- | --- |
//! | `label` | u32 | as in `clips.jsonl` |
//! | `split` | u8 | 0 train, 1 test |
//! | `group` | u32 | number of the clip's group |
//! | `shard`, `row` | u32 | as in `clips.jsonl` |
//! | `line_end` | u64 | where the clip's line ends, its line feed included |
//! | `line_crc32` | u32 | CRC-32 of the line, its line feed included |
//! | `clip_crc32` | u32 | CRC-32 of what the shard holds of the clip; empty where nobody computed it |
//! | `group_end` | u64 | where each group's name ends in `group_names` |
//! | `group_names` | u8 | UTF-8 |
//! | `checksum` | u32 | the file's last four bytes: CRC-32 of all before them, the header included |
//!
//! The header's metadata says the format, its version and the CRC-32 of `dataset.json`.
//!
//! Opening checks the checksum and every value of every column, so that no use can go astray.

use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use crate::{ClipsError, Dataset, Split};

/// In the metadata, so that no other file passes for an index.
pub(crate) const FORMAT: &str = "fedact-clip-index";
/// The version of the index that this crate writes and reads.
pub(crate) const VERSION: &str = "1";

/// Names of the tensors.
pub(crate) mod name {
    pub(crate) const LABEL: &str = "label";
    pub(crate) const SPLIT: &str = "split";
    pub(crate) const GROUP: &str = "group";
    pub(crate) const SHARD: &str = "shard";
    pub(crate) const ROW: &str = "row";
    pub(crate) const LINE_END: &str = "line_end";
    pub(crate) const LINE_CRC32: &str = "line_crc32";
    pub(crate) const CLIP_CRC32: &str = "clip_crc32";
    pub(crate) const GROUP_END: &str = "group_end";
    pub(crate) const GROUP_NAMES: &str = "group_names";
    pub(crate) const CHECKSUM: &str = "checksum";
}

/// The bytes of an index.
#[derive(Debug)]
enum Bytes {
    /// Of the file.
    Mapped(Mmap),
    /// Made from `clips.jsonl`, where there is no file.
    Made(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Made(bytes) => bytes,
        }
    }
}

/// Where a column is within the bytes.
#[derive(Debug, Clone, Copy)]
struct Column {
    start: usize,
    count: usize,
}

/// An index whose every value has been checked.
#[derive(Debug)]
pub(crate) struct Index {
    bytes: Bytes,
    label: Column,
    split: Column,
    group: Column,
    shard: Column,
    row: Column,
    line_end: Column,
    line_crc32: Column,
    clip_crc32: Column,
    group_end: Column,
    group_names: Column,
}

/// What an index must agree with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) dataset: &'a Dataset,
    /// Of the bytes of `dataset.json`.
    pub(crate) dataset_crc32: u32,
    /// Bytes of `clips.jsonl`.
    pub(crate) lines: u64,
}

impl Index {
    /// The mapped index of a set.
    pub(crate) fn mapped(
        path: &Path,
        map: Mmap,
        expected: Expected<'_>,
    ) -> Result<Self, ClipsError> {
        Self::new(Bytes::Mapped(map), expected).map_err(|message| ClipsError::Index {
            path: path.to_owned(),
            message,
        })
    }

    /// An index that was made in memory from the set's lines.
    pub(crate) fn made(
        lines: &Path,
        bytes: Vec<u8>,
        expected: Expected<'_>,
    ) -> Result<Self, ClipsError> {
        Self::new(Bytes::Made(bytes), expected).map_err(|message| ClipsError::Lines {
            path: lines.to_owned(),
            message,
        })
    }

    fn new(bytes: Bytes, expected: Expected<'_>) -> Result<Self, String> {
        let whole = bytes
            .split_last_chunk::<4>()
            .is_some_and(|(all, last)| crc32fast::hash(all) == u32::from_le_bytes(*last));
        if !whole {
            return Err("is damaged: its checksum is another".to_owned());
        }
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| format!("is no safetensors file: {error}"))?;
        let said = |key: &str| {
            let all = metadata.metadata().as_ref();
            all.and_then(|all| all.get(key)).map(String::as_str)
        };
        if said("format") != Some(FORMAT) {
            return Err("is no index of a clip set".to_owned());
        }
        let version = said("version").unwrap_or("none");
        if version != VERSION {
            return Err(format!(
                "has version {version}, and this program reads version {VERSION}"
            ));
        }
        if said("dataset_crc32") != Some(&expected.dataset_crc32.to_string()) {
            return Err("belongs to another dataset.json than the one beside it".to_owned());
        }
        let column = |name, dtype| Column::find(&metadata, 8 + header, name, dtype);
        let index = Self {
            label: column(name::LABEL, Dtype::U32)?,
            split: column(name::SPLIT, Dtype::U8)?,
            group: column(name::GROUP, Dtype::U32)?,
            shard: column(name::SHARD, Dtype::U32)?,
            row: column(name::ROW, Dtype::U32)?,
            line_end: column(name::LINE_END, Dtype::U64)?,
            line_crc32: column(name::LINE_CRC32, Dtype::U32)?,
            clip_crc32: column(name::CLIP_CRC32, Dtype::U32)?,
            group_end: column(name::GROUP_END, Dtype::U64)?,
            group_names: column(name::GROUP_NAMES, Dtype::U8)?,
            bytes,
        };
        index.check(expected)?;
        Ok(index)
    }

    /// Refuses any value that a later use would stumble over.
    fn check(&self, expected: Expected<'_>) -> Result<(), String> {
        let clips = self.len();
        let of_clips = [
            self.split,
            self.group,
            self.shard,
            self.row,
            self.line_end,
            self.line_crc32,
        ];
        let checksums = self.clip_crc32.count;
        if of_clips.iter().any(|column| column.count != clips)
            || (checksums != clips && checksums != 0)
        {
            return Err("has columns of different lengths".to_owned());
        }
        let classes = expected.dataset.classes.len() as u64;
        if let Some(label) = self.u32s(self.label).find(|one| u64::from(*one) >= classes) {
            return Err(format!("has the label {label} of {classes} classes"));
        }
        if self.slice(self.split, 1).iter().any(|split| *split > 1) {
            return Err("has clips that are neither in train nor in test".to_owned());
        }
        let groups = self.group_end.count as u64;
        if let Some(group) = self.u32s(self.group).find(|one| u64::from(*one) >= groups) {
            return Err(format!("has the group {group} of {groups}"));
        }
        if !self.ascends(self.line_end, expected.lines) {
            return Err(format!(
                "is not of the clips.jsonl beside it, which has {} bytes",
                expected.lines
            ));
        }
        let names = std::str::from_utf8(self.slice(self.group_names, 1))
            .map_err(|error| format!("has names of groups that are no UTF-8: {error}"))?;
        let on_characters = self
            .u64s(self.group_end)
            .all(|end| usize::try_from(end).is_ok_and(|end| names.is_char_boundary(end)));
        if !on_characters || !self.ascends(self.group_end, names.len() as u64) {
            return Err("has names of groups that do not follow one another".to_owned());
        }
        Ok(())
    }

    /// Whether the ends of consecutive parts never step back, and the last of them is the end.
    fn ascends(&self, column: Column, end: u64) -> bool {
        let mut last = 0;
        let forwards = self
            .u64s(column)
            .all(|end| std::mem::replace(&mut last, end) <= end);
        forwards && last == end
    }

    /// How many clips there are.
    pub(crate) fn len(&self) -> usize {
        self.label.count
    }

    /// How many shards the clips are in.
    pub(crate) fn shards(&self) -> u64 {
        let most = self.u32s(self.shard).max();
        most.map_or(0, |number| u64::from(number) + 1)
    }

    /// The first clip that is not in its shard, by the number of rows of each.
    pub(crate) fn misplaced(&self, rows: &[usize]) -> Option<usize> {
        let places = self.u32s(self.shard).zip(self.u32s(self.row));
        places.enumerate().find_map(|(clip, (shard, row))| {
            let there = rows.get(shard as usize);
            there
                .is_none_or(|rows| row as usize >= *rows)
                .then_some(clip)
        })
    }

    pub(crate) fn label(&self, clip: usize) -> usize {
        self.u32(self.label, clip) as usize
    }

    pub(crate) fn split(&self, clip: usize) -> Split {
        if self.slice(self.split, 1)[clip] == 0 {
            Split::Train
        } else {
            Split::Test
        }
    }

    /// The clips on one side, ascending.
    pub(crate) fn side(&self, wanted: Split) -> Vec<usize> {
        let splits = self.slice(self.split, 1).iter().enumerate();
        splits
            .filter(|(_, split)| (**split == 0) == (wanted == Split::Train))
            .map(|(clip, _)| clip)
            .collect()
    }

    pub(crate) fn group(&self, clip: usize) -> &str {
        let number = self.u32(self.group, clip) as usize;
        let name = self.part(self.group_end, number);
        // Checked when it was opened; a name that was changed since shows as one that is broken.
        std::str::from_utf8(&self.slice(self.group_names, 1)[name]).unwrap_or("\u{fffd}")
    }

    /// Shard and row.
    pub(crate) fn place(&self, clip: usize) -> (usize, usize) {
        let (shard, row) = (self.u32(self.shard, clip), self.u32(self.row, clip));
        (shard as usize, row as usize)
    }

    /// Where a clip's line is in `clips.jsonl`.
    pub(crate) fn line(&self, clip: usize) -> std::ops::Range<usize> {
        self.part(self.line_end, clip)
    }

    pub(crate) fn line_crc32(&self, clip: usize) -> u32 {
        self.u32(self.line_crc32, clip)
    }

    /// `None` where nobody computed it.
    pub(crate) fn clip_crc32(&self, clip: usize) -> Option<u32> {
        (self.clip_crc32.count > 0).then(|| self.u32(self.clip_crc32, clip))
    }

    /// Where one of the parts is whose ends a column holds.
    fn part(&self, ends: Column, number: usize) -> std::ops::Range<usize> {
        let end = |number: usize| {
            let at = self.slice(ends, 8).as_chunks::<8>().0[number];
            u64::from_le_bytes(at) as usize
        };
        number.checked_sub(1).map_or(0, end)..end(number)
    }

    fn slice(&self, column: Column, width: usize) -> &[u8] {
        &self.bytes[column.start..][..column.count * width]
    }

    fn u32(&self, column: Column, clip: usize) -> u32 {
        u32::from_le_bytes(self.slice(column, 4).as_chunks::<4>().0[clip])
    }

    fn u32s(&self, column: Column) -> impl Iterator<Item = u32> {
        let values = self.slice(column, 4).as_chunks::<4>().0.iter();
        values.map(|value| u32::from_le_bytes(*value))
    }

    fn u64s(&self, column: Column) -> impl Iterator<Item = u64> {
        let values = self.slice(column, 8).as_chunks::<8>().0.iter();
        values.map(|value| u64::from_le_bytes(*value))
    }
}

impl Column {
    /// The column of a name, which must have this type. That it lies within the file, the reader of
    /// the header has checked.
    fn find(metadata: &Metadata, data: usize, name: &str, dtype: Dtype) -> Result<Self, String> {
        match metadata.info(name) {
            Some(info) if info.dtype == dtype && info.shape.len() == 1 => Ok(Self {
                start: data + info.data_offsets.0,
                count: info.shape[0],
            }),
            _ => Err(format!("has no column `{name}` of type {dtype:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index as Place;

    use super::*;
    use crate::Clip;
    use crate::clip::write_line;
    use crate::columns::Columns;

    fn dataset() -> Dataset {
        Dataset::new(vec!["bend".into(), "wave".into()], 1, 1, 1)
    }

    /// The bytes of an index of five clips, and the length of their lines.
    fn example() -> (Vec<u8>, u64) {
        let (mut columns, mut lines) = (Columns::default(), 0);
        for number in 0..5 {
            let clip = Clip {
                id: format!("{number}"),
                video: String::new(),
                video_digest: String::new(),
                label: number % 2,
                group: ["é", "字", "c"][number % 3].to_owned(),
                split: [Split::Train, Split::Test][number % 2],
                start_seconds: 0.0,
                end_seconds: 1.0,
                shard: number as u32 / 2,
                row: number as u32 % 2,
            };
            let line = write_line(&clip, &dataset()).unwrap();
            lines += line.len() as u64;
            columns.push(&clip, &line, Some(number as u32)).unwrap();
        }
        (columns.into_bytes(7), lines)
    }

    fn open(mut bytes: Vec<u8>, lines: u64) -> Result<Index, String> {
        let end = bytes.len() - 4;
        let checksum = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        let expected = Expected {
            dataset: &dataset(),
            dataset_crc32: 7,
            lines,
        };
        Index::new(Bytes::Made(bytes), expected)
    }

    #[test]
    fn columns_are_read_back() {
        let (bytes, lines) = example();
        let index = open(bytes, lines).unwrap();
        assert_eq!((index.len(), index.shards()), (5, 3));
        assert_eq!(
            (index.label(3), index.split(3), index.group(3)),
            (1, Split::Test, "é")
        );
        assert_eq!((index.group(1), index.place(3)), ("字", (1, 1)));
        assert_eq!(index.side(Split::Train), [0, 2, 4]);
        assert_eq!((index.line(0).start, index.line(4).end as u64), (0, lines));
        assert_eq!(index.line(2).start, index.line(1).end);
        assert_eq!(index.clip_crc32(4), Some(4));
        assert_eq!(index.misplaced(&[2, 2, 1]), None);
        assert_eq!(index.misplaced(&[2, 1, 1]), Some(3));
        assert_eq!(index.misplaced(&[2, 2]), Some(4));
    }

    #[test]
    fn another_format_version_or_data_set_is_named() {
        let (bytes, lines) = example();
        let edit = |from: &str, to: &str| {
            let at = bytes
                .windows(from.len())
                .position(|part| part == from.as_bytes())
                .unwrap();
            let mut edited = bytes.clone();
            edited[at..at + to.len()].copy_from_slice(to.as_bytes());
            open(edited, lines).unwrap_err()
        };
        assert!(edit(FORMAT, "federation").contains("no index"));
        assert!(edit("\"version\":\"1\"", "\"version\":\"2\"").contains("version 2"));
        assert!(edit("crc32\":\"7\"", "crc32\":\"8\"").contains("another dataset.json"));
        assert!(edit("label", "lable").contains("no column `label`"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A program that writes nonsense and a right checksum below it ends no reader.
        #[test]
        fn nonsense_is_refused_or_harmless(
            changes in prop::collection::vec((any::<Place>(), any::<u8>()), 1..4),
        ) {
            let (mut bytes, lines) = example();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Ok(index) = open(bytes, lines) {
                for clip in 0..index.len() {
                    prop_assert!(index.label(clip) < 2);
                    let _ = (index.split(clip), index.group(clip), index.place(clip));
                    prop_assert!(index.line(clip).end as u64 <= lines);
                    let _ = (index.line_crc32(clip), index.clip_crc32(clip));
                }
                let _ = (index.shards(), index.misplaced(&[2, 2, 1]));
            }
        }
    }
}
