//! The baseline without clients: every client uploads its clips once, then the centre trains alone.

use serde::{Deserialize, Serialize};

use crate::aggregator::EndReason;
use crate::clock::{DeviceClock, Load, TaskTimes};
use crate::energy::Energy;
use crate::history::{ClientSummary, Record};
use crate::simulation::{Assignment, Host, Participant, Score};

/// Everything about a central run that its checkpoints need not hold.
#[derive(Debug, Clone)]
pub struct CentralSetting {
    /// Those whose clips are collected.
    pub participants: Vec<Participant>,
    /// Bytes of each participant's clips, in the same order.
    pub clip_bytes: Vec<u64>,
    /// The centre's name and device.
    pub centre: ClientSummary,
    /// How long the centre's training takes.
    pub clock: DeviceClock,
    /// Samples of the whole run: the same as under the other strategies.
    pub budget_samples: u64,
    /// Samples between two evaluations.
    pub evaluate_every_samples: u64,
    /// Samples that make one client-epoch, as under the other strategies.
    pub samples_per_client_epoch: f64,
    /// Clips in a step of SGD.
    pub batch_size: u64,
    /// The run ends when an evaluation finds so large a share of right answers.
    pub target_top1: Option<f64>,
}

/// Where a central run stands, but for its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CentralState {
    now: f64,
    samples: u64,
    version: u64,
    bytes_up: u64,
    energy: Energy,
    score: Score,
}

/// A run at the centre. Its versions are the stretches of training between two evaluations.
#[derive(Debug)]
pub struct CentralRun {
    setting: CentralSetting,
    state: CentralState,
    parameters: Vec<f32>,
}

impl CentralRun {
    /// A run at time 0: writes `start`, tests the model, collects the clips. Training starts when
    /// the slowest upload is done.
    ///
    /// # Errors
    /// The host's.
    pub fn begin<H: Host>(
        setting: CentralSetting,
        parameters: Vec<f32>,
        start: Record,
        host: &mut H,
    ) -> Result<Self, H::Error> {
        host.record(start)?;
        let score = host.evaluate(&parameters)?;
        let mut run = Self {
            setting,
            state: CentralState {
                now: 0.0,
                samples: 0,
                version: 0,
                bytes_up: 0,
                energy: Energy::default(),
                score,
            },
            parameters,
        };
        run.record_evaluation(host)?;
        run.collect(host)?;
        Ok(run)
    }

    /// Carries on from a state and its parameters under the same setting.
    pub fn resume(setting: CentralSetting, state: CentralState, parameters: Vec<f32>) -> Self {
        Self {
            setting,
            state,
            parameters,
        }
    }

    /// Trains up to the next evaluation and tests. Gives the reason once the run is over.
    ///
    /// # Errors
    /// The host's.
    pub fn step<H: Host>(&mut self, host: &mut H) -> Result<Option<EndReason>, H::Error> {
        if let Some(reason) = self.end() {
            // Good enough before anything was learned.
            if self.state.version == 0 {
                self.record_end(reason, host)?;
            }
            return Ok(Some(reason));
        }
        let left = self.setting.budget_samples - self.state.samples;
        let samples = left.min(self.setting.evaluate_every_samples.max(1));
        let assignment = Assignment {
            client: self.setting.participants.len(),
            nth: self.state.version,
            samples_before: self.state.samples,
            base_version: self.state.version,
            samples,
            progress: self.state.samples as f64 / self.setting.budget_samples as f64,
        };
        self.parameters = host.train(&assignment, &self.parameters)?;
        let load = Load {
            samples,
            bytes_down: 0,
            bytes_up: 0,
        };
        let start = self.state.now;
        let times = self.setting.clock.schedule(assignment.nth, start, load);
        // The data and the model are where they are used: only the training takes time.
        let end = start + (times.training_end - times.download_end);
        let times = TaskTimes {
            start,
            download_end: start,
            training_end: end,
            upload_end: end,
            lost_at: None,
        };
        let energy = Energy::of_task(self.setting.clock.profile(), &times);
        self.state.energy += energy;
        host.record(Record::Task {
            client: self.setting.centre.id.clone(),
            base_version: self.state.version,
            start,
            download_end: start,
            training_end: end,
            upload_end: end,
            samples,
            steps: samples.div_ceil(self.setting.batch_size.max(1)),
            bytes_down: 0,
            bytes_up: 0,
            joules: energy.joules(),
        })?;
        self.state.now = end;
        self.state.samples += samples;
        self.state.version += 1;
        self.state.score = host.evaluate(&self.parameters)?;
        self.record_evaluation(host)?;
        let reason = self.end();
        if let Some(reason) = reason {
            self.record_end(reason, host)?;
        }
        Ok(reason)
    }

    /// Why the run is over, if it is.
    pub fn end(&self) -> Option<EndReason> {
        let target = self.setting.target_top1;
        if target.is_some_and(|target| self.state.score.top1 >= target) {
            return Some(EndReason::TargetReached);
        }
        (self.state.samples >= self.setting.budget_samples).then_some(EndReason::BudgetSpent)
    }

    /// Where it stands.
    pub fn state(&self) -> CentralState {
        self.state
    }

    /// The parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The virtual time.
    pub fn now(&self) -> f64 {
        self.state.now
    }

    /// Samples processed.
    pub fn samples(&self) -> u64 {
        self.state.samples
    }

    /// Stretches of training done.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// Bytes of the clips that were collected.
    pub fn bytes_up(&self) -> u64 {
        self.state.bytes_up
    }

    /// The last evaluation.
    pub fn score(&self) -> Score {
        self.state.score
    }

    /// Samples processed, in passes of a mean client over its clips.
    pub fn client_epochs(&self) -> f64 {
        self.state.samples as f64 / self.setting.samples_per_client_epoch
    }

    fn collect<H: Host>(&mut self, host: &mut H) -> Result<(), H::Error> {
        let mut slowest = 0.0_f64;
        for (participant, bytes) in self
            .setting
            .participants
            .iter()
            .zip(&self.setting.clip_bytes)
        {
            let load = Load {
                samples: 0,
                bytes_down: 0,
                bytes_up: *bytes,
            };
            let times = participant.clock.schedule(0, 0.0, load);
            let seconds = times.upload_end - times.training_end;
            slowest = slowest.max(seconds);
            let times = TaskTimes {
                start: 0.0,
                download_end: 0.0,
                training_end: 0.0,
                upload_end: seconds,
                lost_at: None,
            };
            let energy = Energy::of_task(participant.clock.profile(), &times);
            self.state.energy += energy;
            self.state.bytes_up += bytes;
            host.record(Record::Task {
                client: participant.summary.id.clone(),
                base_version: 0,
                start: 0.0,
                download_end: 0.0,
                training_end: 0.0,
                upload_end: seconds,
                samples: 0,
                steps: 0,
                bytes_down: 0,
                bytes_up: *bytes,
                joules: energy.joules(),
            })?;
        }
        self.state.now = slowest;
        Ok(())
    }

    /// What the clients have spent on sending their clips and the centre on training, modelled.
    pub fn energy(&self) -> Energy {
        self.state.energy
    }

    fn record_end<H: Host>(&self, reason: EndReason, host: &mut H) -> Result<(), H::Error> {
        host.record(Record::End {
            reason: reason.code().to_owned(),
            time: self.state.now,
            version: self.state.version,
            samples: self.state.samples,
            client_epochs: self.client_epochs(),
            bytes_up: self.state.bytes_up,
            bytes_down: 0,
            top1: self.state.score.top1,
        })
    }

    fn record_evaluation<H: Host>(&self, host: &mut H) -> Result<(), H::Error> {
        host.record(Record::Evaluation {
            time: self.state.now,
            version: self.state.version,
            samples: self.state.samples,
            client_epochs: self.client_epochs(),
            bytes_up: self.state.bytes_up,
            bytes_down: 0,
            top1: self.state.score.top1,
            loss: self.state.score.loss,
        })
    }
}
