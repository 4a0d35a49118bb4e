//! Who takes part, on which devices and by which rules.

use fedact_clips::ClipSet;
use fedact_federation::aggregator::Config;
use fedact_federation::clock::DeviceClock;
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::partition::Share;
use fedact_federation::simulation::{Participant, Setting, Uplink};
use fedact_federation::strategy::Strategy;
use fedact_nets::quantize::QuantizedModel;

use crate::worker::Worker;
use crate::{FederateError, FederateParams, StrategyKind, rules};

const CENTRE: &str = "centre";
const CENTRE_DEVICE: &str = "server";

/// Everything about a run that does not change while it runs.
pub struct World<'a> {
    pub(super) params: &'a FederateParams,
    pub(super) clients: Vec<Share>,
    pub(super) participants: Vec<Participant>,
    pub(super) centre: ClientSummary,
    pub(super) centre_clock: DeviceClock,
    pub(super) clip_bytes: Vec<u64>,
    pub(super) layout: Layout,
    pub(super) total_clips: u64,
    pub(super) budget_samples: u64,
}

impl<'a> World<'a> {
    /// The clients, each on the device that the params give it.
    ///
    /// # Errors
    /// A device that nobody described; a network whose work cannot be counted.
    pub fn new(
        params: &'a FederateParams,
        model: &QuantizedModel,
        clips: &ClipSet,
        clients: Vec<Share>,
        budget_samples: u64,
    ) -> Result<Self, FederateError> {
        let catalogue = Catalogue::built_in().with(&params.profiles);
        let input = model.info.input;
        let size = [input.frames, input.height, input.width].map(|side| side as i64);
        let cost = model
            .info
            .architecture
            .layout()
            .map_err(fedact_nets::NetsError::from)?
            .cost(size, model.info.classes.len())
            .multiply_adds;
        let mut participants = Vec::with_capacity(clients.len());
        let devices = params.devices.of(clients.len());
        for (number, (client, device)) in clients.iter().zip(devices).enumerate() {
            let profile = catalogue.profile(&device)?;
            let rate = catalogue.training_rate(profile, cost);
            participants.push(Participant {
                summary: ClientSummary {
                    id: client.id.clone(),
                    device,
                    clips: client.indices.len() as u64,
                    clips_per_second: rate,
                },
                clock: DeviceClock::new(profile.clone(), rate, params.seed, number as u64)
                    .with_deadline(params.task_deadline_seconds),
                steps_per_pass: 0,
                batch_size: params.batch_size as u64,
            });
        }
        let total_clips = clients
            .iter()
            .map(|client| client.indices.len() as u64)
            .sum();
        let profile = catalogue.profile(CENTRE_DEVICE)?;
        let rate = catalogue.training_rate(profile, cost);
        let clip_bytes = clips.dataset().clip_bytes() as u64;
        Ok(Self {
            params,
            centre: ClientSummary {
                id: CENTRE.to_owned(),
                device: CENTRE_DEVICE.to_owned(),
                clips: total_clips,
                clips_per_second: rate,
            },
            centre_clock: DeviceClock::new(
                profile.clone(),
                rate,
                params.seed,
                clients.len() as u64,
            ),
            clip_bytes: clients
                .iter()
                .map(|client| client.indices.len() as u64 * clip_bytes)
                .collect(),
            clients,
            participants,
            layout: rules::layout_of(model),
            total_clips,
            budget_samples,
        })
    }

    /// Steps of the clients' passes, which the worker knows.
    pub fn fill_in_steps(&mut self, worker: &Worker<'_>) {
        for (client, participant) in self.participants.iter_mut().enumerate() {
            participant.steps_per_pass = worker.steps_per_pass(client);
        }
    }

    /// Clips of a mean client.
    pub fn samples_per_client_epoch(&self) -> f64 {
        self.total_clips as f64 / self.participants.len() as f64
    }

    /// The first line of the history.
    pub fn start(&self) -> Record {
        let mut clients: Vec<ClientSummary> = self
            .participants
            .iter()
            .map(|participant| participant.summary.clone())
            .collect();
        if self.params.strategy == StrategyKind::Central {
            clients.push(self.centre.clone());
        }
        let layout = &self.layout;
        let (parameters, bytes) = (layout.len() as u64, layout.message_bytes());
        rules::start(self.params, parameters, bytes, clients)
    }

    /// The server's rules.
    pub fn config(&self, strategy: Strategy) -> Config {
        let length = self.params.task_length();
        let participants = self.participants.iter();
        let samples = participants.map(|participant| length.samples(participant.summary.clips));
        let layout = self.layout.clone();
        rules::config(self.params, strategy, layout, samples, self.budget_samples)
    }

    /// What the simulation goes by.
    pub fn setting(&self) -> Setting {
        let every = self.params.evaluate_every as f64 * self.samples_per_client_epoch();
        Setting {
            participants: self.participants.clone(),
            evaluate_every_samples: every.round() as u64,
            round_deadline_seconds: self.params.round_deadline_seconds,
            target_top1: self.params.target_top1,
            samples_per_client_epoch: self.samples_per_client_epoch(),
            bytes_down: self.layout.message_bytes(),
            uplink: Uplink {
                codec: self.params.codec.clone(),
                feedback: self.params.error_feedback,
            },
            max_losses_in_a_row: rules::max_losses_in_a_row(self.participants.len()),
        }
    }
}
