//! What goes between the processes of a federation on real machines, as data.
//!
//! A step with `transport: nats` runs the coordinator in its own process and tells the devices what they need in a [`Brief`].
//! A device's process talks to the coordinator and loads neither libtorch nor FFmpeg: it has its videos cut by a process of the stage
//! `extract`, and each task done by one of [`TRAIN`].

use std::path::PathBuf;

use fedact_stage::{Cores, Definition, Kind, Library};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::FederateParams;

/// What a device must know to train as the clients of a simulation do. Travels as the settings of the run's description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brief {
    /// The network: the text of its `model.json`, with the classes that it is to tell apart.
    pub model: Value,
    /// How videos are cut: those params of the stage `extract` that decide what a clip of the train split holds, as the clips at
    /// the centre name them. What they leave out is a device's own to say.
    pub extract: Value,
    /// How a task is done: params of this stage, resolved.
    pub params: FederateParams,
}

/// Does one task: the work of `fedact_federate::train_task`. No pipeline can name it, and nothing of it is kept.
pub static TRAIN: Definition = Definition {
    name: "train-task",
    summary: "A part of `fedact fleet join`",
    package: "",
    inputs: &[],
    output: Kind::Model,
    libraries: &[Library::Libtorch],
    resolve: |params| Ok(params.clone()),
    schema: || Value::Null,
    cores: |_| Cores::All,
    memory: |_| None,
    pieces: None,
};

/// What [`TRAIN`] is to do. Its input `clips` is the device's clip set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRequest {
    /// What every device must know.
    pub brief: Brief,
    /// The parameters to start from: `f32`, little-endian, flat. The trained ones are written likewise into the job's output, as
    /// [`TRAINED`].
    pub base: PathBuf,
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// Clips of all earlier tasks of this device: where this one begins in the endless repetition of its clips.
    pub samples_before: u64,
    /// Share of the run's budget that was spent when the task was given out.
    pub progress: f64,
    /// The device's number in the fleet, from which the order of its clips derives.
    pub client: u32,
}

/// Where the trained parameters are, in the output of [`TRAIN`].
pub const TRAINED: &str = "trained";
