//! `problems.jsonl`: source files that were left out, and files that are in but suspect.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{ClipsError, files};

/// What kind of problem a source file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No container or codec that FFmpeg knows, or no video stream with a picture in it.
    NotAVideo,
    /// A video that does not decode.
    Undecodable,
    /// Decoding took longer than allowed.
    TimeLimit,
    /// Decoding wanted more memory than allowed.
    MemoryLimit,
    /// The process that decoded it crashed, and another one that did nothing else did so, too.
    Crashed,
    /// The file cannot be read or is too large to be handled.
    Unreadable,
    /// Decoded with errors: the clips are in the set, but some of their frames may be missing.
    Damaged,
    /// The same content is already in the set, on the other side of the split.
    Duplicate,
    /// A list names a file that is not there.
    Missing,
    /// A list names seconds that the video does not have.
    TooShort,
}

impl Reason {
    /// Whether a file with this problem has no clips in the set.
    pub fn left_out(self) -> bool {
        self != Self::Damaged
    }
}

/// One line of `problems.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path of the file within the folder of videos, with `/` between the parts.
    pub path: String,
    /// What kind of problem it is.
    pub reason: Reason,
    /// The problem in a sentence.
    pub message: String,
    /// What FFmpeg said about the file, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ffmpeg: Vec<String>,
}

/// Writes `problems.jsonl` into the folder of a clip set; an empty file where there are none.
///
/// # Errors
/// A file that cannot be written.
pub fn write_problems(folder: &Path, problems: &[Problem]) -> Result<(), ClipsError> {
    let path = folder.join(files::PROBLEMS);
    let mut text = Vec::new();
    let written = problems.iter().try_for_each(|problem| {
        serde_json::to_writer(&mut text, problem)?;
        text.push(b'\n');
        Ok(())
    });
    written
        .map_err(|error: serde_json::Error| error.into())
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|source| ClipsError::Write { path, source })
}

/// Reads `problems.jsonl`; a set without the file has no problems.
///
/// # Errors
/// A file that cannot be read, or the line that does not parse.
pub fn read_problems(folder: &Path) -> Result<Vec<Problem>, ClipsError> {
    let path = folder.join(files::PROBLEMS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ClipsError::Read { path, source }),
    };
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| ClipsError::Json {
                path: path.clone(),
                line: index + 1,
                message: error.to_string(),
            })
        })
        .collect()
}
