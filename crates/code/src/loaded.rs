//! What a process that loaded the library of the stages learns from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The libraries that came with the library of the stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// libtorch.
    pub libtorch: LoadedLibtorch,
    /// FFmpeg.
    pub ffmpeg: LoadedFfmpeg,
    /// oneDNN, which runs quantized models without libtorch.
    pub onednn: LoadedOnednn,
}

/// How fast this machine runs a network, one clip at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The median time that a clip takes.
    pub milliseconds: f64,
    /// Threads that computed it.
    pub threads: usize,
    /// Runs that the median is of.
    pub runs: usize,
}

/// How fast this machine trains and runs the reference model of the device profiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReferencePace {
    /// Clips a second in training.
    pub training_clips_per_second: f64,
    /// Clips a second in inference.
    pub inference_clips_per_second: f64,
    /// The standard deviation of the logarithm of the time of a step of training.
    pub jitter: f64,
    /// Threads that computed it.
    pub threads: usize,
}

/// libtorch, as this process found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedLibtorch {
    /// The file of `libtorch_cpu`; `None` where it is linked statically.
    pub loaded_from: Option<PathBuf>,
    /// How many CUDA devices it can use.
    pub cuda_devices: i64,
    /// How many threads it computes with unless told.
    pub threads: i32,
}

/// FFmpeg, as this process found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedFfmpeg {
    /// Its version and those of its libraries.
    pub version: String,
    /// The decoders that videos are read with, where it has them.
    pub decoders: Vec<String>,
    /// The encoders that videos are written with, where it has them.
    pub encoders: Vec<String>,
}

/// oneDNN, as this process found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedOnednn {
    /// Its version, where it can be used.
    pub version: Option<String>,
    /// Why it cannot, where it is so: libtorch runs quantized models then, and takes longer.
    pub missing: Option<String>,
}
