//! Why a clip set could not be read or written.

use std::path::PathBuf;

use crate::FORMAT_VERSION;

/// What would mend a set whose files contradict each other.
const REMEDY: &str =
    "the set is damaged: make it again with `fedact extract` or `fedact run --force STEP`";

/// Why a clip set could not be read or written; every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipsError {
    /// A file or folder that cannot be read.
    #[error("cannot read {path}; is this the folder of a clip set, as `fedact extract` makes it?")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A set made by another version of the program.
    #[error(
        "{path} has format version {found}, and this program reads version {FORMAT_VERSION}; \
         make the clips again with this program, or use the program that made them"
    )]
    Version {
        /// The `dataset.json`.
        path: PathBuf,
        /// The version found.
        found: String,
    },
    /// JSON that does not parse or lacks a field.
    #[error("{path}, line {line}: {message}; {REMEDY}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A data set that contradicts itself: no classes, a class twice, a side of length 0.
    #[error("the data set in {path} cannot be: {message}")]
    Dataset {
        /// The `dataset.json`, or the folder it is to be written into.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A line of the index that contradicts the data set or the line before.
    #[error("{path}, line {line}, clip `{id}`: {message}; {REMEDY}")]
    Clip {
        /// The `clips.jsonl`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The clip's id.
        id: String,
        /// What is wrong.
        message: String,
    },
    /// A line that is not the one that the index was made for.
    #[error(
        "{path}, line {line} is not as it was written: its checksum is another; {REMEDY}; if it was edited on \
         purpose, delete index.safetensors beside it, and the set is read without"
    )]
    Line {
        /// The `clips.jsonl`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An index that is damaged or belongs to other files than those beside it.
    #[error(
        "{path} {message}; delete it, and the set is read without, or make the set again with \
         `fedact extract` or `fedact run --force STEP`"
    )]
    Index {
        /// The `index.safetensors`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A set without an index of whose lines none can be made.
    #[error("an index of {path} {message}; {REMEDY}")]
    Lines {
        /// The `clips.jsonl`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Pixels that are not those that were written, or do not decode.
    #[error("the pixels in row {row} of {path} are damaged: {message}; {REMEDY}")]
    Pixels {
        /// The shard.
        path: PathBuf,
        /// The row, counted from 0.
        row: usize,
        /// What is wrong.
        message: String,
    },
    /// A shard that is shorter or longer than its header promises.
    #[error(
        "{path} has {found} bytes where its header promises {expected}: it is cut off or overwritten; {REMEDY}"
    )]
    Truncated {
        /// The shard.
        path: PathBuf,
        /// Bytes by the header.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A shard that is no safetensors file with the tensors of its encoding.
    #[error("{path} is not a shard of clips: {message}; {REMEDY}")]
    Shard {
        /// The shard.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A shard whose clips have another size than `dataset.json` says.
    #[error(
        "{path} holds clips of shape {found:?}, and dataset.json says {expected:?} (frames, height, width, channels); {REMEDY}"
    )]
    Shape {
        /// The shard.
        path: PathBuf,
        /// The shape of its clips.
        found: Vec<usize>,
        /// The shape by the data set.
        expected: Vec<usize>,
    },
    /// A clip that the index puts outside its shard.
    #[error(
        "{path}, line {line}: clip `{id}` is said to be row {row} of shard {shard}, which has {rows} rows; {REMEDY}"
    )]
    Row {
        /// The `clips.jsonl`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The clip's id.
        id: String,
        /// The shard's number.
        shard: usize,
        /// The row that is not there.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// A set with classes that are not among those that are asked for.
    #[error(
        "{path} has clips of {strange}, and the classes are {known}; leave these clips out, as with `exclude` of \
         `extract`"
    )]
    OtherClasses {
        /// The folder of the set.
        path: PathBuf,
        /// Its classes that are not known.
        strange: String,
        /// Those that are.
        known: String,
    },
    /// A clip handed to the writer that does not fit the set.
    #[error("clip `{id}` cannot be added: {message}")]
    Refused {
        /// The clip's id.
        id: String,
        /// Why.
        message: String,
    },
}
