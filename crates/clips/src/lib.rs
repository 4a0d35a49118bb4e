//! The clip-set format: safetensors shards of RGB clips with an index, written by extract and read by training.
//!
//! ```text
//! small-clips/
//!   dataset.json              classes, geometry, how frames were chosen   (Dataset)
//!   clips.jsonl               one line a clip, ordered by id              (Clip)
//!   clips-00000.safetensors   tensor `clips`: u8 [clips, frames, height, width, 3], RGB
//!   clips-00001.safetensors   ... at most 256 MiB each
//!   problems.jsonl            files that were left out or are suspect     (Problem)
//! ```
//!
//! [`ClipSetWriter`] streams clips to disk with one clip in memory; equal clips give equal bytes.
//! `dataset.json` is written last: a folder without it is not a clip set. [`ClipSet`] maps the shards
//! into memory and hands out pixels without copying them.

mod dataset;
mod error;
mod index;
mod problem;
mod reader;
mod shard;
mod writer;

pub use dataset::{Dataset, FORMAT_VERSION};
pub use error::ClipsError;
pub use index::{Clip, Split};
pub use problem::{Problem, Reason, read_problems, write_problems};
pub use reader::ClipSet;
pub use writer::ClipSetWriter;

/// File names within the folder of a clip set.
pub mod files {
    /// Classes and geometry.
    pub const DATASET: &str = "dataset.json";
    /// The index, one JSON object a line.
    pub const CLIPS: &str = "clips.jsonl";
    /// What was wrong with the source files.
    pub const PROBLEMS: &str = "problems.jsonl";

    /// The shard of this number, as in `clips-00003.safetensors`.
    pub fn shard(number: u32) -> String {
        format!("clips-{number:05}.safetensors")
    }
}
