//! A task: its base is fetched, the trainer works, and the update goes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fedact_federation::message::{Decoder, Encoder, Feedback, Header, delta_in_place};

use super::keep::Computed;
use super::session::{Session, is_open};
use super::{PAUSE, Told, Trainer, Work};
use crate::FleetError;
use crate::wire::{Assignment, Description, Failed, Took};

impl Session {
    /// Does a task, from wherever an earlier process left it.
    pub(super) async fn work<T: Trainer>(
        &mut self,
        description: &Arc<Description>,
        assignment: Assignment,
        trainer: &mut Option<T>,
        told: &mut (dyn FnMut(&Told) + Send),
    ) -> Result<(), FleetError> {
        if trainer.is_none() {
            return Err(FleetError::TrainerBroke);
        }
        let computed = match self.keep.computed(description.run, assignment.task)? {
            Some(computed) => computed,
            None => {
                told(&Told::Task(assignment));
                let (began, before) = (Instant::now(), self.fetched.load(Ordering::Relaxed));
                let Some(base) = self.fetch(description, &assignment).await? else {
                    return Ok(());
                };
                let mut took = Took {
                    fetched_bytes: self.fetched.load(Ordering::Relaxed) - before,
                    fetching_ms: began.elapsed().as_millis() as u64,
                    training_ms: 0,
                };
                let began = Instant::now();
                let trained = self.train(description, assignment, base, trainer).await;
                took.training_ms = began.elapsed().as_millis() as u64;
                match trained {
                    Ok(Some((base, mut learned))) => {
                        delta_in_place(&base, &mut learned);
                        // The update is made beside neither of them: a device may have little memory.
                        drop(base);
                        self.compute(description, &assignment, learned, took)?
                    }
                    Ok(None) => return Ok(()),
                    Err(reason) => {
                        told(&Told::GivenBack {
                            task: assignment.task,
                            reason: reason.clone(),
                        });
                        return self.give_back(description, &assignment, reason).await;
                    }
                }
            }
        };
        told(&Told::Update {
            task: assignment.task,
            bytes: computed.update.len() as u64,
        });
        self.upload(description, &assignment, &computed).await
    }

    /// Lets the trainer work, aside from the connection. Nothing: the task is over, or the device was told to stop.
    async fn train<T: Trainer>(
        &mut self,
        description: &Arc<Description>,
        assignment: Assignment,
        base: Vec<f32>,
        trainer: &mut Option<T>,
    ) -> Result<Option<(Vec<f32>, Vec<f32>)>, String> {
        let Some(mut lent) = trainer.take() else {
            return Err("the trainer broke off in an earlier task".into());
        };
        let over = Arc::new(AtomicBool::new(false));
        let description = Arc::clone(description);
        let run = description.run;
        let flag = Arc::clone(&over);
        let mut training = tokio::task::spawn_blocking(move || {
            let work = Work {
                description: &description,
                task: assignment.task,
                client: assignment.client,
                samples: assignment.samples,
                nth: assignment.nth,
                samples_before: assignment.samples_before,
                progress: assignment.spent_samples as f64 / assignment.budget_samples.max(1) as f64,
                base_version: assignment.version,
                base: &base,
                over: &flag,
            };
            let trained = lent.train(&work);
            (lent, base, trained)
        });
        let (lent, base, trained) = loop {
            tokio::select! {
                // What it panicked with may name files of the device: it stays here.
                done = &mut training => break done.map_err(|_| "the trainer broke off".to_owned())?,
                () = tokio::time::sleep(PAUSE) => {
                    let orders = self.orders.borrow().clone();
                    if self.stop.is_set() || !is_open(orders.as_ref(), run, assignment.task) {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            }
        };
        // Its videos may have changed.
        let count = lent.clips();
        self.clips.send_if_modified(|clips| {
            let other = clips.count != count;
            clips.count = count;
            other
        });
        *trainer = Some(lent);
        if over.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match trained {
            Ok(trained) if trained.len() == base.len() => Ok(Some((base, trained))),
            Ok(trained) => Err(format!(
                "the trainer gave {} numbers for a model of {}",
                trained.len(),
                base.len()
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Makes the message of what was learned, the difference that training made, and keeps it.
    fn compute(
        &mut self,
        description: &Description,
        assignment: &Assignment,
        learned: Vec<f32>,
        took: Took,
    ) -> Result<Computed, FleetError> {
        let encoder = Encoder::new(&description.layout, description.codec.clone())?;
        let header = Header {
            run: description.run,
            task: assignment.task,
            client: assignment.client,
            base_version: assignment.version,
            samples: assignment.samples,
        };
        let mut feedback = Feedback::default();
        let update = if description.feedback {
            let decoder = Decoder::new(&description.layout);
            feedback = Feedback::resume(self.keep.residual(description.run)?);
            feedback.encode(&encoder, &decoder, &header, learned, description.seed)?
        } else {
            encoder.encode(&header, &learned, description.seed)?
        };
        self.keep.keep(
            description.run,
            assignment.task,
            update,
            feedback.residual(),
            took,
        )
    }

    async fn give_back(
        &mut self,
        description: &Description,
        assignment: &Assignment,
        reason: String,
    ) -> Result<(), FleetError> {
        let failed = Failed {
            fleet: self.join.fleet.clone(),
            run: description.run,
            device: self.join.device.clone(),
            task: assignment.task,
            reason: reason.chars().take(200).collect(),
        };
        let message = failed.seal(&self.join.key);
        // The lease says the same later, if this is lost.
        let _ = self.say(message.into()).await;
        self.changed(PAUSE * 4).await;
        Ok(())
    }
}
