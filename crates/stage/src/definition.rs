//! What a stage is, for whoever plans and documents it: no work happens here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ParamsError;

/// What an artifact holds; an input accepts some kinds and refuses the others before anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A folder of video files in one of the layouts that `extract` reads.
    Videos,
    /// A clip set: shards, `clips.jsonl`, `dataset.json`.
    Clips,
    /// A float model: `model.safetensors`, `model.json`.
    Model,
    /// What teachers say about views of training clips: `answers.safetensors`, `answers.json`.
    Answers,
    /// An int8 model: the same files with scales and zero points.
    QuantizedModel,
    /// A fine-tuned int8 model together with the `history.jsonl` of how it came about.
    Federated,
    /// `index.html` and `metrics.json`.
    Report,
}

impl Kind {
    /// The name used in messages and JSON, as in `quantized-model`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Videos => "videos",
            Self::Clips => "clips",
            Self::Model => "model",
            Self::Answers => "answers",
            Self::QuantizedModel => "quantized-model",
            Self::Federated => "federated",
            Self::Report => "report",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How many artifacts an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arity {
    /// Exactly one.
    One,
    /// One or none.
    Optional,
    /// A list of one or more, whose step names the stage sees (and which therefore enter the key).
    Many,
    /// A list that may be empty or absent.
    Any,
}

impl Arity {
    /// Whether a pipeline that leaves the input out is wrong.
    pub fn required(self) -> bool {
        matches!(self, Self::One | Self::Many)
    }

    /// Whether the input is written as a list.
    pub fn list(self) -> bool {
        matches!(self, Self::Many | Self::Any)
    }
}

/// One named input of a stage.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct InputSpec {
    /// The key under `inputs:` in a pipeline file.
    pub name: &'static str,
    /// The kinds of artifact it accepts.
    pub kinds: &'static [Kind],
    /// How many it takes.
    pub arity: Arity,
    /// One sentence for `--help` and error messages.
    pub summary: &'static str,
}

/// A library whose version decides a stage's results and therefore enters its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Library {
    /// libtorch, as in `2.11.0`.
    Libtorch,
    /// FFmpeg's libraries.
    Ffmpeg,
}

/// How many cores a step occupies while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// This many, and its results depend on the number: it is one of the params.
    Fixed(usize),
    /// All that the run may use; results do not depend on the number.
    All,
}

impl Cores {
    /// As many as the param `threads` names, or the stage's default.
    pub fn named_in(params: &Value, default: usize) -> Self {
        let named = params["threads"].as_u64();
        let named = named.and_then(|threads| usize::try_from(threads).ok());
        Self::Fixed(named.unwrap_or(default))
    }
}

/// A stage as the planner sees it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The name in `stage:` and of the subcommand.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The workspace package whose sources (with those of the workspace packages it depends on) make
    /// the code digest, as in `fedact-extract`.
    pub package: &'static str,
    /// The inputs, in the order of the documentation.
    pub inputs: &'static [InputSpec],
    /// What it makes.
    pub output: Kind,
    /// The libraries that decide its results.
    pub libraries: &'static [Library],
    /// Fills in every default and checks every range; the result is canonical: equal configurations
    /// written differently resolve to equal values.
    pub resolve: fn(&Value) -> Result<Value, ParamsError>,
    /// JSON schema of the params.
    pub schema: fn() -> Value,
    /// Cores for resolved params.
    pub cores: fn(&Value) -> Cores,
    /// Bytes of memory for resolved params and inputs of the usual size, so that steps side by side do not
    /// need more than there is; `None` where nobody knows. What is wrong for a step, its `resources.memory`
    /// says better.
    pub memory: fn(&Value) -> Option<u64>,
    /// Where a result is made of pieces that do not depend on one another (`extract`: of videos), what of the
    /// resolved params decides a piece. Steps that agree in that, in code and in libraries share their pieces,
    /// and a step may be done in shards, by several machines ([`crate::Pieces`]). `None` where it is made in one go.
    pub pieces: Option<fn(&Value) -> Value>,
}

impl Definition {
    /// Work for a process of its own that is part of a command: in no catalogue, so that no pipeline can name it, and nothing
    /// of it is kept. Its params are a request, checked by whoever made it.
    pub const fn part_of_a_command(
        name: &'static str,
        summary: &'static str,
        libraries: &'static [Library],
        output: Kind,
    ) -> Self {
        Self {
            name,
            summary,
            package: "",
            inputs: &[],
            output,
            libraries,
            resolve: |params| Ok(params.clone()),
            schema: || Value::Null,
            cores: |_| Cores::All,
            memory: |_| None,
            pieces: None,
        }
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&'static InputSpec> {
        self.inputs.iter().find(|input| input.name == name)
    }
}
