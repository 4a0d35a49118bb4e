//! Stage distill: clips, and teachers where given, to a model.
//!
//! See the crate's README for inputs, outputs and params.

mod params;
mod run;

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library};
use serde_json::Value;

pub use params::{ComputeDevice, DistillParams, Distillation};
pub use run::run;

/// What the planner knows about this stage.
pub static DEFINITION: Definition = Definition {
    name: "distill",
    summary: "Train a network on clips, listening to teachers where there are any",
    package: "fedact-distill",
    inputs: &[
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips],
            arity: Arity::One,
            summary: "The clips: its train split is learned, its test split measures what was learned",
        },
        InputSpec {
            name: "teacher",
            kinds: &[Kind::Model],
            arity: Arity::Any,
            summary: "Models to distil; none is plain training, several are averaged",
        },
    ],
    output: Kind::Model,
    libraries: &[Library::Libtorch],
    resolve: fedact_stage::resolve::<DistillParams>,
    schema: fedact_stage::schema::<DistillParams>,
    cores,
};

fn cores(params: &Value) -> Cores {
    let threads = params["threads"]
        .as_u64()
        .and_then(|threads| usize::try_from(threads).ok());
    Cores::Fixed(threads.unwrap_or_else(|| DistillParams::default().threads))
}
