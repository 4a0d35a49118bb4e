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

mod catalogue;
mod change;
pub mod child;
mod error;
mod event;
mod file;
mod folders;
mod graph;
mod key;
mod place;
mod plan;
pub mod process;
mod records;
mod run;
mod set;
mod suggest;
mod work;

pub use catalogue::{Catalogue, StageEntry};
pub use change::{Change, changes};
pub use error::{Fault, Origin, PipelineError};
pub use event::{NotRun, Outcome, RunEvent};
pub use file::{InputEntry, PIPELINE_VERSION, Pipeline, SourceEntry, Step};
pub use graph::{Binding, Graph, Node, Source};
pub use key::{Bound, Contents, KEY_VERSION, Named, Preimage};
pub use place::Place;
pub use plan::{Found, Plan, PlannedStep, Previous, Reason, Records, State};
pub use process::{Failure, Launcher, Stop};
pub use records::{StoreRecords, digest_folders};
pub use run::{Settings, run};
pub use set::{Assignment, Override};
