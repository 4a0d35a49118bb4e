//! The clip-set format: safetensors shards of RGB clips with an index, written by extract and read by training.
//!
//! ```text
//! small-clips/
//!   dataset.json              classes, geometry, how frames were chosen   (Dataset)
//!   clips.jsonl               one line a clip, ordered by id              (Clip)
//!   index.safetensors         the same in columns, for opening at once    (index.rs)
//!   clips-00000.safetensors   the pixels, raw or as JPEG                  (shard.rs)
//!   clips-00001.safetensors   ... at most 256 MiB each
//!   problems.jsonl            files that were left out or are suspect     (Problem)
//! ```
//!
//! [`ClipSetWriter`] streams clips to disk with one clip in memory; equal clips give equal bytes.
//! `dataset.json` is written last: a folder without it is not a clip set. [`ClipSet`] maps the files
//! into memory, answers from the index, and hands out raw pixels without copying them.
//!
//! | when | what is checked |
//! | --- | --- |
//! | opening | `dataset.json`; the index's checksum, its every value, and that it belongs to this `dataset.json` and to a `clips.jsonl` of this length; each shard's header and length; that each clip's row is there |
//! | [`clip`](ClipSet::clip) | the checksum of the clip's line; the line |
//! | [`pixels`](ClipSet::pixels) | the checksum of the clip's bytes; that JPEGs decode to frames of the set's size |
//!
//! A set without an index is read line by line, with all checks of lines at once and none of pixels: any
//! program can write one.

mod clip;
mod columns;
mod dataset;
mod encoding;
mod error;
mod index;
mod jpeg;
mod problem;
mod reader;
mod shard;
mod writer;

pub use clip::{Clip, Split};
pub use dataset::{Dataset, FORMAT_VERSION};
pub use encoding::Encoding;
pub use error::ClipsError;
pub use problem::{Problem, Reason, read_problems, write_problems};
pub use reader::ClipSet;
pub use writer::ClipSetWriter;

/// File names within the folder of a clip set.
pub mod files {
    /// Classes and geometry.
    pub const DATASET: &str = "dataset.json";
    /// One JSON object a line, one line a clip.
    pub const CLIPS: &str = "clips.jsonl";
    /// The same in columns.
    pub const INDEX: &str = "index.safetensors";
    /// What was wrong with the source files.
    pub const PROBLEMS: &str = "problems.jsonl";

    /// The shard of this number, as in `clips-00003.safetensors`.
    pub fn shard(number: u32) -> String {
        format!("clips-{number:05}.safetensors")
    }
}
