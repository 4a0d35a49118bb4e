//! What the devices are told of the run.

use fedact_clips::ClipSet;
use fedact_federate_params::fleet::Brief;
use fedact_nets::ModelInfo;
use serde_json::{Map, Value};

use crate::{FederateError, FederateParams};

/// What `dataset.json` says beside the params of `extract`: by which programs clips were cut.
const PROGRAMS: [&str; 2] = ["scaler", "ffmpeg"];

/// A [`Brief`], as it travels.
///
/// # Errors
/// The clip set does not say how it was cut.
pub fn brief(
    model: &ModelInfo,
    clips: &ClipSet,
    params: &FederateParams,
) -> Result<Value, FederateError> {
    let brief = Brief {
        model: serde_json::to_value(model).map_err(FederateError::Brief)?,
        extract: Value::Object(cutting(clips)?),
        params: params.clone(),
    };
    serde_json::to_value(brief).map_err(FederateError::Brief)
}

/// How the clips at the centre were cut: those on the devices must be cut alike.
fn cutting(clips: &ClipSet) -> Result<Map<String, Value>, FederateError> {
    let Value::Object(mut cutting) = clips.dataset().sampling.clone() else {
        return Err(FederateError::UnknownCut {
            path: clips.folder().to_owned(),
        });
    };
    cutting.retain(|key, _| !PROGRAMS.contains(&key.as_str()));
    Ok(cutting)
}
