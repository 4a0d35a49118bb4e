//! The model that is asked: where it is, and how videos must be cut for it.

use std::path::{Path, PathBuf};

use fedact_extract_params::ExtractParams;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};

/// The file in which a model says what it is.
const DESCRIPTION: &str = "model.json";

/// The part of `model.json` that decides how videos are cut.
#[derive(Debug, Deserialize)]
struct Description {
    classes: Vec<String>,
    input: Input,
    window_of: Option<u32>,
    sampling: Option<Sampling>,
    quantization: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Input {
    frames: u32,
    height: u32,
    width: u32,
}

#[derive(Debug, Deserialize)]
struct Sampling {
    seconds: f64,
    settings: Value,
}

/// A model that can be asked.
#[derive(Debug)]
pub struct Asked {
    /// Its folder.
    pub folder: PathBuf,
    /// Names of the classes, in the order of its answers.
    pub classes: Vec<String>,
    /// Whether it computes with bytes.
    pub quantized: bool,
    /// Seconds that a clip should cover, where the model says so.
    pub seconds: Option<f64>,
    /// How clips are cut: params of `extract`.
    pub settings: Value,
    /// The side of the square that it sees of a picture, as a share of the short side.
    pub seen: f64,
}

impl Asked {
    /// The model in a folder, or in the output of a step.
    ///
    /// # Errors
    /// There is none; it does not say what it takes, or takes what cannot be cut.
    pub fn find(name: &Path, artifacts: &Path) -> Result<Self, Refusal> {
        let folder = folder(name, artifacts)?;
        let file = folder.join(DESCRIPTION);
        let refuse = |problem: String| {
            Refusal::new(
                Code::Invalid,
                format!("{}: {problem}", file.display()),
                "give the folder of a model that this program made; an older one is made again by \
                 `fedact run`",
            )
        };
        let text = std::fs::read(&file).map_err(|error| refuse(error.to_string()))?;
        let description: Description =
            serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        let Description { input, classes, .. } = description;
        if input.height != input.width {
            let (width, height) = (input.width, input.height);
            return Err(refuse(format!(
                "the model takes pictures of {width}x{height}, and clips are cut as squares"
            )));
        }
        if classes.is_empty() {
            return Err(refuse("the model has no classes".to_owned()));
        }
        let known = description.sampling.as_ref();
        let mut settings = known.map_or_else(|| json!({}), |known| known.settings.clone());
        settings["frames"] = json!(description.window_of.unwrap_or(input.frames));
        settings["size"] = json!(input.width);
        let checked = fedact_stage::resolve::<ExtractParams>(&settings);
        let settings = checked.map_err(|error| refuse(error.to_string()))?;
        let cut: ExtractParams =
            serde_json::from_value(settings.clone()).map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            folder,
            classes,
            quantized: description.quantization.is_some(),
            seconds: known.map(|known| known.seconds),
            settings,
            seen: f64::from(cut.size) / f64::from(cut.resize()),
        })
    }
}

/// The folder of a model: one that is named, or the output of a step.
///
/// # Errors
/// There is none.
pub fn folder(name: &Path, artifacts: &Path) -> Result<PathBuf, Refusal> {
    let folder = [name.to_owned(), artifacts.join(name)]
        .into_iter()
        .find(|folder| folder.join(DESCRIPTION).is_file())
        .ok_or_else(|| nowhere(name, artifacts))?;
    folder
        .canonicalize()
        .map_err(|error| Refusal::failed(&format!("find {}", folder.display()), &error))
}

fn nowhere(name: &Path, artifacts: &Path) -> Refusal {
    let problem = if name.is_dir() {
        format!("{} is no model: it has no {DESCRIPTION}", name.display())
    } else if artifacts.join(name).is_dir() {
        format!("the step `{}` makes no model", name.display())
    } else {
        format!(
            "there is no folder {0}, and no step `{0}` has a result in {1}",
            name.display(),
            artifacts.display()
        )
    };
    Refusal::new(
        Code::Invalid,
        problem,
        "give the folder of a model, or a step that makes one and has run, as in `fedact run student`",
    )
}
