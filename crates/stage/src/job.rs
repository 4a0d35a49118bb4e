//! One execution of a stage: what the runner hands to the process that does the work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Params, Pieces, StageError};

/// One artifact (or folder of the user's) that an input is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The step it comes from, or the last part of the folder's path.
    pub name: String,
    /// The folder, to be read and never written.
    pub path: PathBuf,
}

/// Everything a stage may use. A stage reads nothing else: no environment, no global configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The stage's name.
    pub stage: String,
    /// The step's name, for messages.
    pub step: String,
    /// Resolved params.
    pub params: Value,
    /// The inputs by name; a single input is a list of one.
    pub inputs: BTreeMap<String, Vec<Input>>,
    /// An empty folder to write the output into. It becomes the artifact when `run` returns `Ok`.
    pub output: PathBuf,
    /// A folder that outlives a killed run of the same key and is deleted on success: for finished
    /// parts and checkpoints. Whatever is found there may be incomplete and must be checked.
    pub checkpoints: PathBuf,
    /// Of a stage whose result is made of pieces, what there is of them already. `None` without a store: such
    /// a stage then keeps what is finished among its checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Pieces>,
    /// How many cores the step may use.
    pub threads: usize,
    /// The folder of the fleet of devices that does the step's work, where `fedact fleet serve` runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PathBuf>,
}

impl Job {
    /// The params in their own type.
    ///
    /// # Errors
    /// Says which value does not fit; cannot happen with params that the definition resolved.
    pub fn params<P: Params>(&self) -> Result<P, StageError> {
        serde_json::from_value(self.params.clone()).map_err(|error| {
            StageError::invalid(&error).with_remedy(format!(
                "run `fedact schema {}` to see the params",
                self.stage
            ))
        })
    }

    /// The folder of a single input.
    ///
    /// # Errors
    /// Names the input that is missing.
    pub fn input(&self, name: &str) -> Result<&Path, StageError> {
        self.optional(name).ok_or_else(|| StageError {
            message: format!(
                "stage {} was started without its input `{name}`",
                self.stage
            ),
            remedy: Some(format!("give it with --input {name}=FOLDER")),
            invalid_input: true,
            stopped: false,
        })
    }

    /// The folder of an input that may be absent.
    pub fn optional(&self, name: &str) -> Option<&Path> {
        self.list(name).first().map(|input| input.path.as_path())
    }

    /// All artifacts of an input, in the order of the pipeline file.
    pub fn list(&self, name: &str) -> &[Input] {
        self.inputs.get(name).map_or(&[], Vec::as_slice)
    }
}
