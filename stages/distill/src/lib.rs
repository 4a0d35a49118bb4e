//! Stage distill: clips, and teachers where given, to a model.
//!
//! See the crate's README for inputs, outputs and params.

mod objective;
mod run;

pub use fedact_distill_params::{
    ComputeDevice, DEFINITION, Decoupled, DistillParams, Distillation,
};
pub use run::run;
