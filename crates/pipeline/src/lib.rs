//! From `pipeline.yaml` to a run.
//!
//! ```text
//! pipeline.yaml --Pipeline::load--> Pipeline --Graph::build--> Graph --Plan::make--> Plan --run--> Outcome
//!                 shapes, places               names, kinds,            keys against
//!                                              params, order            the store
//! ```
//!
//! Everything up to the plan is free of side effects and refuses what is wrong before anything runs.
//! Nothing here prints: a run tells an observer ([`RunEvent`]) what happens. Nothing here knows
//! a stage's code either: a stage is a [`fedact_stage::Definition`], and its work is a child process that
//! the caller says how to start.

mod accept;
mod catalogue;
mod change;
pub mod child;
mod compare;
mod error;
mod estimate;
mod event;
mod exchange;
mod file;
mod files;
mod folders;
mod given;
mod graph;
mod inputs;
mod key;
mod matrix;
mod order;
mod pieces;
mod place;
mod plan;
mod problem;
pub mod process;
mod queue;
mod read;
mod records;
mod resources;
mod run;
mod scalar;
mod set;
mod shares;
mod stop;
mod suggest;
mod work;
mod yaml;

pub use accept::{Candidate, Concern, Unacceptable};
pub use catalogue::{Catalogue, StageEntry};
pub use change::{Change, changes};
pub use compare::{Compared, Comparison, Figure};
pub use error::{Fault, PipelineError};
pub use estimate::Estimate;
pub use event::{NotRun, Outcome, RunEvent};
pub use exchange::{Exchange, Fetching, Shared, wanted};
pub use file::{PIPELINE_VERSION, Pipeline, RemoteEntry};
pub use files::{Explained, FileChange, FileEvent, file_changes, files_between};
pub use graph::{Binding, Graph, Node, Source};
pub use key::{Bound, Contents, KEY_VERSION, Named, Preimage};
pub use matrix::Label;
pub use pieces::shard_of;
pub use place::{Origin, Place};
pub use plan::{Found, Plan, PlannedStep, Previous, Reason, Records, State};
pub use problem::Problem;
pub use process::{Failure, Launcher, Unfinished};
pub use records::{StoreRecords, digest_folders};
pub use resources::{Needs, parse_bytes};
pub use run::{Served, Settings, run};
pub use set::{Assignment, Override};
pub use shares::Capacity;
pub use stop::Stop;
