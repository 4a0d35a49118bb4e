//! Why sound could not be copied.

use crate::EncodeError;

/// Why sound could not be copied, as the end of a sentence that begins with whose it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoundError {
    /// The container has no place for the codec.
    #[error("{codec} cannot be copied into an .{container} file{}", instead(*.other))]
    Container {
        /// The codec of the sound, as in `opus`.
        codec: String,
        /// The extension of the container.
        container: &'static str,
        /// The extension of one that has.
        other: Option<&'static str>,
    },
    /// The container counts packets, and the sound stops for a while.
    #[error(
        "it pauses after {seconds:.1} s, which an .avi file has no way to say; an .mp4 file has"
    )]
    Pause {
        /// When, from the first picture on.
        seconds: f64,
    },
    /// There is nothing in it that could be copied.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// All of it lies before the first picture or after the last, or there is a stream without a packet.
    #[error("nothing of it is heard while there are pictures")]
    Apart,
    /// The pictures that it belongs to cannot be read.
    #[error("the pictures cannot be read again: {reason}")]
    Pictures {
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] EncodeError),
}

fn instead(other: Option<&str>) -> String {
    other.map_or_else(String::new, |other| format!("; an .{other} file takes it"))
}
