//! Video files through FFmpeg: probe, decode, sample, scale and encode.
//!
//! [`Video::open`] reads the times of all frames without decoding any; [`sample`] picks frames by
//! presentation time; [`Video::frames`] decodes those frames only, turns them the right way up and cuts
//! a square of RGB; [`Video::show`] shows whole pictures, one after the other. [`VideoWriter`] goes the other way,
//! and [`Video::sound`] gives what it has written the sound of another video.
//!
//! One video uses one thread: many videos at once keep more cores busy than many threads a video.
//! FFmpeg's messages are caught and returned with the file they concern; nothing is ever printed.

mod collector;
mod colour;
mod conversion;
mod crop;
mod decode;
mod decoder;
mod deinterlace;
mod demuxer;
mod encode;
mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
#[cfg(not(feature = "fault-injection"))]
mod fault;
mod index;
mod library;
mod limits;
mod log;
mod meaning;
mod orientation;
mod packet;
mod pictures;
pub mod sample;
mod scaler;
mod sound;
mod source;
mod timeline;
mod tone;
mod video;

pub use conversion::{Conversion, Geometry, SCALER, Size};
pub use encode::{Codec, EncodeError, VideoWriter};
pub use error::VideoError;
pub use library::{Capability, Version, capabilities, version};
pub use limits::Limits;
pub use log::catch as catch_log;
pub use orientation::Orientation;
pub use pictures::{is_picture, pictures};
pub use sound::{Copied, Sound, SoundError};
pub use timeline::Timeline;
pub use video::{Frames, Info, Video};
