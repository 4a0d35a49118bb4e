//! What one file may cost.

use std::time::Duration;

/// What one file may cost: a file that is broken or made to do harm must not stop the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For everything done with the file, also inside FFmpeg's reading.
    pub time: Duration,
    /// Bytes of the decoded pictures that a decoder holds at a time. Compressed data and the times of frames come on
    /// top: 64 MiB and 36 bytes a frame.
    pub memory: u64,
}

impl From<Duration> for Limits {
    /// With 1 GiB, which is enough for any picture of 8192 x 4320.
    fn from(time: Duration) -> Self {
        Self {
            time,
            memory: 1 << 30,
        }
    }
}
