//! A run from its job to its output.

use std::path::Path;
use std::sync::Arc;

use fedact_clips::{ClipSet, Split};
use fedact_federation::aggregator::{Client, Config, EndReason};
use fedact_federation::bound::{self, Observed};
use fedact_federation::central::{CentralRun, CentralSetting, CentralState};
use fedact_federation::clock::DeviceClock;
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, HistoryWriter, Record};
use fedact_federation::layout::{Layout, TensorLayout};
use fedact_federation::simulation::{
    Participant, Setting, Simulation, SimulationState, Snapshot, Totals,
};
use fedact_federation::strategy::{FedAsync, FedAvg, Strategy};
use fedact_nets::quantize::QuantizedModel;
use fedact_nets::score::Scores;
use fedact_nets::{files, set_threads};
use fedact_stage::{Job, Metrics, Reporter, StageError};
use serde_json::{Value, json};
use tch::Device;

use crate::checkpoint::{self, Checkpoint, Vector};
use crate::clients::{ClientClips, split_by_subject};
use crate::worker::Worker;
use crate::{FederateError, FederateParams, StrategyKind, central_epochs_per_segment};

const HISTORY: &str = "history.jsonl";
const CENTRE: &str = "centre";
const CENTRE_DEVICE: &str = "server";

/// Fine-tunes the model and writes it, with its history and metrics, into the job's output folder.
///
/// # Errors
/// Says which input, param or file is at fault.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: FederateParams = job.params()?;
    set_threads(params.threads);
    let metrics = fine_tune(job, &params, reporter)?;
    Ok(metrics)
}

/// What a run came to.
struct Outcome {
    reason: &'static str,
    parameters: Vec<f32>,
    virtual_seconds: f64,
    client_epochs: f64,
    samples: u64,
    version: u64,
    bytes_up: u64,
    bytes_down: u64,
    totals: Totals,
    refusals: Value,
}

fn fine_tune(
    job: &Job,
    params: &FederateParams,
    reporter: &Reporter,
) -> Result<Metrics, FederateError> {
    let model_folder = job.input("model").map_err(missing)?;
    let clips_folder = job.input("clips").map_err(missing)?;
    let clips = ClipSet::open(clips_folder)?;
    let model = with_classes_of(
        QuantizedModel::load(model_folder, Device::Cpu)?,
        &clips,
        params.seed,
    )?;
    let pooled = clips.indices(Split::Train);
    for (empty, split) in [
        (pooled.is_empty(), "train"),
        (clips.indices(Split::Test).is_empty(), "test"),
    ] {
        if empty {
            let path = clips.folder().to_owned();
            return Err(FederateError::EmptySplit { path, split });
        }
    }
    let clients = split_by_subject(&clips, params.clients);
    if clients.len() < params.clients {
        reporter.warn(format!(
            "{} has {} subjects in its train split, so there are {} clients and not {}",
            clips.folder().display(),
            clients.len(),
            clients.len(),
            params.clients
        ));
    }
    let rounds = params
        .budget
        .client_epochs
        .div_ceil(clients.len() as u64 * u64::from(params.local_epochs));
    let budget_samples = rounds * u64::from(params.local_epochs) * pooled.len() as u64;
    let budget_client_epochs = rounds * u64::from(params.local_epochs) * clients.len() as u64;
    let mut world = World::new(params, &model, &clips, clients, budget_samples)?;

    let progress = reporter.task("fine-tuning", budget_client_epochs, "client-epochs");
    let kept = Kept::read(&job.checkpoints);
    let history_path = job.checkpoints.join(HISTORY);
    let (history, kept) = match kept {
        Some(kept) => match HistoryWriter::resume(&history_path, kept.history_bytes()) {
            Ok(history) => (history, Some(kept)),
            Err(_) => (HistoryWriter::create(&history_path)?, None),
        },
        None => (HistoryWriter::create(&history_path)?, None),
    };
    let clients = std::mem::take(&mut world.clients);
    let mut worker = Worker::new(model, params, &clips, &clients, &pooled, history, &progress)?;
    world.fill_in_steps(&worker);
    let outcome = match params.strategy {
        StrategyKind::Central => {
            let kept = kept.and_then(Kept::central);
            world.at_the_centre(&mut worker, kept, &job.checkpoints, reporter)?
        }
        StrategyKind::Fedasync | StrategyKind::Fedavg => {
            let kept = kept.and_then(Kept::simulation);
            world.with_clients(&mut worker, kept, &job.checkpoints, reporter)?
        }
    };
    if outcome.totals.refused > 0 {
        reporter.warn(format!(
            "{} of {} updates were refused: {}",
            outcome.totals.refused,
            outcome.totals.refused + outcome.totals.updates,
            outcome.refusals
        ));
    }
    worker.sync_history()?;
    let (model, scores) = worker.finish(&outcome.parameters)?;
    model.save(&job.output)?;
    let output = job.output.join(HISTORY);
    std::fs::copy(&history_path, &output).map_err(|source| FederateError::Write {
        path: output,
        source,
    })?;
    let metrics = metrics(params, &outcome, &scores);
    write_metrics(&job.output, &metrics, &scores)?;
    Ok(metrics)
}

/// The runner checks inputs before it starts a stage; whoever calls the stage otherwise learns it here.
fn missing(error: StageError) -> FederateError {
    FederateError::MissingInput(error.message)
}

/// The model itself if its classes are those of the clips, else the same with a fresh last layer.
fn with_classes_of(
    model: QuantizedModel,
    clips: &ClipSet,
    seed: u64,
) -> Result<QuantizedModel, FederateError> {
    let classes = &clips.dataset().classes;
    if &model.info.classes == classes {
        return Ok(model);
    }
    Ok(model.with_new_head(classes.clone(), seed)?)
}

/// Everything about a run that does not change while it runs.
struct World<'a> {
    params: &'a FederateParams,
    clients: Vec<ClientClips>,
    participants: Vec<Participant>,
    centre: ClientSummary,
    centre_clock: DeviceClock,
    clip_bytes: Vec<u64>,
    layout: Layout,
    total_clips: u64,
    budget_samples: u64,
}

impl<'a> World<'a> {
    fn new(
        params: &'a FederateParams,
        model: &QuantizedModel,
        clips: &ClipSet,
        clients: Vec<ClientClips>,
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
                clock: DeviceClock::new(profile.clone(), rate, params.seed, number as u64),
                steps_per_task: 0,
            });
        }
        let total_clips = clients
            .iter()
            .map(|client| client.indices.len() as u64)
            .sum();
        let profile = catalogue.profile(CENTRE_DEVICE)?;
        let rate = catalogue.training_rate(profile, cost);
        let tensors = model
            .parameter_shapes()
            .into_iter()
            .map(|tensor| TensorLayout {
                name: tensor.name,
                shape: tensor.shape,
            })
            .collect();
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
            layout: Layout::new(tensors),
            total_clips,
            budget_samples,
        })
    }

    fn fill_in_steps(&mut self, worker: &Worker<'_>) {
        for (client, participant) in self.participants.iter_mut().enumerate() {
            participant.steps_per_task = worker.steps_per_task(client);
        }
    }

    fn samples_per_client_epoch(&self) -> f64 {
        self.total_clips as f64 / self.participants.len() as f64
    }

    fn start(&self) -> Record {
        let mut clients: Vec<ClientSummary> = self
            .participants
            .iter()
            .map(|participant| participant.summary.clone())
            .collect();
        let mut mixing = None;
        match self.params.strategy {
            StrategyKind::Fedasync => mixing = Some(self.params.mixing.name().to_owned()),
            StrategyKind::Fedavg => {}
            StrategyKind::Central => clients.push(self.centre.clone()),
        }
        Record::Start {
            strategy: self.params.strategy.name().to_owned(),
            mixing,
            seed: self.params.seed,
            parameters: self.layout.len() as u64,
            model_bytes: self.layout.message_bytes(),
            clients,
            settings: serde_json::to_value(self.params).unwrap_or(Value::Null),
        }
    }

    fn config(&self) -> Config {
        let params = self.params;
        let strategy = match params.strategy {
            StrategyKind::Fedasync => Strategy::FedAsync(FedAsync {
                alpha: params.alpha,
                alpha_decay: params.alpha_decay.clone(),
                mixing: params.mixing,
                max_staleness: params.max_staleness,
            }),
            StrategyKind::Fedavg | StrategyKind::Central => Strategy::FedAvg(FedAvg {
                clients_per_round: params.clients_per_round,
                over_selection: params.over_selection,
            }),
        };
        let epochs = u64::from(params.local_epochs);
        let clients: Vec<Client> = self
            .participants
            .iter()
            .map(|participant| Client {
                samples_per_task: participant.summary.clips * epochs,
            })
            .collect();
        Config {
            strategy,
            max_refusals_in_a_row: 10 * clients.len() as u64,
            clients,
            layout: self.layout.clone(),
            budget_samples: self.budget_samples,
            max_update_distance: params.max_update_norm,
            seed: params.seed,
        }
    }

    fn setting(&self) -> Setting {
        let every = self.params.evaluate_every as f64 * self.samples_per_client_epoch();
        Setting {
            participants: self.participants.clone(),
            evaluate_every_samples: every.round() as u64,
            round_deadline_seconds: self.params.round_deadline_seconds,
            samples_per_client_epoch: self.samples_per_client_epoch(),
            bytes_down: self.layout.message_bytes(),
            bytes_up: self.layout.message_bytes(),
        }
    }

    fn with_clients(
        &self,
        worker: &mut Worker<'_>,
        kept: Option<Snapshot>,
        checkpoints: &Path,
        reporter: &Reporter,
    ) -> Result<Outcome, FederateError> {
        let (config, setting) = (self.config(), self.setting());
        let resumed =
            kept.and_then(|kept| Simulation::resume(config.clone(), setting.clone(), kept));
        let mut simulation = match resumed {
            Some(simulation) => simulation,
            None => {
                worker.restart_history(&checkpoints.join(HISTORY))?;
                let parameters = worker.parameters()?;
                Simulation::begin(config, setting, parameters, self.start(), worker)?
            }
        };
        let handled =
            |simulation: &Simulation| simulation.totals().updates + simulation.totals().refused;
        let mut last_kept = handled(&simulation);
        let reason: EndReason = loop {
            let end = simulation.step(worker)?;
            let samples = simulation.aggregator().samples();
            worker.show(samples, simulation.aggregator().version(), simulation.now());
            if let Some(reason) = end {
                break reason;
            }
            let go_on = reporter.go_on();
            if (go_on.is_err() || handled(&simulation) >= last_kept + self.params.checkpoint_every)
                && let Some(snapshot) = simulation.snapshot()
            {
                last_kept = handled(&simulation);
                Kept::write_simulation(checkpoints, worker.sync_history()?, snapshot)?;
                go_on?;
            }
        };
        let totals = simulation.totals().clone();
        Ok(Outcome {
            reason: reason.code(),
            parameters: simulation.aggregator().parameters().to_vec(),
            virtual_seconds: simulation.now(),
            client_epochs: simulation.client_epochs(),
            samples: simulation.aggregator().samples(),
            version: simulation.aggregator().version(),
            bytes_up: totals.bytes_up,
            bytes_down: totals.bytes_down,
            refusals: serde_json::to_value(simulation.aggregator().refusals())
                .unwrap_or(Value::Null),
            totals,
        })
    }

    fn at_the_centre(
        &self,
        worker: &mut Worker<'_>,
        kept: Option<KeptCentral>,
        checkpoints: &Path,
        reporter: &Reporter,
    ) -> Result<Outcome, FederateError> {
        let segment = central_epochs_per_segment(self.params, self.participants.len());
        let setting = CentralSetting {
            participants: self.participants.clone(),
            clip_bytes: self.clip_bytes.clone(),
            centre: self.centre.clone(),
            clock: self.centre_clock.clone(),
            budget_samples: self.budget_samples,
            evaluate_every_samples: segment * self.total_clips,
            samples_per_client_epoch: self.samples_per_client_epoch(),
            batch_size: self.params.batch_size as u64,
        };
        let kept = kept.filter(|kept| {
            kept.parameters.len() == self.layout.len()
                && worker.keep_velocity(Some(&kept.velocity)).is_some()
        });
        let mut central = match kept {
            Some(kept) => CentralRun::resume(setting, kept.state, kept.parameters.to_vec()),
            None => {
                worker.restart_history(&checkpoints.join(HISTORY))?;
                worker.keep_velocity(None);
                let parameters = worker.parameters()?;
                CentralRun::begin(setting, parameters, self.start(), worker)?
            }
        };
        let per_update = u64::from(self.params.local_epochs);
        let updates = |central: &CentralRun| central.client_epochs() as u64 / per_update;
        let mut last_kept = updates(&central);
        while !central.step(worker)? {
            worker.show(central.samples(), central.version(), central.now());
            let go_on = reporter.go_on();
            if go_on.is_err() || updates(&central) >= last_kept + self.params.checkpoint_every {
                last_kept = updates(&central);
                let history_bytes = worker.sync_history()?;
                Kept::write_central(checkpoints, history_bytes, &central, worker.velocity())?;
                go_on?;
            }
        }
        worker.show(central.samples(), central.version(), central.now());
        Ok(Outcome {
            reason: EndReason::BudgetSpent.code(),
            parameters: central.parameters().to_vec(),
            virtual_seconds: central.now(),
            client_epochs: central.client_epochs(),
            samples: central.samples(),
            version: central.version(),
            bytes_up: central.bytes_up(),
            bytes_down: 0,
            totals: Totals::default(),
            refusals: json!({}),
        })
    }
}

/// The state in a checkpoint.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptState {
    Simulation(Box<SimulationState>),
    Central(CentralState),
}

/// A checkpoint of either kind.
struct Kept(Checkpoint<KeptState>);

struct KeptCentral {
    state: CentralState,
    parameters: Arc<Vec<f32>>,
    velocity: Arc<Vec<f32>>,
}

impl Kept {
    fn read(folder: &Path) -> Option<Self> {
        checkpoint::read(folder).map(Self)
    }

    fn history_bytes(&self) -> u64 {
        self.0.history_bytes
    }

    fn simulation(self) -> Option<Snapshot> {
        let KeptState::Simulation(state) = self.0.state else {
            return None;
        };
        let mut versions = std::collections::BTreeMap::new();
        for vector in self.0.vectors {
            versions.insert(vector.name.parse().ok()?, vector.numbers);
        }
        Some(Snapshot {
            state: *state,
            versions,
        })
    }

    fn central(self) -> Option<KeptCentral> {
        let KeptState::Central(state) = self.0.state else {
            return None;
        };
        let [parameters, velocity] = <[Vector; 2]>::try_from(self.0.vectors).ok()?;
        Some(KeptCentral {
            state,
            parameters: parameters.numbers,
            velocity: velocity.numbers,
        })
    }

    fn write_simulation(
        folder: &Path,
        history_bytes: u64,
        snapshot: Snapshot,
    ) -> Result<(), FederateError> {
        let vectors: Vec<Vector> = snapshot
            .versions
            .into_iter()
            .map(|(version, numbers)| Vector {
                name: version.to_string(),
                numbers,
            })
            .collect();
        let state = KeptState::Simulation(Box::new(snapshot.state));
        checkpoint::write(folder, &state, history_bytes, &vectors)
    }

    fn write_central(
        folder: &Path,
        history_bytes: u64,
        central: &CentralRun,
        velocity: Vec<f32>,
    ) -> Result<(), FederateError> {
        let vectors = [
            Vector {
                name: "parameters".to_owned(),
                numbers: Arc::new(central.parameters().to_vec()),
            },
            Vector {
                name: "velocity".to_owned(),
                numbers: Arc::new(velocity),
            },
        ];
        let state = KeptState::Central(central.state());
        checkpoint::write(folder, &state, history_bytes, &vectors)
    }
}

fn metrics(params: &FederateParams, outcome: &Outcome, scores: &Scores) -> Metrics {
    let totals = &outcome.totals;
    let observed = Observed {
        alpha: params.alpha,
        learning_rate: params.learning_rate,
        versions: outcome.version,
        max_staleness: totals.max_staleness,
        min_steps: totals.min_steps.unwrap_or(0),
        max_steps: totals.max_steps,
    };
    let terms = (params.strategy == StrategyKind::Fedasync)
        .then(|| bound::terms(&observed))
        .flatten();
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: Value| metrics.insert(name.to_owned(), value);
    put("strategy", json!(params.strategy.name()));
    put("end", json!(outcome.reason));
    put("top1", json!(scores.top1));
    put("top5", json!(scores.top5));
    put("mean_class_accuracy", json!(scores.mean_class_accuracy));
    put("loss", json!(scores.loss));
    put("virtual_seconds", json!(outcome.virtual_seconds));
    put("client_epochs", json!(outcome.client_epochs));
    put("samples", json!(outcome.samples));
    put("bytes_up", json!(outcome.bytes_up));
    put("bytes_down", json!(outcome.bytes_down));
    put("versions", json!(outcome.version));
    put("updates", json!(totals.updates));
    put("refused", json!(totals.refused));
    put("refusals", outcome.refusals.clone());
    put("lost_tasks", json!(totals.lost));
    put("mean_staleness", json!(totals.mean_staleness()));
    put("max_staleness", json!(totals.max_staleness));
    if let Some(terms) = terms {
        let assumptions = "terms up to the problem's unknown constants (epsilon and those in O()); \
                           they hold for an L-smooth, mu-weakly convex loss, rho > mu, gamma < 1/L, \
                           plain SGD";
        let bound = json!({"observed": observed, "terms": terms, "assumptions": assumptions});
        put("bound", bound);
    }
    metrics
}

fn write_metrics(folder: &Path, metrics: &Metrics, scores: &Scores) -> Result<(), FederateError> {
    let path = folder.join(files::METRICS);
    let mut all = metrics.clone();
    all.insert("confusion".to_owned(), json!(scores.confusion));
    let write = || -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&all)?;
        text.push(b'\n');
        std::fs::write(&path, text)
    };
    write().map_err(|source| FederateError::Write {
        path: path.clone(),
        source,
    })
}
