//! The update of a task, until the coordinator has said what became of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::keep::Computed;
use super::pace::Pace;
use super::session::Session;
use crate::FleetError;
use crate::wire::{Assignment, CHUNK_BYTES, Chunk, Description, Offer, Orders, Wanted};

/// How long to wait after a refused message: the window is full, or the server away.
const AGAIN: Duration = Duration::from_millis(50);

/// How long to wait for word about an update, at first and at most, before offering it again.
const FIRST_WAIT: Duration = Duration::from_millis(1500);
const LAST_WAIT: Duration = Duration::from_secs(15);

impl Session {
    /// Offers and sends an update until the orders no longer name its task, and leaves what they say to the caller.
    pub(super) async fn upload(
        &mut self,
        description: &Description,
        assignment: &Assignment,
        computed: &Computed,
    ) -> Result<(), FleetError> {
        let total = computed.update.len() as u64;
        let mut from = 0;
        let mut wait = FIRST_WAIT;
        while self.left()?.is_none() && self.is_open(description.run, assignment.task) {
            let offer = Offer {
                fleet: self.join.fleet.clone(),
                run: description.run,
                device: self.join.device.clone(),
                task: assignment.task,
                base_version: assignment.version,
                samples: assignment.samples,
                bytes: total,
                digest: computed.digest,
                took: computed.took,
                clips: self.clips.borrow().count,
                holds: self.models.held(),
                from,
            };
            self.insist(description, assignment, offer.seal(&self.join.key).into())
                .await?;
            self.send_from(description, assignment, computed, from)
                .await?;
            let wanted = self.wanted(assignment, wait).await;
            wait = (wait * 2).min(LAST_WAIT);
            from = match wanted {
                Some(wanted) if wanted.from < total => {
                    wait = FIRST_WAIT;
                    wanted.from
                }
                _ => total,
            };
        }
        Ok(())
    }

    /// What the coordinator misses, if it says so in time; returns early when it says anything else. Only what is said from
    /// here on is about what has been sent by now.
    async fn wanted(&mut self, assignment: &Assignment, most: Duration) -> Option<Wanted> {
        let sequence = |orders: &Option<Orders>| orders.as_ref().map(|orders| orders.sequence);
        let before = sequence(&self.orders.borrow_and_update());
        self.changed(most).await;
        let orders = self.orders.borrow_and_update();
        if sequence(&orders) == before {
            return None;
        }
        let wanted = orders.as_ref().and_then(|orders| orders.wanted);
        wanted.filter(|wanted| wanted.task == assignment.task)
    }

    async fn send_from(
        &self,
        description: &Description,
        assignment: &Assignment,
        computed: &Computed,
        from: u64,
    ) -> Result<(), FleetError> {
        let begin = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = computed.update.get(begin..).unwrap_or_default();
        let mut sending = FuturesOrdered::new();
        let mut pace = Pace::new();
        for (nth, bytes) in rest.chunks(CHUNK_BYTES).enumerate() {
            while sending.len() >= pace.at_a_time()
                && let Some(sent) = sending.next().await
            {
                let took: Duration = sent?;
                pace.took(took);
            }
            let chunk = Chunk {
                task: assignment.task,
                offset: from + (nth * CHUNK_BYTES) as u64,
                digest: computed.digest,
                bytes,
            };
            sending.push_back(self.insist(description, assignment, chunk.seal().into()));
        }
        while let Some(sent) = sending.next().await {
            sent?;
        }
        Ok(())
    }

    /// Publishes a message as often as it takes, unless the task is over meanwhile. Gives the time that it took.
    async fn insist(
        &self,
        description: &Description,
        assignment: &Assignment,
        message: Bytes,
    ) -> Result<Duration, FleetError> {
        let began = Instant::now();
        while self.left()?.is_none() && self.is_open(description.run, assignment.task) {
            if self.say(message.clone()).await.is_ok() {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(began.elapsed())
    }
}
