//! Testing the model at the coordinator.

use std::error::Error;
use std::sync::Arc;

use fedact_clips::ClipSet;
use fedact_federation::simulation::Score;
use fedact_fleet::coordinator::Judge;
use fedact_nets::quantize::QuantizedModel;
use fedact_stage::Task;

use crate::score::scores;

/// A network that tests what the aggregator has, on the test split.
#[derive(Debug)]
pub struct Examiner {
    model: QuantizedModel,
    clips: Arc<ClipSet>,
    progress: Arc<Task>,
}

impl Examiner {
    /// One with this network, whose parameters are replaced for each test.
    pub fn new(model: QuantizedModel, clips: Arc<ClipSet>, progress: Arc<Task>) -> Self {
        Self {
            model,
            clips,
            progress,
        }
    }
}

impl Judge for Examiner {
    fn test(&mut self, parameters: &[f32]) -> Result<Score, Box<dyn Error + Send + Sync>> {
        let progress = &self.progress;
        let scores = scores(&mut self.model, parameters, &self.clips, || {
            progress.advance(0);
        })?;
        Ok(Score {
            top1: scores.top1,
            loss: scores.loss,
        })
    }
}
