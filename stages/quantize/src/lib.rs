//! Stage quantize: a model and calibration clips to an int8 model.

mod error;
mod params;
mod run;

use fedact_stage::{
    Arity, Cores, Definition, InputSpec, Job, Kind, Library, Metrics, Reporter, StageError,
};
use serde_json::Value;

pub use error::QuantizeError;
pub use params::{FEWEST_CLIPS, QuantizeParams};

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
    ],
    output: Kind::QuantizedModel,
    libraries: &[Library::Libtorch],
    resolve: fedact_stage::resolve::<QuantizeParams>,
    schema: fedact_stage::schema::<QuantizeParams>,
    cores,
};

fn cores(params: &Value) -> Cores {
    let threads = params["threads"].as_u64();
    Cores::Fixed(
        threads.map_or(QuantizeParams::default().threads, |threads| {
            threads as usize
        }),
    )
}

/// Folds batch norm, calibrates the activations on training clips, measures float and simulated int8
/// side by side on the test clips, and writes the int8 model.
///
/// # Errors
/// A model that is quantized already or broken, clips that are not its own, too few of them.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: QuantizeParams = job.params()?;
    let folders = (job.input("model")?, job.input("calibration")?);
    Ok(run::quantize(job, &params, folders, reporter)?)
}
