//! A device's side: it reads its orders, fetches the model, lets a [`Trainer`] work, and sends the update until it is
//! told what became of it.
//!
//! Everything that a restart needs lies in its folder (`keep.rs`), so that it may be killed at any moment: half a model is
//! fetched to its end, an update that was computed is sent and not computed again. Memory: the trainer's, the model, and the
//! update.

mod fetch;
mod keep;
mod listen;
mod trainer;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client as Connection;
use fedact_federation::message::{Decoder, Encoder, Feedback, Header, delta};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::files::Locked;
use crate::identity::Join;
use crate::link::{self, Door};
use crate::wire::{Alive, Assignment, Description, Down, Failed, Orders, Subjects, Verdict};
use crate::{FleetError, Stop, files};

pub use trainer::{Trainer, TrainerError, Work};

use keep::{Computed, Keep};

/// How long to wait before asking again for something that is not there yet.
const PAUSE: Duration = Duration::from_millis(500);

/// How a device's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The run is over: the reason code.
    Finished(String),
    /// It was told to stop.
    Stopped,
}

/// What a device tells whoever watches it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// It has a task.
    Task(Assignment),
    /// It knows what became of an update: that is in the coordinator's journal.
    Decided(Verdict),
    /// The trainer failed at a task, which was given back.
    GivenBack {
        /// Which.
        task: u64,
        /// Why.
        reason: String,
    },
}

/// A device.
pub struct Client<T> {
    join: Join,
    folder: PathBuf,
    trainer: Option<T>,
    told: Box<dyn FnMut(&Told) + Send>,
}

/// What a device has in hand while it takes part.
struct Session {
    connection: Connection,
    subjects: Subjects,
    join: Arc<Join>,
    keep: Keep,
    orders: watch::Receiver<Option<Orders>>,
    shut: watch::Receiver<bool>,
    stop: Stop,
    /// The last task whose outcome was told.
    told: Option<(u64, u64)>,
}

/// Why a device leaves a run.
enum Left {
    Ended(Ended),
    /// There is another run.
    OtherRun,
}

/// A task of this runtime that ends with what needs it.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Trainer> Client<T> {
    /// A device that keeps what it must in `folder`.
    pub fn new(join: Join, folder: PathBuf, trainer: T) -> Self {
        Self {
            join,
            folder,
            trainer: Some(trainer),
            told: Box::new(|_| {}),
        }
    }

    /// Has somebody told what happens.
    pub fn telling(mut self, told: impl FnMut(&Told) + Send + 'static) -> Self {
        self.told = Box::new(told);
        self
    }

    /// Takes part until the run ends or `stop` says so. A server or a coordinator that is away is waited for.
    ///
    /// # Errors
    /// The server does not let the device in (any more), or its folder cannot be used.
    pub async fn take_part(self, stop: &Stop) -> Result<Ended, FleetError> {
        let Self {
            join,
            folder,
            mut trainer,
            mut told,
        } = self;
        files::folder(&folder)?;
        let _lock = Locked::take(&folder)?;
        let keep = Keep::open(&folder)?;
        let subjects = Subjects::new(&join.fleet);
        let join = Arc::new(join);
        let door = Door {
            address: &join.address,
            authority: join.authority.as_deref(),
            key: &join.key,
            inbox: subjects.inbox(&join.device),
            name: join.device.to_string(),
        };
        let connecting = tokio::select! {
            connected = link::connect(&door) => Some(connected?),
            () = stop.stopped() => None,
        };
        let Some((connection, shut)) = connecting else {
            return Ok(Ended::Stopped);
        };
        let (_listening, orders) = listen::listen(&connection, &subjects, &join);
        let mut session = Session {
            connection,
            subjects,
            join,
            keep,
            orders,
            shut,
            stop: stop.clone(),
            told: None,
        };
        loop {
            match session.run(&mut trainer, &mut told).await? {
                Left::Ended(ended) => return Ok(ended),
                Left::OtherRun => {}
            }
        }
    }
}

impl Session {
    /// Takes part in the run that is described now.
    async fn run<T: Trainer>(
        &mut self,
        trainer: &mut Option<T>,
        told: &mut (dyn FnMut(&Told) + Send),
    ) -> Result<Left, FleetError> {
        let description = loop {
            if let Some(left) = self.left()? {
                return Ok(left);
            }
            match self.description().await {
                Some(description) => break Arc::new(description),
                None => self.pause().await,
            }
        };
        let _heartbeat = self.heartbeat(&description);
        loop {
            if let Some(left) = self.left()? {
                return Ok(left);
            }
            let orders = self.orders.borrow_and_update().clone();
            match orders {
                Some(orders) if orders.run != description.run => {
                    // Orders of another run: one that is over, or one that has begun since.
                    let now = self.description().await;
                    if now.is_some_and(|now| now.run != description.run) {
                        return Ok(Left::OtherRun);
                    }
                    self.changed(PAUSE).await;
                }
                Some(Orders {
                    finished: Some(reason),
                    verdict,
                    ..
                }) => {
                    self.tell_last(description.run, verdict, told);
                    return Ok(Left::Ended(Ended::Finished(reason)));
                }
                Some(Orders {
                    assignment: Some(assignment),
                    verdict,
                    ..
                }) => {
                    self.tell_last(description.run, verdict, told);
                    self.work(&description, assignment, trainer, told).await?;
                }
                Some(Orders { verdict, .. }) => {
                    self.tell_last(description.run, verdict, told);
                    self.changed(PAUSE * 4).await;
                }
                None => self.changed(PAUSE * 4).await,
            }
        }
    }

    /// Whether to leave, and how.
    fn left(&self) -> Result<Option<Left>, FleetError> {
        if *self.shut.borrow() {
            return Err(FleetError::NotLetIn {
                address: self.join.address.clone(),
                reason: "the server no longer knows this device's key; it was revoked, or the \
                         fleet was set up anew"
                    .into(),
            });
        }
        let stopped = self.stop.is_set();
        Ok(stopped.then_some(Left::Ended(Ended::Stopped)))
    }

    /// Does a task, from wherever an earlier process left it.
    async fn work<T: Trainer>(
        &mut self,
        description: &Arc<Description>,
        assignment: Assignment,
        trainer: &mut Option<T>,
        told: &mut (dyn FnMut(&Told) + Send),
    ) -> Result<(), FleetError> {
        let computed = match self.keep.computed(description.run, assignment.task)? {
            Some(computed) => computed,
            None => {
                told(&Told::Task(assignment));
                let Some(base) = self.fetch(description, &assignment).await? else {
                    return Ok(());
                };
                let trained = self.train(description, assignment, base, trainer).await;
                match trained {
                    Ok(Some((base, trained))) => {
                        self.compute(description, &assignment, &base, &trained)?
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
                samples: assignment.samples,
                base_version: assignment.version,
                base: &base,
                over: &flag,
            };
            let trained = lent.train(&work);
            (lent, base, trained)
        });
        let (lent, base, trained) = loop {
            tokio::select! {
                done = &mut training => break done.map_err(|error| error.to_string())?,
                () = tokio::time::sleep(PAUSE) => {
                    let orders = self.orders.borrow().clone();
                    if self.stop.is_set() || !is_open(orders.as_ref(), run, assignment.task) {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            }
        };
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

    /// Makes the message of what was learned, and keeps it.
    fn compute(
        &mut self,
        description: &Description,
        assignment: &Assignment,
        base: &[f32],
        trained: &[f32],
    ) -> Result<Computed, FleetError> {
        let encoder = Encoder::new(&description.layout, description.codec.clone())?;
        let learned = delta(base, trained);
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
        let _ = self.say(message).await;
        self.changed(PAUSE * 4).await;
        Ok(())
    }

    /// Tells what became of the last update, once.
    fn tell_last(
        &mut self,
        run: u64,
        verdict: Option<Verdict>,
        told: &mut (dyn FnMut(&Told) + Send),
    ) {
        if let Some(verdict) = verdict
            && self.told != Some((run, verdict.task))
        {
            self.told = Some((run, verdict.task));
            told(&Told::Decided(verdict));
        }
    }

    /// What every device must know, if it is there and the coordinator signed it.
    async fn description(&self) -> Option<Description> {
        let stream = self.subjects.down_stream();
        let last = link::last(&self.connection, &stream, &self.subjects.run()).await;
        let bytes = last.ok().flatten()?;
        let join = &self.join;
        match Down::open(&bytes, &join.fleet, &join.device, &join.coordinator) {
            Ok(Down::Description(description)) => Some(*description),
            _ => None,
        }
    }

    /// Publishes a message into the device's window.
    async fn say(&self, message: Vec<u8>) -> Result<(), link::Trouble> {
        let subject = self.subjects.up(&self.join.device);
        link::command(&self.connection, subject, message.into()).await?;
        Ok(())
    }

    /// Says that the device is there, again and again, for as long as the answer is kept.
    fn heartbeat(&self, description: &Description) -> Background {
        let (connection, join) = (self.connection.clone(), Arc::clone(&self.join));
        let subject = self.subjects.up(&join.device);
        let (run, count) = (description.run, self.keep.counter());
        let orders = self.orders.clone();
        // Thrice within a lease; without a task, in the hope for one, more often.
        let seldom = Duration::from_secs_f64((description.lease_seconds / 3.0).clamp(0.1, 60.0));
        let often = seldom.min(Duration::from_secs(2));
        Background(tokio::spawn(async move {
            loop {
                let alive = Alive {
                    fleet: join.fleet.clone(),
                    run,
                    device: join.device.clone(),
                    count: count.next(),
                };
                let message = alive.seal(&join.key);
                let _ = link::command(&connection, subject.clone(), message.into()).await;
                let orders = orders.borrow().clone();
                let busy = orders.is_some_and(|orders| orders.assignment.is_some());
                tokio::time::sleep(if busy { seldom } else { often }).await;
            }
        }))
    }

    /// Waits for other orders, for at most so long.
    async fn changed(&mut self, most: Duration) {
        let stop = self.stop.clone();
        tokio::select! {
            _ = tokio::time::timeout(most, self.orders.changed()) => {}
            () = stop.stopped() => {}
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stop.stopped() => {}
        }
    }

    /// Whether the task is still this device's. Without orders it is: the coordinator may be away.
    fn is_open(&self, run: u64, task: u64) -> bool {
        is_open(self.orders.borrow().as_ref(), run, task)
    }
}

fn is_open(orders: Option<&Orders>, run: u64, task: u64) -> bool {
    orders.is_none_or(|orders| {
        orders.run == run && orders.assignment.is_some_and(|open| open.task == task)
    })
}
