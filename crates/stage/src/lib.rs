//! The contract between a stage and the runner.
//!
//! A stage is two things that this crate keeps apart, so that planning never runs stage code:
//!
//! * a [`Definition`]: its name, the inputs it takes, the kind of artifact it gives, its params with
//!   defaults, ranges and JSON schema. The planner needs nothing else.
//! * a function `run(&Job, &Reporter) -> Result<Metrics, StageError>`. It executes in a process of its
//!   own, reads the input folders named by the [`Job`], writes into [`Job::output`] only, and reports
//!   through the [`Reporter`] as JSON lines ([`Event`]). Between two pieces of work it asks
//!   [`Reporter::go_on`] whether it should; if not, it keeps a checkpoint where it can and ends with
//!   [`Stopped`].
//!
//! Nothing here knows about torch or FFmpeg.

mod definition;
mod error;
mod event;
mod job;
mod params;
mod pieces;

pub use definition::{Arity, Cores, Definition, InputSpec, Kind, Library};
pub use error::{StageError, Stopped};
pub use event::{Event, Level, Reporter, Task};
pub use job::{Input, Job};
pub use params::{OutOfRange, Params, ParamsError, resolve, schema};
pub use pieces::{InvalidShard, Pieces, Shard};

/// The figures a stage ends with: a JSON object, kept in the provenance of the step and shown by
/// `fedact show`. Names are `snake_case`, units are part of the name (`decode_seconds`).
pub type Metrics = serde_json::Map<String, serde_json::Value>;

/// The function that does the work of a stage.
pub type Run = fn(&Job, &Reporter) -> Result<Metrics, StageError>;
