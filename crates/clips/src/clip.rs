//! One clip of a set: a line of `clips.jsonl`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{ClipsError, Dataset};

/// Whether a clip is for training or for testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Seen while training.
    Train,
    /// Kept back to measure accuracy.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One clip of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Unique in the set, and what clips are ordered by; as in `Bend/bend_01.avi#0`.
    pub id: String,
    /// Path of the source video within its folder, with `/` between the parts.
    pub video: String,
    /// SHA-256 of the source video's bytes, in hex.
    pub video_digest: String,
    /// Index in [`Dataset::classes`]; the class's name stands beside it in the file as `class`.
    pub label: usize,
    /// The person or recording whose clips must stay together; the video's name where none is known.
    pub group: String,
    /// Which side of the split the clip is on.
    pub split: Split,
    /// Presentation time of the first frame, in seconds from the start of the video.
    pub start_seconds: f64,
    /// Presentation time of the last frame.
    pub end_seconds: f64,
    /// Number of the shard that holds the pixels; set by the writer.
    #[serde(default)]
    pub shard: u32,
    /// Row within the shard; set by the writer.
    #[serde(default)]
    pub row: u32,
}

/// A clip as it stands in the file: with the class's name, for people and for other programs.
#[derive(Serialize)]
struct WrittenLine<'a> {
    #[serde(flatten)]
    clip: &'a Clip,
    class: &'a str,
}

#[derive(Deserialize)]
struct ReadLine {
    #[serde(flatten)]
    clip: Clip,
    class: String,
}

/// The line of a clip, with its line feed.
pub(crate) fn write_line(clip: &Clip, dataset: &Dataset) -> serde_json::Result<Vec<u8>> {
    let class = dataset.classes.get(clip.label).map_or("", String::as_str);
    let mut line = serde_json::to_vec(&WrittenLine { clip, class })?;
    line.push(b'\n');
    Ok(line)
}

/// What is wrong with a line.
pub(crate) enum Fault {
    /// It does not parse or lacks a field.
    Json(serde_json::Error),
    /// It contradicts the data set: the clip's id, and how.
    Clip(String, String),
}

impl Fault {
    /// As an error about a line of a file, counted from 0.
    pub(crate) fn at(self, path: &Path, line: usize) -> ClipsError {
        let (path, line) = (path.to_owned(), line + 1);
        match self {
            Self::Json(error) => ClipsError::Json {
                path,
                line,
                message: error.to_string(),
            },
            Self::Clip(id, message) => ClipsError::Clip {
                path,
                line,
                id,
                message,
            },
        }
    }
}

/// Reads a line and checks it against the data set.
pub(crate) fn read_line(line: &[u8], dataset: &Dataset) -> Result<Clip, Fault> {
    let ReadLine { clip, class } = serde_json::from_slice(line).map_err(Fault::Json)?;
    let message = match dataset.classes.get(clip.label) {
        Some(name) if *name == class => return Ok(clip),
        Some(name) => format!(
            "label {} is `{name}` in dataset.json, but the line says `{class}`",
            clip.label
        ),
        None => format!(
            "label {} is out of range: there are {} classes",
            clip.label,
            dataset.classes.len()
        ),
    };
    Err(Fault::Clip(clip.id, message))
}
