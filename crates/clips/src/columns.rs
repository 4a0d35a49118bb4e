//! What training asks of all clips at once, column by column, on its way into the index.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::clip::{Fault, read_line};
use crate::index::{FORMAT, VERSION, name};
use crate::{Clip, ClipsError, Dataset, Split};

/// The columns of an index in the making: some 40 bytes a clip.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    label: Vec<u8>,
    split: Vec<u8>,
    group: Vec<u8>,
    shard: Vec<u8>,
    row: Vec<u8>,
    line_end: Vec<u8>,
    line_crc32: Vec<u8>,
    clip_crc32: Vec<u8>,
    group_end: Vec<u8>,
    group_names: Vec<u8>,
    /// Numbers of the groups, in the order in which they were met.
    groups: HashMap<String, u32>,
    /// Bytes of all lines so far.
    lines: u64,
}

impl Columns {
    /// Adds a clip, its line, and the checksum of what its shard holds of it, where it is known: for
    /// all clips or for none.
    ///
    /// # Errors
    /// What the index has no room for: four thousand million classes or groups.
    pub(crate) fn push(
        &mut self,
        clip: &Clip,
        line: &[u8],
        crc32: Option<u32>,
    ) -> Result<(), ClipsError> {
        let refuse = |message: &str| ClipsError::Refused {
            id: clip.id.clone(),
            message: message.to_owned(),
        };
        let label = u32::try_from(clip.label).map_err(|_| refuse("its label has over 32 bits"))?;
        let group = match self.groups.get(&clip.group) {
            Some(group) => *group,
            None => {
                let number = u32::try_from(self.groups.len())
                    .map_err(|_| refuse("the number of its group has over 32 bits"))?;
                self.groups.insert(clip.group.clone(), number);
                self.group_names.extend_from_slice(clip.group.as_bytes());
                let end = self.group_names.len() as u64;
                self.group_end.extend_from_slice(&end.to_le_bytes());
                number
            }
        };
        self.lines += line.len() as u64;
        self.label.extend_from_slice(&label.to_le_bytes());
        self.split.push(match clip.split {
            Split::Train => 0,
            Split::Test => 1,
        });
        self.group.extend_from_slice(&group.to_le_bytes());
        self.shard.extend_from_slice(&clip.shard.to_le_bytes());
        self.row.extend_from_slice(&clip.row.to_le_bytes());
        self.line_end.extend_from_slice(&self.lines.to_le_bytes());
        let line = crc32fast::hash(line);
        self.line_crc32.extend_from_slice(&line.to_le_bytes());
        if let Some(crc32) = crc32 {
            self.clip_crc32.extend_from_slice(&crc32.to_le_bytes());
        }
        Ok(())
    }

    /// Reads all lines of `clips.jsonl` and checks each clip against the data set and the clip before.
    ///
    /// # Errors
    /// Names the line.
    pub(crate) fn of_lines(
        path: &Path,
        text: &[u8],
        dataset: &Dataset,
    ) -> Result<Self, ClipsError> {
        let mut columns = Self::default();
        let mut last: Option<String> = None;
        for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let clip = read_line(line, dataset).map_err(|fault| fault.at(path, number))?;
            if let Some(last) = last.filter(|last| *last >= clip.id) {
                let message = format!("it does not come after `{last}`");
                return Err(Fault::Clip(clip.id, message).at(path, number));
            }
            columns.push(&clip, line, None)?;
            last = Some(clip.id);
        }
        Ok(columns)
    }

    /// The bytes of the index: a safetensors file whose last tensor is the checksum of all before it.
    pub(crate) fn into_bytes(self, dataset_crc32: u32) -> Vec<u8> {
        let columns = [
            (name::LINE_END, 8, self.line_end),
            (name::GROUP_END, 8, self.group_end),
            (name::LABEL, 4, self.label),
            (name::GROUP, 4, self.group),
            (name::SHARD, 4, self.shard),
            (name::ROW, 4, self.row),
            (name::LINE_CRC32, 4, self.line_crc32),
            (name::CLIP_CRC32, 4, self.clip_crc32),
            (name::SPLIT, 1, self.split),
            (name::GROUP_NAMES, 1, self.group_names),
            (name::CHECKSUM, 4, vec![0; 4]),
        ];
        let mut header = Map::new();
        header.insert(
            "__metadata__".to_owned(),
            json!({"format": FORMAT, "version": VERSION, "dataset_crc32": dataset_crc32.to_string()}),
        );
        let mut end = 0;
        for (name, width, bytes) in &columns {
            let start = end;
            end += bytes.len();
            let dtype = match width {
                8 => "U64",
                4 => "U32",
                _ => "U8",
            };
            header.insert(
                (*name).to_owned(),
                json!({"dtype": dtype, "shape": [bytes.len() / width], "data_offsets": [start, end]}),
            );
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = Vec::with_capacity(8 + header.len() + end);
        file.extend_from_slice(&(header.len() as u64).to_le_bytes());
        file.extend_from_slice(&header);
        for (_, _, bytes) in columns {
            file.extend_from_slice(&bytes);
        }
        file.truncate(file.len() - 4);
        let checksum = crc32fast::hash(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file
    }
}
