//! Stage distill: clips, and teachers where given, to a model.
//!
//! See the crate's README for inputs, outputs and params.

mod curves;
mod objective;
mod run;
mod watch;

pub use fedact_distill_params::{DEFINITION, Decoupled, DistillParams, Distillation};
pub use run::run;
