//! A device by hand: it says whatever a test wants it to.
#![allow(dead_code, clippy::unwrap_used)] // helpers are outside of test functions

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use fedact_federation::layout::Layout;
use fedact_federation::message::{Codec, Encoder, Header, delta};
use fedact_fleet::Digest;
use fedact_fleet::identity::Join;
use fedact_fleet::wire::{
    Alive, Assignment, CHUNK_BYTES, Chunk, Down, Failed, Offer, Orders, Subjects, Took,
};

pub struct Hand {
    pub client: Client,
    pub join: Join,
    pub subjects: Subjects,
    /// What the server complained of.
    pub complaints: Arc<Mutex<Vec<String>>>,
    pub run: u64,
    /// The model that it says it has.
    pub holds: Option<Digest>,
    /// The clips that it says it has.
    pub clips: Option<NonZeroU64>,
    count: u64,
    /// The number of the last orders that it has read.
    read: AtomicU64,
}

impl Hand {
    pub async fn of(join: Join, run: u64) -> Self {
        let subjects = Subjects::new(&join.fleet);
        let complaints = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&complaints);
        let client = ConnectOptions::new()
            .nkey(join.key.seed().unwrap())
            .custom_inbox_prefix(subjects.inbox(&join.device))
            .request_timeout(Some(Duration::from_secs(2)))
            .event_callback(move |event| {
                if let async_nats::Event::ServerError(error) = event {
                    kept.lock().unwrap().push(error.to_string());
                }
                std::future::ready(())
            })
            .connect(&join.address)
            .await
            .unwrap();
        Self {
            client,
            join,
            subjects,
            complaints,
            run,
            holds: None,
            clips: None,
            count: 0,
            read: AtomicU64::new(0),
        }
    }

    /// Publishes on the device's own subject and waits until the stream has it.
    pub async fn say(&self, message: Vec<u8>) {
        let subject = self.subjects.up(&self.join.device);
        for _ in 0..100 {
            let answer = self.client.request(subject.clone(), message.clone().into());
            if let Ok(answer) = answer.await
                && !String::from_utf8_lossy(&answer.payload).contains("error")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the stream does not take it");
    }

    pub fn alive(&mut self) -> Alive {
        self.count += 1;
        Alive {
            fleet: self.join.fleet.clone(),
            run: self.run,
            device: self.join.device.clone(),
            count: self.count,
            orders: self.read.load(Ordering::Relaxed),
            ready: true,
            clips: self.clips,
            holds: self.holds,
        }
    }

    /// The last orders, if there are any for this run.
    pub async fn orders(&self) -> Option<Orders> {
        let subject = self.subjects.down(&self.join.device);
        let last = Subjects::last(&self.subjects.down_stream(), &subject);
        let answer = self.client.request(last, "".into()).await.ok()?;
        let Join {
            fleet,
            device,
            coordinator,
            ..
        } = &self.join;
        match Down::open(&answer.payload, fleet, device, coordinator) {
            Ok(Down::Orders(orders)) if orders.run == self.run => {
                self.read.store(orders.sequence, Ordering::Relaxed);
                Some(orders)
            }
            _ => None,
        }
    }

    /// Orders that are as wanted, once they are.
    pub async fn orders_when(&self, what: &str, wanted: impl Fn(&Orders) -> bool) -> Orders {
        match self.orders_within(400, wanted).await {
            Some(orders) => orders,
            None => panic!("no orders in which {what}: {:?}", self.orders().await),
        }
    }

    /// The same, if they are so after so many looks at the latest.
    async fn orders_within(
        &self,
        looks: usize,
        wanted: impl Fn(&Orders) -> bool,
    ) -> Option<Orders> {
        for _ in 0..looks {
            if let Some(orders) = self.orders().await
                && wanted(&orders)
            {
                return Some(orders);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        None
    }

    /// A task. Says that the device is there until there is one, as devices do: at first nobody may listen.
    pub async fn assignment(&mut self) -> Assignment {
        for _ in 0..40 {
            let alive = self.alive().seal(&self.join.key);
            self.say(alive).await;
            let orders = self
                .orders_within(10, |orders| orders.assignment.is_some())
                .await;
            if let Some(assignment) = orders.and_then(|orders| orders.assignment) {
                return assignment;
            }
        }
        panic!("no task: {:?}", self.orders().await);
    }

    /// Gives a task back.
    pub async fn fail(&self, assignment: &Assignment) {
        let failed = Failed {
            fleet: self.join.fleet.clone(),
            run: self.run,
            device: self.join.device.clone(),
            task: assignment.task,
            reason: "it was told to".into(),
        };
        self.say(failed.seal(&self.join.key)).await;
    }

    /// An update for a task that moves every number by a half.
    pub fn update(&self, assignment: &Assignment, numbers: usize) -> Vec<u8> {
        let layout = Layout::vector(numbers);
        let encoder = Encoder::new(&layout, Codec::default()).unwrap();
        let header = Header {
            run: self.run,
            task: assignment.task,
            client: assignment.client,
            base_version: assignment.version,
            samples: assignment.samples,
        };
        let learned = delta(&vec![0.0; numbers], &vec![0.5; numbers]);
        encoder.encode(&header, &learned, 0).unwrap()
    }

    /// Sends such an update, as a device would.
    pub async fn answer(&self, assignment: &Assignment, numbers: usize) {
        let update = self.update(assignment, numbers);
        let offer = self.offer(assignment, &update);
        self.say(offer.seal(&self.join.key)).await;
        for chunk in Self::chunks(assignment, &update) {
            self.say(chunk).await;
        }
    }

    pub fn offer(&self, assignment: &Assignment, update: &[u8]) -> Offer {
        Offer {
            fleet: self.join.fleet.clone(),
            run: self.run,
            device: self.join.device.clone(),
            task: assignment.task,
            base_version: assignment.version,
            samples: assignment.samples,
            bytes: update.len() as u64,
            digest: Digest::of(update),
            took: Took::default(),
            clips: self.clips,
            holds: self.holds,
            from: 0,
        }
    }

    pub fn chunks(assignment: &Assignment, update: &[u8]) -> Vec<Vec<u8>> {
        let digest = Digest::of(update);
        let pieces = update.chunks(CHUNK_BYTES).enumerate();
        pieces
            .map(|(nth, bytes)| {
                let chunk = Chunk {
                    task: assignment.task,
                    offset: (nth * CHUNK_BYTES) as u64,
                    digest,
                    bytes,
                };
                chunk.seal()
            })
            .collect()
    }
}
