//! Why a file gave no frames.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::time::Duration;

/// Why a file gave no frames. The messages name the file; [`VideoError::messages`] is what FFmpeg said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The system does not let the file be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No container that FFmpeg knows, or one without moving pictures.
    #[error("{path} is not a video: {reason}")]
    NotAVideo {
        /// The file.
        path: PathBuf,
        /// What it is, or what is missing.
        reason: String,
        /// What FFmpeg said.
        messages: Vec<String>,
    },
    /// A video of which no frame decodes.
    #[error("{path} does not decode: {reason}")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        reason: String,
        /// What FFmpeg said.
        messages: Vec<String>,
    },
    /// Reading and decoding took longer than allowed.
    #[error("{path} took longer than {} s", limit.as_secs_f64())]
    TimeLimit {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: Duration,
        /// What FFmpeg said.
        messages: Vec<String>,
    },
    /// Its decoded pictures are more than one file may have.
    #[error("{path} needs more than {} MiB for its pictures", limit >> 20)]
    MemoryLimit {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
        /// What FFmpeg said.
        messages: Vec<String>,
    },
}

impl VideoError {
    /// What FFmpeg said about the file, in order.
    pub fn messages(&self) -> &[String] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::NotAVideo { messages, .. }
            | Self::Undecodable { messages, .. }
            | Self::TimeLimit { messages, .. }
            | Self::MemoryLimit { messages, .. } => messages,
        }
    }

    /// The same error with FFmpeg's messages.
    #[must_use]
    pub(crate) fn with_messages(mut self, said: Vec<String>) -> Self {
        match &mut self {
            Self::Unreadable { .. } => {}
            Self::NotAVideo { messages, .. }
            | Self::Undecodable { messages, .. }
            | Self::TimeLimit { messages, .. }
            | Self::MemoryLimit { messages, .. } => *messages = said,
        }
        self
    }
}

/// FFmpeg's words for an error code.
pub(crate) fn words(code: i32) -> String {
    let mut text = [0 as c_char; 128];
    // SAFETY: the buffer's length is passed with it; what is written ends with a zero, even for a code
    // that FFmpeg does not know.
    let words = unsafe {
        ffmpeg_next::ffi::av_strerror(code, text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr())
    };
    words.to_string_lossy().into_owned()
}
