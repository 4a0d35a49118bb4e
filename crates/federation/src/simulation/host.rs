//! What a run needs from outside.

use serde::{Deserialize, Serialize};

use crate::aggregator::ClientId;
use crate::history::Record;

/// One task as the trainer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who works; for fine-tuning at the centre, one more than the last client.
    pub client: ClientId,
    /// How many tasks this worker was given before.
    pub nth: u64,
    /// Clips of all those tasks together: where this one begins in the endless repetition of the
    /// worker's clips.
    pub samples_before: u64,
    /// The version it starts from.
    pub base_version: u64,
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// Share of the run's budget that had been spent when it was given out: what a learning-rate
    /// schedule depends on.
    pub progress: f64,
}

/// A task with what it starts from. Its result follows from the two, whenever and wherever it is computed.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// What is to be done.
    pub assignment: &'a Assignment,
    /// The parameters of the version that was sent, flat.
    pub base: &'a [f32],
}

/// How good a model is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of test clips whose most likely class is right.
    pub top1: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// What a run needs from outside: learning, testing, and somewhere to write.
pub trait Host {
    /// Why it may fail.
    type Error;

    /// Trains from `base` and gives the new parameters, flat.
    ///
    /// # Errors
    /// Ends the run.
    fn train(&mut self, assignment: &Assignment, base: &[f32]) -> Result<Vec<f32>, Self::Error>;

    /// How many tasks it can train side by side.
    fn workers(&self) -> usize {
        1
    }

    /// Trains as many tasks as there are [`workers`](Self::workers), or fewer, side by side; gives their new parameters in the order
    /// of the tasks, each as [`train`](Self::train) would.
    ///
    /// # Errors
    /// Ends the run.
    fn train_together(&mut self, tasks: &[Training<'_>]) -> Result<Vec<Vec<f32>>, Self::Error> {
        tasks
            .iter()
            .map(|task| self.train(task.assignment, task.base))
            .collect()
    }

    /// Tests on the test split.
    ///
    /// # Errors
    /// Ends the run.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Self::Error>;

    /// Writes a line of history.
    ///
    /// # Errors
    /// Ends the run.
    fn record(&mut self, record: Record) -> Result<(), Self::Error>;
}
