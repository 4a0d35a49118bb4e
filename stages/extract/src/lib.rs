//! Stage extract: videos to clips.
//!
//! Finds the videos of a folder and their classes ([`Layout`]), puts whole groups on one side of
//! the split, decodes many videos at once, one thread each, and writes a clip set. What cannot be used is
//! left out and listed in `problems.jsonl`.

mod cut;
mod decode;
mod earlier;
mod error;
mod layout;
mod pieces;
mod run;
mod split;

pub use error::ExtractError;
pub use fedact_extract_params::{DEFINITION, ExtractParams, Layout, Method, Sampling, Short};
pub use run::run;
