//! Stage extract: videos to clips.
//!
//! Finds the videos of a folder and their classes by what is in it ([`Layout`]), follows its lists or puts whole
//! groups on one side of the split, decodes many videos at once, one thread each, and writes a clip set.
//! What cannot be used is left out and listed in `problems.jsonl`.

mod cut;
mod cutter;
mod decode;
mod earlier;
mod error;
mod layout;
mod part;
mod pieces;
mod problems;
mod run;
mod sides;
mod split;
mod unlabelled;

pub use error::ExtractError;
pub use fedact_extract_params::{
    DEFINITION, Duplicates, ExtractParams, Layout, Method, Sampling, Short, Validation,
};
pub use run::run;
pub use unlabelled::cut_videos;
