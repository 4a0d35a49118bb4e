//! Whoever trains.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::wire::Description;

/// What went wrong with a training.
pub type TrainerError = Box<dyn std::error::Error + Send + Sync>;

/// Trains a model on the device's own data. It blocks, on a thread of its own; the network does not wait for it.
pub trait Trainer: Send + 'static {
    /// Gets ready for the tasks of a run. It blocks as [`Self::train`] does, before the device says that it can work.
    ///
    /// # Errors
    /// None that keeps the device from asking for a task: that one fails for the same reason, and the coordinator hears of it.
    fn prepare(&mut self, _description: &Description) -> Result<(), TrainerError> {
        Ok(())
    }

    /// Clips that there are to train on, if that is known; asked when it is ready for a run, and after every task. The coordinator is told,
    /// and gives out tasks of so many.
    fn clips(&self) -> Option<NonZeroU64> {
        None
    }

    /// The trained parameters: as many as the base has, in the same layout.
    ///
    /// # Errors
    /// Whatever keeps it from training: the task is given back, and the device gets another one. The words of the error are sent to the
    /// coordinator, 200 characters of them: nothing of the device's own, as names of files, may stand in them.
    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError>;
}

/// A task.
#[derive(Debug)]
pub struct Work<'work> {
    /// The run: layout, and what the trainer's counterpart wrote for it.
    pub description: &'work Description,
    /// The task's number.
    pub task: u64,
    /// The device's number in the fleet.
    pub client: u32,
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// How many tasks this device was given before.
    pub nth: u64,
    /// Clips of all those tasks together: where this one begins in the endless repetition of the device's clips.
    pub samples_before: u64,
    /// Share of the run's budget that had been spent when it was given out: what a learning-rate schedule depends on.
    pub progress: f64,
    /// The version to start from.
    pub base_version: u64,
    /// Its parameters, flat.
    pub base: &'work [f32],
    /// Becomes true when nobody needs the result any more.
    pub(super) over: &'work AtomicBool,
}

impl Work<'_> {
    /// Whether nobody needs the result any more: the task went to the lease, or the device is to stop. A trainer that
    /// looks now and then returns early, with whatever it has.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
