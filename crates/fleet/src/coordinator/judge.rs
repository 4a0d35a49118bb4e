//! Testing the model at the coordinator, and ending a run whose model is good enough.

use fedact_federation::aggregator::EndReason;
use fedact_federation::simulation::Score;

use super::Coordinator;
use crate::FleetError;
use crate::engine::Tested;
use crate::journal::Happened;

/// Whoever tests models, on clips that lie with the coordinator.
pub trait Judge: std::fmt::Debug + Send {
    /// How good a model is.
    ///
    /// # Errors
    /// Whatever keeps it from testing ends the coordinator's process; the run goes on when it is started again.
    fn test(
        &mut self,
        parameters: &[f32],
    ) -> Result<Score, Box<dyn std::error::Error + Send + Sync>>;
}

impl Coordinator {
    /// Has the model tested before the first task, then whenever so many more samples have reached the coordinator, or the same share of a
    /// budget that has changed since the run began, and when the run is over. What is found is in the journal. With a target, the run ends when the share of right answers
    /// reaches it.
    pub fn judged(
        mut self,
        judge: Box<dyn Judge>,
        every_samples: u64,
        target_top1: Option<f64>,
    ) -> Self {
        self.judge = Some(Bench {
            judge,
            every_samples: every_samples.max(1),
            target_top1,
        });
        self
    }

    /// Has the model tested if that is due.
    pub(super) fn judge(&mut self) -> Result<(), FleetError> {
        let Some(bench) = &mut self.judge else {
            return Ok(());
        };
        let (progress, aggregator) = (self.engine.progress(), self.engine.aggregator());
        let (version, samples) = (aggregator.version(), aggregator.samples());
        let over = progress.finished.is_some();
        let due = progress.tested.is_none_or(|last| {
            let budget = aggregator.config().budget_samples;
            let share = u128::from(bench.every_samples) * u128::from(budget)
                / u128::from(self.planned_budget.max(1));
            let every = u64::try_from(share).unwrap_or(u64::MAX).max(1);
            samples / every > last.samples / every || (over && version > last.version)
        });
        if !due {
            return Ok(());
        }
        let score = bench.judge.test(aggregator.model());
        let score = score.map_err(|error| FleetError::Judge {
            version,
            reason: error.to_string(),
        })?;
        let target = bench.target_top1;
        let tested = Tested {
            version,
            samples,
            top1: if score.top1.is_finite() {
                score.top1
            } else {
                0.0
            },
            loss: score.loss.is_finite().then_some(score.loss),
        };
        self.commit(Happened::Tested(tested), None)?;
        if !over && target.is_some_and(|target| tested.top1 >= target) {
            let reason = EndReason::TargetReached;
            self.commit(Happened::Stop { reason }, None)?;
        }
        Ok(())
    }
}

/// A judge, and when it is asked.
#[derive(Debug)]
pub(super) struct Bench {
    judge: Box<dyn Judge>,
    every_samples: u64,
    target_top1: Option<f64>,
}
