//! Stage extract: videos to clips.
//!
//! Finds the videos of a folder and their classes ([`params::Layout`]), puts whole groups on one side of
//! the split, decodes many videos at once, one thread each, and writes a clip set. What cannot be used is
//! left out and listed in `problems.jsonl`.

mod checkpoint;
mod cut;
mod error;
mod layout;
pub mod params;
mod run;
mod split;

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};

pub use error::ExtractError;
pub use run::run;

use params::ExtractParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "extract",
    summary: "Cut clips of equal size out of a folder of videos",
    package: "fedact-extract",
    inputs: &[InputSpec {
        name: "videos",
        kinds: &[Kind::Videos],
        arity: Arity::One,
        summary: "A folder of videos, one folder per class, or UCF101 with its split lists",
    }],
    output: Kind::Clips,
    libraries: &[Library::Ffmpeg],
    resolve: resolve::<ExtractParams>,
    schema: schema::<ExtractParams>,
    cores: |_| Cores::All,
};
