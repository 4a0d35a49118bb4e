//! What the threads of steps tell the scheduler, above all how a step ended.

use std::rc::Rc;

use fedact_artifact::Action;

use super::{GRACE_AFTER_FAILURE, Progress, Scheduler};
use crate::PipelineError;
use crate::event::{NotRun, RunEvent};
use crate::plan::Records;
use crate::work::{Ending, Message};

impl Scheduler<'_> {
    pub(super) fn hear(&mut self, message: Message) -> Result<(), PipelineError> {
        match message {
            Message::Waiting { step, reason } => (self.observe)(RunEvent::Waiting { step, reason }),
            Message::Reported { step, report } => {
                (self.observe)(RunEvent::Reported { step, report });
            }
            Message::Started { step, resumed } => self.tell_started(step, resumed),
            Message::Over { step, ending } => self.end(step, ending)?,
        }
        Ok(())
    }

    fn tell_started(&mut self, step: String, resumed: bool) {
        let Some(index) = self.graph.index(&step) else {
            return;
        };
        let Progress::Running { key, share } = self.states[index] else {
            return;
        };
        let shard = self.shard(index);
        (self.observe)(RunEvent::Started {
            stage: self.graph.nodes()[index].definition().name.to_owned(),
            key,
            cores: share.cores,
            shard,
            resumed,
            last_seconds: self.last_seconds.get(&step).copied(),
            step,
        });
    }

    fn end(&mut self, step: String, ending: Ending) -> Result<(), PipelineError> {
        let Some(index) = self.graph.index(&step) else {
            return Ok(());
        };
        if self.outdated.remove(&index) && !matches!(ending, Ending::Broken(_)) {
            self.set(index, Progress::Waiting);
            return Ok(());
        }
        match ending {
            Ending::FromStore { action } => {
                (self.observe)(RunEvent::FromStore {
                    step: step.clone(),
                    key: action.key,
                    output: action.output,
                });
                self.outcome.from_store.push(step.clone());
                if self.settings.share_all {
                    self.share(&action);
                }
                self.records.note(&step, &action.key);
                self.done(index, *action);
            }
            Ending::Answered { key, claim } => {
                self.answered(index, key, claim.map(|claim| *claim));
            }
            Ending::Fetched { action } => {
                (self.observe)(RunEvent::Fetched {
                    step: step.clone(),
                    key: action.key,
                    output: action.output,
                    bytes: action.bytes,
                });
                self.outcome.fetched.push(step.clone());
                self.records.note(&step, &action.key);
                self.done(index, *action);
            }
            Ending::NotToBeHad { key } => self.not_to_be_had(index, key),
            Ending::Ran { action } => {
                let before = self.records.latest(&step)?;
                (self.observe)(RunEvent::Finished {
                    step: step.clone(),
                    key: action.key,
                    output: action.output,
                    seconds: action.provenance.seconds,
                    unchanged: before.is_some_and(|before| before.output == action.output),
                    metrics: action.provenance.metrics.clone(),
                    warnings: action.provenance.warnings.clone(),
                });
                self.outcome.ran.push(step.clone());
                self.share(&action);
                self.done(index, *action);
            }
            Ending::RanShard(run) => {
                (self.observe)(RunEvent::ShardDone {
                    step: step.clone(),
                    key: run.key,
                    shard: run.shard,
                    seconds: run.seconds,
                    metrics: run.metrics,
                    warnings: run.warnings,
                });
                self.outcome.shards.push(step);
                self.set(index, Progress::Dropped);
            }
            Ending::Gone => self.gone(index),
            Ending::Stopped => {
                let reason = if self.outcome.interrupted {
                    NotRun::Interrupted
                } else {
                    NotRun::OtherFailure
                };
                self.drop_step(index, reason);
            }
            Ending::Failed(failure) => {
                self.outcome.invalid_input = failure.invalid_input
                    && (self.outcome.failed.is_empty() || self.outcome.invalid_input);
                self.outcome.failed.push(step.clone());
                self.set(index, Progress::Failed);
                (self.observe)(RunEvent::Failed { step, failure });
                if !self.settings.keep_going {
                    self.workshop.stop.ask(GRACE_AFTER_FAILURE);
                }
            }
            Ending::Broken(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn done(&mut self, index: usize, action: Action) {
        let step = self.graph.nodes()[index].name.clone();
        let output = action.output;
        self.contents.steps.insert(step.clone(), output);
        self.rerun.remove(&step);
        self.actions.insert(step, Rc::new(action));
        self.set(index, Progress::Done);
        self.check_assumption(index, output);
    }

    /// Objects were lost between the plan and now. A result on its way out of the store is made again;
    /// a step that could not have its inputs waits until the steps before it have been looked at anew.
    fn gone(&mut self, index: usize) {
        let node = &self.graph.nodes()[index];
        match self.states[index] {
            Progress::Restoring { key } | Progress::Fetching { key } => {
                self.records.forget(&key);
                self.rerun.insert(node.name.clone());
                self.set(index, Progress::Waiting);
            }
            Progress::Running { key, .. } => {
                self.records.forget(&key);
                self.set(index, Progress::Waiting);
                for upstream in node.upstream() {
                    let Some(action) = self.actions.remove(upstream) else {
                        continue;
                    };
                    self.records.forget(&action.key);
                    self.contents.steps.remove(upstream);
                    self.outcome.forget(upstream);
                    if let Some(index) = self.graph.index(upstream) {
                        self.set(index, Progress::Waiting);
                    }
                }
            }
            _ => {}
        }
    }
}
