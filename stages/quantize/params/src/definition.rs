//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};
use serde_json::Value;

use crate::QuantizeParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "quantize",
    summary: "Turn a float model into an int8 one and measure what that costs",
    package: "fedact-quantize",
    inputs: &[
        InputSpec {
            name: "model",
            kinds: &[Kind::Model],
            arity: Arity::One,
            summary: "The float model",
        },
        InputSpec {
            name: "calibration",
            kinds: &[Kind::Clips],
            arity: Arity::One,
            summary: "Clips of the model's own classes: training clips calibrate, test clips measure",
        },
        InputSpec {
            name: "teacher",
            kinds: &[Kind::Model],
            arity: Arity::Optional,
            summary: "A float model of the same classes for `tune` to listen to; without one, `model` itself",
        },
    ],
    output: Kind::QuantizedModel,
    libraries: &[Library::Libtorch],
    resolve: resolve::<QuantizeParams>,
    schema: schema::<QuantizeParams>,
    cores,
    memory,
    pieces: None,
};

fn cores(params: &Value) -> Cores {
    Cores::named_in(params, QuantizeParams::default().threads)
}

/// Improving keeps what all calibration clips are at some places of the network; how much that is depends on the inputs.
fn memory(params: &Value) -> Option<u64> {
    let improves = params["improve"]
        .as_array()
        .is_none_or(|list| !list.is_empty());
    Some(if improves { 2 * MEMORY } else { MEMORY })
}

/// Measured at 200 MiB for a student of width 4, half of it libtorch itself. The network is an input and not
/// known here.
const MEMORY: u64 = 512 << 20;
