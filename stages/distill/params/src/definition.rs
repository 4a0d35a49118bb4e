//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};
use serde_json::Value;

use crate::DistillParams;

/// The stage as the planner sees it.
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
    resolve: resolve::<DistillParams>,
    schema: schema::<DistillParams>,
    cores,
};

fn cores(params: &Value) -> Cores {
    let threads = params["threads"]
        .as_u64()
        .and_then(|threads| usize::try_from(threads).ok());
    Cores::Fixed(threads.unwrap_or_else(|| DistillParams::default().threads))
}
