//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};
use serde_json::Value;

use crate::EvaluateParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "evaluate",
    summary: "Test models, gather the histories of federated runs, and write a report",
    package: "fedact-evaluate",
    inputs: &[
        InputSpec {
            name: "models",
            kinds: &[Kind::Model, Kind::QuantizedModel, Kind::Federated],
            arity: Arity::Many,
            summary: "The models to test, in the order in which the report lists them",
        },
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips],
            arity: Arity::Many,
            summary: "Clip sets; a model is tested on the test split of the one with its classes",
        },
    ],
    output: Kind::Report,
    libraries: &[Library::Libtorch],
    resolve: resolve::<EvaluateParams>,
    schema: schema::<EvaluateParams>,
    cores,
    memory: |_| Some(MEMORY),
    pieces: None,
};

fn cores(params: &Value) -> Cores {
    Cores::named_in(params, EvaluateParams::default().threads)
}

/// Measured at 200 MiB for students of width 4, half of it libtorch itself. The networks are inputs and not
/// known here.
const MEMORY: u64 = 512 << 20;
