//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};

use crate::ExtractParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "extract",
    summary: "Cut clips of equal size out of a folder of videos",
    package: "fedact-extract",
    inputs: &[InputSpec {
        name: "videos",
        kinds: &[Kind::Videos],
        arity: Arity::One,
        summary: "A folder of videos: one folder per class, a manifest, or UCF101, HMDB51, Kinetics, Something-Something, Jester with their lists",
    }],
    output: Kind::Clips,
    libraries: &[Library::Ffmpeg],
    resolve: resolve::<ExtractParams>,
    schema: schema::<ExtractParams>,
    cores: |_| Cores::All,
    memory: |_| Some(MEMORY),
};

/// Measured below 200 MiB at 320 x 240; a decoder of 1920 x 1080 keeps up to seventeen frames of 3 MiB on each
/// of a few threads.
const MEMORY: u64 = 512 << 20;
