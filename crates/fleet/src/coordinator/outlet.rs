//! What goes to devices, and the pulls of what comes from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, Message};
use bytes::Bytes;
use fedact_federation::aggregator::ClientId;
use futures_util::StreamExt;
use serde::Deserialize;

use super::Coordinator;
use super::models::Lying;
use super::parcel::Parcel;
use crate::FleetError;
use crate::link::{Line, PATIENCE, Trouble};
use crate::wire::{CHUNK_BYTES, MOST_UP_BYTES, Orders, Subjects, WINDOW};

/// How long a pull waits for messages.
const PULL: Duration = Duration::from_millis(200);

/// How often the server is asked whether the streams are still there.
const LOOK: Duration = Duration::from_secs(2);

/// When a message that was pulled and not acknowledged comes again: that of a coordinator that died.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// How long the server may take to make a stream or a consumer.
const PATIENCE_FOR_STREAMS: Duration = Duration::from_secs(10);

/// The coordinator's side of the streams.
pub(super) struct Outlet {
    pub(super) line: Line,
    pub(super) subjects: Subjects,
    pub(super) run: u64,
    /// How many servers the cluster has; each keeps every message.
    servers: usize,
    /// How many pieces a model has.
    pub(super) pieces: u64,
    /// None until the streams are there and the run is described.
    consumer: Option<PullConsumer>,
    /// What lies in the stream of this run's models and differences, each as a whole.
    pub(super) published: BTreeMap<Parcel, Lying>,
    /// Parcels of which some pieces may lie there: their publication broke off, and the server did not say.
    pub(super) halves: BTreeSet<Parcel>,
    /// When the streams were last looked at, and over which of the line's connections.
    looked: (Instant, u64),
}

#[derive(Deserialize)]
struct Info {
    state: InfoState,
}

#[derive(Deserialize)]
struct InfoState {
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

impl Outlet {
    pub fn new(line: Line, subjects: Subjects, run: u64, servers: usize, numbers: usize) -> Self {
        let pieces = (numbers * 4).div_ceil(CHUNK_BYTES) as u64;
        Self {
            looked: (Instant::now(), line.times_made()),
            line,
            subjects,
            run,
            servers,
            pieces,
            consumer: None,
            published: BTreeMap::new(),
            halves: BTreeSet::new(),
        }
    }

    /// Takes nothing for granted any more: streams are looked after, and made where they are missing, before the next pull.
    pub fn forget(&mut self) {
        self.consumer = None;
        self.published.clear();
        self.halves.clear();
    }

    /// Whether the server has lost a stream, or the coordinator's place in it. Asked when the connection was made anew, and
    /// now and then, because a pull from a stream that is not there gets no answer at all.
    async fn is_wiped(&mut self) -> bool {
        let times = self.line.times_made();
        let (when, over) = self.looked;
        if self.consumer.is_none() || (over == times && when.elapsed() < LOOK) {
            return false;
        }
        self.looked = (Instant::now(), times);
        let (up, down) = (self.subjects.up_stream(), self.subjects.down_stream());
        let questions = [
            format!("$JS.API.CONSUMER.INFO.{up}.coordinator"),
            format!("$JS.API.STREAM.INFO.{down}"),
            format!("$JS.API.STREAM.INFO.{}", self.subjects.model_stream()),
        ];
        for question in questions {
            let answer = self.line.command(question, Bytes::new()).await;
            if matches!(answer, Err(Trouble::NoStream)) {
                return true;
            }
        }
        false
    }

    /// Messages as they come, for a moment. Nothing without a server.
    pub async fn pull(&self, most: usize) -> Option<Batch> {
        let consumer = self.consumer.as_ref().filter(|_| self.line.is_up());
        let batch = match consumer {
            None => None,
            Some(consumer) => {
                let pull = consumer.batch().max_messages(most).expires(PULL);
                let pulling = self.line.unless_lost(PATIENCE, pull.messages());
                pulling.await.ok().and_then(Result::ok)
            }
        };
        if batch.is_none() {
            tokio::time::sleep(PULL / 2).await;
        }
        batch
    }

    /// The next message of a pull. The server says when there are no more, and a slow one is waited for: messages of a pull
    /// that nobody reads any more would come again only after [`ACK_WAIT`]. One that died in its midst is not waited for.
    pub async fn next(&self, batch: &mut Batch) -> Option<Result<Message, async_nats::Error>> {
        let next = self.line.unless_lost(PATIENCE, batch.next());
        next.await.ok().flatten()
    }

    /// Sees to it that the streams are there, and that of all models only those lie in them that are whole and needed; differences are
    /// made anew.
    async fn prepare(
        &mut self,
        description: Bytes,
        needed: &BTreeSet<Parcel>,
    ) -> Result<(), Trouble> {
        let context = jetstream::new(self.line.client.clone());
        let refused = |error: &dyn std::fmt::Display| Trouble::Refused(error.to_string());
        for config in self.streams() {
            let making = context.create_or_update_stream(config);
            let made = self.line.unless_lost(PATIENCE_FOR_STREAMS, making).await?;
            made.map_err(|error| refused(&error))?;
        }
        let config = pull::Config {
            durable_name: Some("coordinator".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: 256,
            ..pull::Config::default()
        };
        // What an earlier coordinator pulled and did not acknowledge comes again at once, and in its order, if its place in
        // the stream is forgotten, and else after `ACK_WAIT`.
        let up = self.subjects.up_stream();
        let earlier = format!("$JS.API.CONSUMER.DELETE.{up}.coordinator");
        match self.line.command(earlier, Bytes::new()).await {
            Ok(_) | Err(Trouble::NoStream) => {}
            Err(trouble) => return Err(trouble),
        }
        let making = context.create_consumer_on_stream(config, up);
        let made = self.line.unless_lost(PATIENCE_FOR_STREAMS, making).await?;
        let consumer = made.map_err(|error| refused(&error))?;
        self.line.command(self.subjects.run(), description).await?;
        let mut there: BTreeMap<Option<(u64, u64)>, Vec<String>> = BTreeMap::new();
        let info = format!("$JS.API.STREAM.INFO.{}", self.subjects.model_stream());
        let filter = serde_json::json!({"subjects_filter": self.subjects.every_model()});
        let info = self.line.command(info, filter.to_string().into()).await?;
        let info: Info = serde_json::from_slice(&info).map_err(|error| refused(&error))?;
        for subject in info.state.subjects.into_keys() {
            let model = self.subjects.model_of(&subject);
            there.entry(model).or_default().push(subject);
        }
        for (model, subjects) in there {
            let whole = subjects.len() as u64 == self.pieces;
            let own = model.filter(|(run, _)| *run == self.run && whole);
            let parcel = own.map(|(_, version)| Parcel {
                version,
                base: None,
            });
            match parcel.filter(|parcel| needed.contains(parcel)) {
                Some(parcel) => drop(self.published.insert(parcel, Lying::found())),
                None => self.remove_subjects(subjects).await?,
            }
        }
        self.consumer = Some(consumer);
        Ok(())
    }

    fn streams(&self) -> [stream::Config; 3] {
        let up = stream::Config {
            name: self.subjects.up_stream(),
            subjects: vec![self.subjects.every_up()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages_per_subject: WINDOW,
            discard_new_per_subject: true,
            max_message_size: MOST_UP_BYTES as i32,
            num_replicas: self.servers,
            ..stream::Config::default()
        };
        let down = stream::Config {
            name: self.subjects.down_stream(),
            subjects: vec![self.subjects.every_down(), self.subjects.run()],
            num_replicas: self.servers,
            max_messages_per_subject: 1,
            allow_direct: true,
            ..stream::Config::default()
        };
        let models = stream::Config {
            name: self.subjects.model_stream(),
            subjects: vec![self.subjects.every_model()],
            num_replicas: self.servers,
            max_messages_per_subject: 1,
            allow_direct: true,
            discard: DiscardPolicy::New,
            ..stream::Config::default()
        };
        [up, down, models]
    }
}

impl Coordinator {
    /// Publishes what is due. What cannot be published now stays due.
    pub(super) async fn publish(&mut self, outlet: &mut Outlet) -> Result<(), FleetError> {
        if !outlet.line.is_up() {
            let disbelief = outlet.line.disbelief();
            self.trouble = Some(match disbelief {
                Some(why) => format!("there is no connection to the NATS server: {why}"),
                None => Trouble::Silent.to_string(),
            });
            return Ok(());
        }
        if outlet.is_wiped().await {
            outlet.forget();
            self.due.extend(0..self.devices.len());
        }
        let needed = self.needed();
        if outlet.consumer.is_none() {
            let description = self.settings.description(
                &self.roster.fleet,
                self.engine.run(),
                &self.engine.aggregator().config().layout,
            );
            let description = description.seal(&self.key);
            if let Err(trouble) = outlet.prepare(description.into(), &needed).await {
                self.trouble = Some(trouble.to_string());
                return Ok(());
            }
        }
        // First, to make room on a disk that may be full.
        outlet.remove_all_but(&needed).await;
        let due: Vec<ClientId> = self.due.iter().copied().collect();
        let mut is_full = false;
        for client in &due {
            let assignment = self.engine.progress().members[*client].assignment;
            let published = match assignment {
                // One refusal is enough: what follows would fill the room that updates come through.
                Some(open) if is_full && !self.is_provided(outlet, *client, &open) => continue,
                Some(open) => self.provide(outlet, *client, &open).await?,
                None => Ok(()),
            };
            let published = match published {
                Ok(()) => {
                    let orders = self.orders(*client).seal(&self.key);
                    let device = &self.roster.devices[*client].name;
                    let subject = self.subjects.down(device);
                    outlet.line.command(subject, orders.into()).await
                }
                Err(trouble) => Err(trouble),
            };
            match published {
                Ok(_) => drop(self.due.remove(client)),
                Err(trouble) => {
                    self.trouble = Some(trouble.to_string());
                    // With no room for one device's model, what another one is told may be what makes room: which piece of its
                    // update is missing.
                    is_full = matches!(trouble, Trouble::Refused(_));
                    if !is_full {
                        return Ok(());
                    }
                }
            }
        }
        if self.due.len() < due.len() {
            self.forget_unheld()?;
        }
        Ok(())
    }

    fn orders(&mut self, client: usize) -> Orders {
        let sequence = self.devices[client].next_sequence();
        let member = &self.engine.progress().members[client];
        let way = self.devices[client].way;
        let way = way.filter(|way| way.is_of(member.assignment));
        Orders {
            fleet: self.roster.fleet.clone(),
            run: self.engine.run(),
            device: self.roster.devices[client].name.clone(),
            sequence,
            assignment: member.assignment,
            difference: way.and_then(|way| way.difference),
            verdict: member.verdict.clone(),
            wanted: self.devices[client].wanted,
            finished: self
                .engine
                .progress()
                .finished
                .map(|reason| reason.code().to_owned()),
        }
    }
}
