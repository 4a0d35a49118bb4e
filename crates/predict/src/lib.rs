//! What `fedact predict` asks of the processes that cut clips, answer and draw, as data.
//!
//! The jobs have definitions as stages have, by which the command chooses the library that does the work. They
//! are in no catalogue: no pipeline can name them, and nothing of theirs is kept.

use std::io;
use std::path::{Path, PathBuf};

use fedact_stage::{Definition, Job, Kind, Library};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Cuts clips out of videos that nobody has labelled.
pub static CUT: Definition = job("cut-videos", &[Library::Ffmpeg], Kind::Clips);

/// Asks a model about clips.
pub static ANSWER: Definition = job("answer-clips", &[Library::Libtorch], Kind::Answers);

/// Asks a quantized model about clips, without libtorch; leaves an [`Attempt`].
pub static ANSWER_INT8: Definition = job("answer-clips-in-int8", &[], Kind::Answers);

/// Writes words on a video.
pub static RENDER: Definition = job("render-video", &[Library::Ffmpeg], Kind::Videos);

/// Where the clips are, in the output of [`CUT`].
pub const CLIPS: &str = "clips";

/// What became of the videos: a list of [`CutVideo`] in the output of [`CUT`].
pub const VIDEOS: &str = "videos.json";

/// The [`Answers`] in the output of [`ANSWER`], or the [`Attempt`] in that of [`ANSWER_INT8`].
pub const ANSWERS: &str = "answers.json";

/// Its params are a request below.
const fn job(name: &'static str, libraries: &'static [Library], output: Kind) -> Definition {
    Definition::part_of_a_command(name, "A part of `fedact predict`", libraries, output)
}

/// What [`CUT`] is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutRequest {
    /// The files.
    pub videos: Vec<PathBuf>,
    /// Clips of each.
    pub clips: usize,
    /// Seconds that a clip should cover, as those did that the model was trained on; `None` where nobody knows.
    pub seconds: Option<f64>,
    /// How clips are cut: params of the stage `extract`.
    pub settings: Value,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CutVideo {
    /// Its clips are in the set, behind those of the file before.
    Clips {
        /// Presentation times of the first and the last frame of each clip, in seconds.
        times: Vec<[f64; 2]>,
        /// Seconds that decoding took.
        decode_seconds: f64,
        /// Why the clips are suspect, where they are.
        damage: Option<String>,
    },
    /// It gave none.
    Problem {
        /// What kind of problem it has, as in `not-a-video`.
        reason: String,
        /// The problem in a sentence.
        message: String,
    },
}

/// What a model says of clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Of each clip the probabilities of the classes.
    pub probabilities: Vec<Vec<f64>>,
    /// Of each batch of clips, a video's, how many seconds the network took.
    pub seconds: Vec<f64>,
    /// Threads that computed it.
    pub threads: usize,
    /// How it was computed.
    pub execution: Execution,
    /// By whose kernels.
    pub runtime: Runtime,
}

impl Answers {
    /// To none yet of so many clips.
    pub fn awaited(clips: usize, threads: usize, execution: Execution, runtime: Runtime) -> Self {
        Self {
            probabilities: Vec::with_capacity(clips),
            seconds: Vec::new(),
            threads,
            execution,
            runtime,
        }
    }
}

/// What became of a try to do without libtorch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Attempt {
    /// The model has answered.
    Answered(Answers),
    /// Why this machine cannot; [`ANSWER`] may.
    Unable(String),
}

/// By whose kernels answers were computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// libtorch's.
    #[default]
    Libtorch,
    /// oneDNN's, without libtorch.
    Onednn,
}

/// How answers were computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// In 32-bit floating-point numbers.
    #[default]
    Float32,
    /// In int8 kernels.
    Int8,
    /// In 32-bit numbers that are rounded as int8 kernels would round: where there are none.
    SimulatedInt8,
}

/// What [`RENDER`] is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenderRequest {
    /// The video.
    pub video: PathBuf,
    /// The file to write; `.mp4` or `.avi`.
    pub output: PathBuf,
    /// Pixels that its long side may have at most.
    pub largest_side: u32,
    /// The side of the square in the middle that the model has seen, as a share of the short side; its corners are marked.
    pub seen: Option<f64>,
    /// What is written on it, by time.
    pub captions: Vec<Caption>,
}

/// Words on a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caption {
    /// The second from which on they stand there, until the next do.
    pub from: f64,
    /// The words.
    pub text: String,
    /// How long a bar stands beneath them, as a share of the width.
    pub share: f64,
}

/// A file or a request that the other process cannot make anything of.
#[derive(Debug, thiserror::Error)]
#[error("cannot exchange {what} with another process of this program")]
pub struct ExchangeError {
    what: String,
    source: io::Error,
}

/// The request that a job carries.
///
/// # Errors
/// Params of another job.
pub fn request<R: DeserializeOwned>(job: &Job) -> Result<R, ExchangeError> {
    serde_json::from_value(job.params.clone()).map_err(|error| ExchangeError {
        what: format!("the request of {}", job.stage),
        source: error.into(),
    })
}

/// Writes a value into a file of a folder.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), ExchangeError> {
    let path = folder.join(name);
    serde_json::to_vec(value)
        .map_err(io::Error::from)
        .and_then(|text| std::fs::write(&path, text))
        .map_err(|source| ExchangeError {
            what: path.display().to_string(),
            source,
        })
}

/// Reads it back.
///
/// # Errors
/// Names the file that cannot be read.
pub fn read<V: DeserializeOwned>(folder: &Path, name: &str) -> Result<V, ExchangeError> {
    let path = folder.join(name);
    std::fs::read(&path)
        .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from))
        .map_err(|source| ExchangeError {
            what: path.display().to_string(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let videos = vec![
            CutVideo::Clips {
                times: vec![[0.1, 1.0 / 3.0]],
                decode_seconds: 0.25,
                damage: None,
            },
            CutVideo::Problem {
                reason: "not-a-video".into(),
                message: "it is text".into(),
            },
        ];
        write(folder.path(), VIDEOS, &videos).unwrap();
        let back: Vec<CutVideo> = read(folder.path(), VIDEOS).unwrap();
        assert_eq!(back, videos);
        let error = read::<Answers>(folder.path(), ANSWERS).unwrap_err();
        assert!(error.to_string().contains(ANSWERS), "{error}");
    }

    #[test]
    fn each_job_has_the_library_that_it_needs() {
        assert_eq!(CUT.libraries, [Library::Ffmpeg]);
        assert_eq!(ANSWER.libraries, [Library::Libtorch]);
        assert!(ANSWER_INT8.libraries.is_empty());
        assert_eq!(RENDER.libraries, [Library::Ffmpeg]);
    }
}
