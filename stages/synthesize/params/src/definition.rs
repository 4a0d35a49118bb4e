//! The stage as the planner sees it.

use fedact_stage::{Cores, Definition, Kind, Library, schema};

use crate::Params;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "synthesize",
    summary: "Renders labelled videos of moving human figures, so that a new machine has data",
    package: "fedact-synthesize",
    inputs: &[],
    output: Kind::Videos,
    libraries: &[Library::Ffmpeg],
    resolve: crate::resolve,
    schema: schema::<Params>,
    cores: |_| Cores::All,
    memory: |_| Some(MEMORY),
    pieces: None,
};

/// A frame of the default size takes 0.2 MiB, and the encoder keeps a few dozen.
const MEMORY: u64 = 256 << 20;
