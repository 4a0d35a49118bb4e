//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};
use serde_json::Value;

use crate::TeachParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "teach",
    summary: "Note what teachers say about views of clips, so that many students cost one pass",
    package: "fedact-teach",
    inputs: &[
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips],
            arity: Arity::One,
            summary: "The clips whose train split students will learn",
        },
        InputSpec {
            name: "teacher",
            kinds: &[Kind::Model],
            arity: Arity::Many,
            summary: "The models to ask, each for itself",
        },
    ],
    output: Kind::Answers,
    libraries: &[Library::Libtorch],
    resolve: resolve::<TeachParams>,
    schema: schema::<TeachParams>,
    cores,
    memory: |_| Some(MEMORY),
    pieces: None,
};

fn cores(params: &Value) -> Cores {
    Cores::named_in(params, TeachParams::default().threads)
}

/// As for `quantize`, which asks a network as well; the networks are inputs and not known here.
const MEMORY: u64 = 512 << 20;
