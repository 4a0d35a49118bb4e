//! `model.json`: all that a network's weights do not say themselves.

use std::path::Path;

use fedact_clips::{ClipSet, Dataset, Split};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::quantize::Quantization;
use crate::{Architecture, NetsError, Stem};

/// The version of `model.json` that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Mean of red, green and blue in 0..=1 over Kinetics-400, which torchvision's video networks use.
pub const MEAN: [f64; 3] = [0.43216, 0.394666, 0.37645];

/// Standard deviation to go with [`MEAN`].
pub const STD: [f64; 3] = [0.22803, 0.22145, 0.216989];

/// Mean and standard deviation that the published weights of a family expect: pytorchvideo's for X3D, those
/// of ImageNet for TSM on MobileNetV2, Hara's with his stem, and else [`MEAN`] and [`STD`].
pub fn normalisation(architecture: &Architecture) -> ([f64; 3], [f64; 3]) {
    match architecture {
        Architecture::X3d(_) => ([0.45; 3], [0.225; 3]),
        Architecture::Tsm(_) => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        Architecture::Residual(residual) if residual.stem == Stem::Hara => {
            ([0.4345, 0.4051, 0.3775], [0.2768, 0.2713, 0.2737])
        }
        Architecture::Residual(_) => (MEAN, STD),
    }
}

/// File names within the folder of a model.
pub mod files {
    /// Weights.
    pub const WEIGHTS: &str = "model.safetensors";
    /// A quantized model that runs by itself: see [`archive`](crate::quantize::archive).
    pub const EXECUTED: &str = "model.pt";
    /// [`ModelInfo`](crate::ModelInfo).
    pub const INFO: &str = "model.json";
    /// One JSON object an epoch.
    pub const TRAINING: &str = "training.jsonl";
    /// The figures the model ended with.
    pub const METRICS: &str = "metrics.json";
}

/// The clips that a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputGeometry {
    /// Frames of a clip.
    pub frames: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
}

impl InputGeometry {
    /// Shape of a batch of `clips`: clips, 3, frames, height, width.
    pub fn batch_shape(&self, clips: usize) -> [i64; 5] {
        [clips, 3, self.frames, self.height, self.width].map(|side| side as i64)
    }

    /// Numbers in one clip, colours included.
    pub fn clip_values(&self) -> usize {
        3 * self.frames * self.height * self.width
    }
}

impl From<&Dataset> for InputGeometry {
    fn from(dataset: &Dataset) -> Self {
        Self {
            frames: dataset.frames,
            height: dataset.height,
            width: dataset.width,
        }
    }
}

impl std::fmt::Display for InputGeometry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} frames of {}x{}",
            self.frames, self.width, self.height
        )
    }
}

/// How the clips were cut that a network was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// How much of a video a clip covers, the median of the training clips.
    pub seconds: f64,
    /// Params of `extract` that decide which frames are taken and what becomes of them.
    pub settings: serde_json::Value,
}

/// So many clips tell how long clips are.
const ENOUGH_CLIPS: usize = 1000;

impl Sampling {
    /// That of a clip set; `None` where the set does not say, or a clip is a single moment.
    ///
    /// # Errors
    /// The set is damaged.
    pub fn of(clips: &ClipSet) -> Result<Option<Self>, NetsError> {
        let dataset = clips.dataset();
        let serde_json::Value::Object(mut settings) = dataset.sampling.clone() else {
            return Ok(None);
        };
        // What the model has already, what only says by which program, and how many clips there are of a video.
        for known in ["frames", "size", "scaler", "ffmpeg"] {
            settings.shift_remove(known);
        }
        if let Some(serde_json::Value::Object(chosen)) = settings.get_mut("sampling") {
            for count in ["train_clips", "test_clips"] {
                chosen.shift_remove(count);
            }
        }
        let indices = clips.indices(Split::Train);
        let step = indices.len().div_ceil(ENOUGH_CLIPS).max(1);
        let mut seconds = Vec::new();
        for index in indices.into_iter().step_by(step) {
            let clip = clips.clip(index)?;
            seconds.push(clip.end_seconds - clip.start_seconds);
        }
        seconds.sort_by(f64::total_cmp);
        let between = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
        // From the first frame to the last; and the last is shown for a moment, too.
        let seconds = between * dataset.frames as f64 / (dataset.frames.max(2) - 1) as f64;
        let seconds = (1e3 * seconds).round() / 1e3;
        let settings = settings.into();
        Ok((seconds > 0.0).then_some(Self { seconds, settings }))
    }
}

/// What a network is: `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Family and settings.
    pub architecture: Architecture,
    /// Class names; output `i` of the network is the logit of class `i`.
    pub classes: Vec<String>,
    /// What it takes of a clip.
    pub input: InputGeometry,
    /// Frames of the clips that it takes a window of `input.frames` of; left out where it takes them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_of: Option<usize>,
    /// What is subtracted from red, green and blue in 0..=1.
    pub mean: [f64; 3],
    /// What they are divided by after that.
    pub std: [f64; 3],
    /// How the clips were cut that it was trained on, where that is known: other videos must be cut in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Scales and zero points, where the network is quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

impl ModelInfo {
    /// A float network for the classes and the geometry of a clip set, normalised as its family is used to
    /// ([`normalisation`]).
    pub fn new(architecture: Architecture, classes: Vec<String>, input: InputGeometry) -> Self {
        let (mean, std) = normalisation(&architecture);
        Self {
            format_version: FORMAT_VERSION,
            architecture,
            classes,
            input,
            window_of: None,
            sampling: None,
            mean,
            std,
            quantization: None,
        }
    }

    /// Reads `model.json` in the folder of a model, the version first.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, NetsError> {
        let path = folder.join(files::INFO);
        let text = std::fs::read_to_string(&path).map_err(|source| NetsError::Read {
            path: path.clone(),
            source,
        })?;
        Self::parse(&text, &path)
    }

    /// Reads the text of a `model.json`, the version first; `path` is for messages only.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, NetsError> {
        let value = serde_json::from_str(text).map_err(|error| NetsError::Info {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Self::of(value, path)
    }

    /// The description in a `model.json`, the version first; `path` is for messages only.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn of(value: serde_json::Value, path: &Path) -> Result<Self, NetsError> {
        let refuse = |message: String| NetsError::Info {
            path: path.to_owned(),
            message,
        };
        let version = &value["format_version"];
        if version.as_u64() != Some(FORMAT_VERSION.into()) {
            return Err(NetsError::Version {
                path: path.to_owned(),
                found: version.to_string(),
                expected: FORMAT_VERSION,
            });
        }
        let info: Self =
            serde_json::from_value(value).map_err(|error| refuse(error.to_string()))?;
        info.check().map_err(|error| refuse(error.to_string()))?;
        Ok(info)
    }

    /// Writes `model.json` into the folder of a model.
    ///
    /// # Errors
    /// Names the file and what the system says.
    pub fn save(&self, folder: &Path) -> Result<(), NetsError> {
        write_json(&folder.join(files::INFO), self)
    }

    /// Refuses a description that no network could have.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), NetsError> {
        self.architecture.check()?;
        if self.classes.is_empty() {
            return Err(NetsError::Mismatch(
                "a model needs at least one class".into(),
            ));
        }
        if self.input.clip_values() == 0 {
            let message = format!("a model cannot take {}", self.input);
            return Err(NetsError::Mismatch(message));
        }
        if self
            .window_of
            .is_some_and(|stored| stored <= self.input.frames)
        {
            let message = format!("a window of {} cannot be of fewer frames", self.input);
            return Err(NetsError::Mismatch(message));
        }
        if self.std.iter().any(|s| !s.is_normal()) || self.mean.iter().any(|m| !m.is_finite()) {
            let message = format!(
                "cannot normalise with mean {:?}, std {:?}",
                self.mean, self.std
            );
            return Err(NetsError::Mismatch(message));
        }
        Ok(())
    }

    /// The clips that it was trained on and takes, whole or a window of.
    pub fn clips(&self) -> InputGeometry {
        InputGeometry {
            frames: self.window_of.unwrap_or(self.input.frames),
            ..self.input
        }
    }

    /// Refuses a batch of anything but normalised clips \[clips, 3, frames, height, width\] that the network takes.
    pub(crate) fn check_batch(&self, clips: &Tensor) -> Result<(), NetsError> {
        let size = clips.size();
        let count = size.first().copied().unwrap_or_default();
        if size == self.input.batch_shape(count as usize) && count > 0 {
            return Ok(());
        }
        Err(NetsError::Mismatch(format!(
            "the model takes {}, but was given clips of shape {size:?}",
            self.input
        )))
    }

    /// Refuses clips of another geometry than the network's.
    ///
    /// # Errors
    /// Both geometries.
    pub fn check_geometry(&self, dataset: &Dataset) -> Result<(), NetsError> {
        let (taken, clips) = (self.clips(), InputGeometry::from(dataset));
        if clips == taken {
            return Ok(());
        }
        let window = match self.window_of {
            Some(_) => format!("a window of {} frames of ", self.input.frames),
            None => String::new(),
        };
        Err(NetsError::Mismatch(format!(
            "the model takes {window}{taken}, but the clips have {clips}; extract the clips with the geometry \
             of those that the model was trained on"
        )))
    }

    /// Refuses clips whose classes are not exactly the network's, in its order.
    ///
    /// # Errors
    /// The classes that only one side has, or that their order differs.
    pub fn check_classes(&self, dataset: &Dataset) -> Result<(), NetsError> {
        if self.classes == dataset.classes {
            return Ok(());
        }
        let only = |these: &[String], those: &[String]| {
            let names: Vec<&str> = these
                .iter()
                .filter(|name| !those.contains(name))
                .map(String::as_str)
                .collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let model_only = only(&self.classes, &dataset.classes);
        let clips_only = only(&dataset.classes, &self.classes);
        Err(NetsError::Mismatch(
            if model_only == "none" && clips_only == "none" {
                "the model and the clips have the same classes in another order".to_owned()
            } else {
                format!(
                    "the model's classes are not those of the clips; only in the model: {model_only}; \
                 only in the clips: {clips_only}"
                )
            },
        ))
    }
}

/// Writes a description as JSON that people can read, too.
pub(crate) fn write_json(path: &Path, description: &impl Serialize) -> Result<(), NetsError> {
    let failed = |source| NetsError::Write {
        path: path.to_owned(),
        source,
    };
    let mut text = serde_json::to_vec_pretty(description).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ModelInfo {
        let input = InputGeometry {
            frames: 8,
            height: 56,
            width: 40,
        };
        ModelInfo::new(
            Architecture::default(),
            vec!["Bend".into(), "Jump".into()],
            input,
        )
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        info().save(folder.path()).unwrap();
        assert_eq!(ModelInfo::load(folder.path()).unwrap(), info());
    }

    #[test]
    fn another_version_is_named_before_its_fields_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"format_version": 2, "strange": true}"#;
        std::fs::write(folder.path().join(files::INFO), text).unwrap();
        let error = ModelInfo::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("format version 2"), "{error}");
        assert!(error.contains("model.json"), "{error}");
    }

    #[test]
    fn clips_that_do_not_belong_are_refused_with_the_difference() {
        let dataset = |classes: &[&str], frames| {
            Dataset::new(
                classes.iter().map(|c| (*c).to_owned()).collect(),
                frames,
                56,
                40,
            )
        };
        let info = info();
        info.check_classes(&dataset(&["Bend", "Jump"], 8)).unwrap();
        let error = info
            .check_classes(&dataset(&["Bend", "Walk"], 8))
            .unwrap_err()
            .to_string();
        assert!(error.contains("only in the model: Jump"), "{error}");
        assert!(error.contains("only in the clips: Walk"), "{error}");
        let error = info
            .check_classes(&dataset(&["Jump", "Bend"], 8))
            .unwrap_err()
            .to_string();
        assert!(error.contains("another order"), "{error}");
        info.check_geometry(&dataset(&["Bend"], 8)).unwrap();
        let error = info
            .check_geometry(&dataset(&["Bend"], 16))
            .unwrap_err()
            .to_string();
        assert!(error.contains("8 frames of 40x56"), "{error}");
        assert!(error.contains("16 frames"), "{error}");
        let window = ModelInfo {
            window_of: Some(16),
            ..info
        };
        window.check_geometry(&dataset(&["Bend"], 16)).unwrap();
        let error = window
            .check_geometry(&dataset(&["Bend"], 8))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a window of 8 frames of 16 frames of 40x56"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        window.save(folder.path()).unwrap();
        assert_eq!(ModelInfo::load(folder.path()).unwrap(), window);
        let nowhere = ModelInfo {
            window_of: Some(8),
            ..window
        };
        nowhere.check().unwrap_err();
    }
}
