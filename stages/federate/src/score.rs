//! How good parameters are, on the test split.

use fedact_clips::{ClipSet, Split};
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::score::{Scores, predict};

use crate::FederateError;

const TEST_BATCH: usize = 32;

/// Gives the network these parameters and tests it. `seen` is called after each batch.
///
/// # Errors
/// Another number of parameters than the network's; clips that cannot be read; libtorch's.
pub fn scores(
    model: &mut QuantizedModel,
    parameters: &[f32],
    clips: &ClipSet,
    mut seen: impl FnMut(),
) -> Result<Scores, FederateError> {
    model.copy_parameters_from(parameters)?;
    let test = clips.indices(Split::Test);
    let predictions = predict(model, clips, &test, TEST_BATCH, |_| seen())?;
    Ok(Scores::from(&predictions))
}
