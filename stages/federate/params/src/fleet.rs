//! What goes between the processes of a federation on real machines, as data.
//!
//! A step with `transport: nats` runs the coordinator in its own process and tells the devices what they need in a [`Brief`].
//! A device's process talks to the coordinator and loads neither libtorch nor FFmpeg: it has its videos cut by a process of the stage
//! `extract`, and each task done by one of [`TRAIN`].

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use fedact_stage::{Definition, Kind, Library};
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

/// Does one task: the work of `fedact_federate::train_task`.
pub static TRAIN: Definition = Definition::part_of_a_command(
    "train-task",
    "A part of `fedact fleet join`",
    &[Library::Libtorch],
    Kind::Model,
);

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

/// Writes parameters as `f32`, little-endian, and never holds them twice: a device may have little memory.
///
/// # Errors
/// The file cannot be written.
pub fn write_numbers(path: &Path, numbers: &[f32]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in numbers {
        file.write_all(&number.to_le_bytes())?;
    }
    file.flush()
}

/// Reads them back; bytes after the last whole number are left out.
///
/// # Errors
/// The file cannot be read.
pub fn read_numbers(path: &Path) -> io::Result<Vec<f32>> {
    let file = File::open(path)?;
    let count = usize::try_from(file.metadata()?.len() / 4).unwrap_or_default();
    let mut file = BufReader::new(file);
    let mut numbers = Vec::with_capacity(count);
    let mut bytes = [0; 4];
    for _ in 0..count {
        file.read_exact(&mut bytes)?;
        numbers.push(f32::from_le_bytes(bytes));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let numbers = [0.1, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY];
        write_numbers(&path, &numbers).unwrap();
        let read = read_numbers(&path).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|one| one.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&numbers));
    }
}
