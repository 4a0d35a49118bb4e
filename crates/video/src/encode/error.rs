//! Why a video could not be written.

use std::io;
use std::path::{Path, PathBuf};

use ffmpeg_next as ffmpeg;

use super::Codec;

/// Why a video could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The file could not be created or written; a full disk is `StorageFull`.
    #[error("cannot write the video {}", path.display())]
    Write {
        /// The video.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The linked FFmpeg has no encoder for this codec.
    #[error("cannot write the video {}: the linked FFmpeg has no {} encoder", path.display(), codec.name())]
    NoEncoder {
        /// The video.
        path: PathBuf,
        /// What was asked for.
        codec: Codec,
    },
    /// Width, height or frame rate cannot be encoded.
    #[error("cannot write the video {}: {width}x{height} at {frames_per_second} frames a second; \
             width and height must be even and between 16 and 8192, the rate between 1 and 1000", path.display())]
    Geometry {
        /// The video.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Frames per second.
        frames_per_second: u32,
    },
    /// A frame of the wrong size was handed over.
    #[error("cannot write the video {}: a frame has {given} bytes instead of {expected}", path.display())]
    FrameSize {
        /// The video.
        path: PathBuf,
        /// Bytes given.
        given: usize,
        /// Bytes of a frame: width x height x 3.
        expected: usize,
    },
    /// No frame was written before the end.
    #[error("cannot write the video {}: it has no frames", path.display())]
    Empty {
        /// The video.
        path: PathBuf,
    },
    /// FFmpeg refused.
    #[error("cannot write the video {} ({step})", path.display())]
    Ffmpeg {
        /// The video.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What FFmpeg said.
        #[source]
        source: ffmpeg::Error,
    },
}

impl EncodeError {
    /// The video that could not be written.
    pub fn path(&self) -> &Path {
        match self {
            Self::Write { path, .. }
            | Self::NoEncoder { path, .. }
            | Self::Geometry { path, .. }
            | Self::FrameSize { path, .. }
            | Self::Empty { path }
            | Self::Ffmpeg { path, .. } => path,
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
