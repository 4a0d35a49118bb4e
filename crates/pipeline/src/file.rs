//! `pipeline.yaml` as written: shapes checked, every value with its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::matrix::Axis;
use crate::resources::Resources;
use crate::yaml::{self, Spot};
use crate::{Origin, Override, PipelineError, Place, Problem, read};

/// The version of the pipeline format that this crate reads.
pub const PIPELINE_VERSION: u64 = 1;

/// A pipeline file as written. What the names in it mean is for [`crate::Graph`] to find out, which also
/// reports what is wrong with its shape: whoever mends a file wants to hear everything at once.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// Where results are exchanged with other machines; enters no key.
    pub remote: Option<RemoteEntry>,
    /// The steps, in the order of the file.
    pub(crate) steps: Vec<Step>,
    /// What `--set` changes, in the order of the command line.
    pub(crate) overrides: Vec<Override>,
    /// What is wrong with its shape.
    pub(crate) problems: Vec<Problem>,
    root: Arc<yaml::Node>,
}

/// What the file says under `remote:`, with the places for messages. What an address is, and a key, is for
/// whoever speaks with it to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// Its address, and where that stands.
    pub url: (String, Place),
    /// Whether results are taken from there, and none brought; `None` where the file does not say.
    pub read_only: Option<bool>,
    /// The public keys of those who are believed, each with where it stands.
    pub trust: Vec<(String, Place)>,
}

/// One entry of `steps:`.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) spot: Spot,
    /// The stage it runs; `None` where that was refused already.
    pub(crate) stage: Option<(String, Spot)>,
    /// Its inputs, in the order of the file, and where they begin.
    pub(crate) inputs: Vec<InputEntry>,
    pub(crate) inputs_spot: Spot,
    pub(crate) params: Value,
    /// The params with their places, and where they begin.
    pub(crate) written_params: Option<(Arc<yaml::Node>, Spot)>,
    pub(crate) matrix: Vec<Axis>,
    pub(crate) resources: Resources,
}

/// One entry of `inputs:`.
#[derive(Debug, Clone)]
pub(crate) struct InputEntry {
    pub(crate) name: String,
    pub(crate) spot: Spot,
    pub(crate) sources: Vec<SourceEntry>,
    /// Whether it was written as a list.
    pub(crate) list: bool,
    /// Whether all of it could be read.
    pub(crate) whole: bool,
}

/// What an input is bound to, as written.
#[derive(Debug, Clone)]
pub(crate) struct SourceEntry {
    pub(crate) spot: Spot,
    pub(crate) target: Target,
}

/// The two things that an input may be bound to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// The output of a step: its name, and perhaps which instances of its matrix.
    Step(String),
    /// A folder of the user's; a relative path is already joined to the folder of the pipeline file.
    Folder(PathBuf),
}

impl Pipeline {
    /// Reads a file; the overrides change params once the graph is built.
    ///
    /// # Errors
    /// A file that cannot be read, or is not YAML.
    pub fn load(file: &Path, overrides: Vec<Override>) -> Result<Self, PipelineError> {
        let text = std::fs::read_to_string(file).map_err(|source| PipelineError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file, overrides)
    }

    /// The same from text; `file` serves messages and relative paths.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, file: &Path, overrides: Vec<Override>) -> Result<Self, PipelineError> {
        let document = yaml::read(text).map_err(|error| Problem::Syntax {
            place: place(file, error.spot),
            message: error.message,
        })?;
        let mut pipeline = Self {
            file: file.to_owned(),
            remote: None,
            steps: Vec::new(),
            overrides,
            problems: Vec::new(),
            root: Arc::clone(&document.root),
        };
        for twice in document.duplicates {
            pipeline.problems.push(Problem::DuplicateKey {
                place: pipeline.place(twice.spot),
                key: twice.path.join("."),
                first_line: twice.first.line,
            });
        }
        read::document(&document.root, &mut pipeline);
        Ok(pipeline)
    }

    /// The place of an input of a step; of the step where it has no such input.
    pub fn place_of_input(&self, step: &str, input: &str) -> Place {
        self.place(self.root.find(["steps", step, "inputs", input]))
    }

    /// The folder that relative paths count from.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    pub(crate) fn place(&self, spot: Spot) -> Place {
        place(&self.file, spot)
    }

    pub(crate) fn origin(&self, spot: Spot) -> Origin {
        Origin::File(self.place(spot))
    }
}

impl Step {
    /// Where a param stands: the nearest key of the file around it.
    pub(crate) fn spot_of_param(&self, path: &[String]) -> Spot {
        let Some((params, spot)) = &self.written_params else {
            return self.spot;
        };
        match path.first() {
            Some(first) if params.get(first).is_some() => params.find(path),
            _ => *spot,
        }
    }
}

fn place(file: &Path, spot: Spot) -> Place {
    Place {
        file: file.to_owned(),
        line: spot.line,
        column: spot.column,
    }
}
