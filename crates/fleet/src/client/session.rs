//! One connection's worth of taking part: what the orders say is done, one thing after the other.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::keep::Keep;
use super::models::Models;
use super::part::Part;
use super::sign::{Clips, Signs};
use super::{Awaited, Background, Ended, PAUSE, Told, Trainer};
use crate::identity::Join;
use crate::link::{Line, PATIENCE_FOR_PIECE, Trouble};
use crate::wire::{Description, Down, Orders, Subjects, Turned, Verdict};
use crate::{FleetError, Stop};

/// What a device has in hand while it takes part.
pub(super) struct Session {
    pub line: Line,
    pub subjects: Subjects,
    pub join: Arc<Join>,
    pub keep: Keep,
    pub models: Models,
    pub part: Part,
    /// Whether it waits for the next run where one was over before it came.
    pub stays: bool,
    pub orders: watch::Receiver<Option<Orders>>,
    pub stop: Stop,
    /// The last task whose outcome was told.
    pub told: Option<(u64, u64)>,
    /// What it waits for, as was told last.
    pub waits: Option<Awaited>,
    /// How far it is with its clips.
    pub clips: watch::Sender<Clips>,
    /// Bytes of models that were fetched by this process.
    pub fetched: AtomicU64,
}

/// Why a device leaves a run.
pub(super) enum Left {
    Ended(Ended),
    /// There is another run.
    OtherRun,
}

impl Session {
    /// Takes part in the run that is described now.
    pub(super) async fn run<T: Trainer>(
        &mut self,
        trainer: &mut Option<T>,
        told: &mut (dyn FnMut(&Told) + Send),
    ) -> Result<Left, FleetError> {
        let description = loop {
            if let Some(left) = self.left()? {
                return Ok(left);
            }
            match self.described().await {
                Ok(description) => break Arc::new(description),
                Err(awaited) => {
                    self.tell_waits(awaited, told);
                    self.pause().await;
                }
            }
        };
        let over = self.is_over(&description).await;
        if self.stays && !self.part.is_in(description.run) && over {
            self.tell_waits(Awaited::NextRun, told);
            return self.next_run(description.run).await;
        }
        let _heartbeat = match over {
            true => None,
            false => Some(self.prepare(&description, trainer).await),
        };
        loop {
            if let Some(left) = self.left()? {
                return Ok(left);
            }
            let orders = self.orders.borrow_and_update().clone();
            match orders {
                Some(orders) if orders.run != description.run => {
                    // Orders of another run: one that is over, or one that has begun since.
                    let now = self.described().await;
                    if now.is_ok_and(|now| now.run != description.run) {
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
                    self.part.end()?;
                    return Ok(Left::Ended(Ended::Finished(reason)));
                }
                Some(Orders {
                    assignment: Some(assignment),
                    verdict,
                    ..
                }) => {
                    self.part.begin(description.run)?;
                    self.tell_last(description.run, verdict, told);
                    self.waits = None;
                    self.work(&description, assignment, trainer, told).await?;
                }
                Some(Orders { verdict, .. }) => {
                    self.part.begin(description.run)?;
                    self.tell_last(description.run, verdict, told);
                    self.tell_waits(Awaited::Task, told);
                    self.changed(PAUSE * 4).await;
                }
                None => {
                    self.tell_waits(Awaited::Task, told);
                    self.changed(PAUSE * 4).await;
                }
            }
        }
    }

    /// Has the trainer get ready, says meanwhile that the device is there and cannot work, and from then on that it can.
    async fn prepare<T: Trainer>(
        &self,
        description: &Arc<Description>,
        trainer: &mut Option<T>,
    ) -> Background {
        self.clips.send_replace(Clips::default());
        let mut heartbeat = None;
        let mut count = None;
        if let Some(mut lent) = trainer.take() {
            let run = Arc::clone(description);
            let mut preparing = tokio::task::spawn_blocking(move || {
                // What keeps it from being ready is said again by its first task.
                let _ = lent.prepare(&run);
                lent
            });
            loop {
                tokio::select! {
                    prepared = &mut preparing => {
                        *trainer = prepared.ok();
                        break;
                    }
                    () = tokio::time::sleep(PAUSE) => {
                        heartbeat.get_or_insert_with(|| self.heartbeat(description));
                    }
                }
            }
            count = trainer.as_ref().and_then(Trainer::clips);
        }
        self.clips.send_replace(Clips { ready: true, count });
        heartbeat.unwrap_or_else(|| self.heartbeat(description))
    }

    /// Whether the run that is described is over already, as far as the server can say.
    async fn is_over(&self, description: &Description) -> bool {
        let join = &self.join;
        let subject = self.subjects.down(&join.device);
        let last = self.line.last(&self.subjects.down_stream(), &subject).await;
        let Ok(Some(bytes)) = last else {
            return false;
        };
        match Down::open(&bytes, &join.fleet, &join.device, &join.coordinator) {
            Ok(Down::Orders(orders)) => orders.run == description.run && orders.finished.is_some(),
            _ => false,
        }
    }

    /// Waits until another run than this one is described.
    async fn next_run(&self, over: u64) -> Result<Left, FleetError> {
        loop {
            if let Some(left) = self.left()? {
                return Ok(left);
            }
            self.pause().await;
            let now = self.described().await;
            if now.is_ok_and(|now| now.run != over) {
                return Ok(Left::OtherRun);
            }
        }
    }

    /// Whether to leave, and how.
    pub(super) fn left(&self) -> Result<Option<Left>, FleetError> {
        if self.line.is_shut() {
            return Err(FleetError::NotLetIn {
                address: self.join.addresses().join(", "),
                reason: "the server no longer knows this device's key; it was revoked, or the \
                         fleet was set up anew"
                    .into(),
            });
        }
        let stopped = self.stop.is_set();
        Ok(stopped.then_some(Left::Ended(Ended::Stopped)))
    }

    /// Tells what became of the last update, once.
    pub(super) fn tell_last(
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

    /// Tells what there is to wait for, once.
    fn tell_waits(&mut self, awaited: Awaited, told: &mut (dyn FnMut(&Told) + Send)) {
        if self.waits != Some(awaited) {
            self.waits = Some(awaited);
            told(&Told::Waits(awaited));
        }
    }

    /// What every device must know, if it is there and the coordinator signed it; else what there is to wait for.
    async fn described(&self) -> Result<Description, Awaited> {
        let stream = self.subjects.down_stream();
        let last = self.line.last(&stream, &self.subjects.run()).await;
        let bytes = last.ok().flatten().ok_or(Awaited::Run)?;
        let join = &self.join;
        match Down::open(&bytes, &join.fleet, &join.device, &join.coordinator) {
            Ok(Down::Description(description)) => Ok(description),
            Err(Turned::OtherFormatVersion) => Err(Awaited::SameVersion),
            _ => Err(Awaited::Run),
        }
    }

    /// Publishes a message into the device's window.
    pub(super) async fn say(&self, message: Bytes) -> Result<(), Trouble> {
        let subject = self.subjects.up(&self.join.device);
        self.line
            .command_within(PATIENCE_FOR_PIECE, subject, message)
            .await?;
        Ok(())
    }

    /// What says that the device is there.
    pub(super) fn signs(&self, description: &Description) -> Signs {
        Signs {
            join: Arc::clone(&self.join),
            run: description.run,
            count: self.keep.counter(),
            held: self.models.watch(),
            orders: self.orders.clone(),
            clips: self.clips.subscribe(),
        }
    }

    /// Says that the device is there, again and again, for as long as the answer is kept.
    pub(super) fn heartbeat(&self, description: &Description) -> Background {
        let (line, mut signs) = (self.line.clone(), self.signs(description));
        let subject = self.subjects.up(&self.join.device);
        let mut clips = self.clips.subscribe();
        // Thrice within a lease; without a task, in the hope for one, more often.
        let seldom = Duration::from_secs_f64((description.lease_seconds / 3.0).clamp(0.1, 60.0));
        let often = seldom.min(Duration::from_secs(2));
        Background(tokio::spawn(async move {
            loop {
                let read = signs.read();
                let _ = line.command(subject.clone(), signs.next()).await;
                let pause = if signs.has_task() { seldom } else { often };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = clips.changed() => if changed.is_err() {
                        return;
                    },
                    // A coordinator that was started again counts on no sign of before.
                    () = signs.other_process(read) => {}
                }
            }
        }))
    }

    /// Waits for other orders, for at most so long.
    pub(super) async fn changed(&mut self, most: Duration) {
        let stop = self.stop.clone();
        tokio::select! {
            _ = tokio::time::timeout(most, self.orders.changed()) => {}
            () = stop.stopped() => {}
        }
    }

    pub(super) async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stop.stopped() => {}
        }
    }

    /// Whether the task is still this device's. Without orders it is: the coordinator may be away.
    pub(super) fn is_open(&self, run: u64, task: u64) -> bool {
        is_open(self.orders.borrow().as_ref(), run, task)
    }
}

pub(super) fn is_open(orders: Option<&Orders>, run: u64, task: u64) -> bool {
    orders.is_none_or(|orders| {
        orders.run == run && orders.assignment.is_some_and(|open| open.task == task)
    })
}
