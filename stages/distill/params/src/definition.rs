//! The stage as the planner sees it.

use fedact_recipe::Architecture;
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
            kinds: &[Kind::Model, Kind::Answers],
            arity: Arity::Any,
            summary: "Models to distil, or their answers; none is plain training, several are averaged",
        },
        InputSpec {
            name: "pretrained",
            kinds: &[Kind::Model],
            arity: Arity::Optional,
            summary: "Weights to begin with: a model, or a folder of yours with one checkpoint (.pth, .safetensors)",
        },
    ],
    output: Kind::Model,
    libraries: &[Library::Libtorch],
    resolve: resolve::<DistillParams>,
    schema: schema::<DistillParams>,
    cores,
    memory,
    pieces: None,
};

fn cores(params: &Value) -> Cores {
    Cores::named_in(params, DistillParams::default().threads)
}

/// libtorch and the clips in work, the network four times (weights, gradients, momentum, the best so far) and once
/// more where a mean of its weights is kept, and what
/// the backward pass needs of every clip of a batch: three numbers for each that a convolution puts out. The clips
/// are taken to be 8 frames of 56 pixels; what is needed grows with the number of pixels, which the params do not
/// know, nor the number of classes. Teachers are inputs and not counted.
fn memory(params: &Value) -> Option<u64> {
    let model = params["model"].clone();
    let architecture: Architecture = serde_json::from_value(model).ok()?;
    let cost = architecture.layout().ok()?.cost([8, 56, 56], 100);
    let batch = params["batch_size"].as_u64()?;
    let mean = u64::from(params["ema"].as_f64().is_some_and(|ema| ema > 0.0));
    let numbers = (4 + mean) * cost.parameters + 3 * batch * cost.activations;
    Some(256 * MEBIBYTE + 4 * numbers)
}

const MEBIBYTE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memory_covers_what_was_measured_and_grows_with_batch_and_network() {
        let mebibytes = |width: u32, depth: u32, batch: u32| {
            let params = json!({"model": {"width": width, "depth": depth}, "batch_size": batch});
            memory(&params).unwrap() >> 20
        };
        // Peaks of the process: 197, 257 and 286 MiB.
        for (width, batch, peak) in [(4, 8, 197), (16, 8, 257), (16, 16, 286)] {
            let estimate = mebibytes(width, 10, batch);
            assert!(
                (peak..2 * peak).contains(&estimate),
                "{estimate} for {peak} MiB"
            );
        }
        let mean = json!({"model": {"width": 64, "depth": 34}, "batch_size": 8, "ema": 0.99});
        assert!(memory(&mean).unwrap() >> 20 > mebibytes(64, 34, 8) + 200);
        assert!(mebibytes(64, 34, 32) > 2 * mebibytes(64, 10, 8));
        let defaults = (DEFINITION.resolve)(&Value::Null).unwrap();
        assert!(memory(&defaults).is_some());
    }
}
