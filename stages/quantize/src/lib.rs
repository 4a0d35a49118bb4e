//! Stage quantize: a model and calibration clips to an int8 model.

mod calibrate;
mod error;
mod measure;
mod picture;
mod run;
mod steps;

use fedact_stage::{Job, Metrics, Reporter, StageError};

pub use error::QuantizeError;
pub use fedact_quantize_params::{DEFINITION, FEWEST_CLIPS, QuantizeParams};

/// Folds batch norm, calibrates the activations on training clips, makes the result better as the params ask, measures float,
/// simulated and executed int8 side by side on the test clips, and writes the int8 model.
///
/// # Errors
/// A model that is quantized already or broken, clips that are not its own, too few of them, a teacher of something else.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: QuantizeParams = job.params()?;
    let folders = (job.input("model")?, job.input("calibration")?);
    Ok(run::quantize(job, &params, folders, reporter)?)
}
