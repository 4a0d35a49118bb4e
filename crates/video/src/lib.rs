//! Video files through FFmpeg: probe, decode, sample, scale and encode.

mod encode;

pub use encode::{Codec, EncodeError, VideoWriter};
