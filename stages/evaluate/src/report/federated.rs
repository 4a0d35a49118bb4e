//! A federated run as the report needs it, taken from its history.

use std::collections::BTreeMap;

use fedact_federation::history::Record;
use fedact_federation::message::Codec;
use fedact_federation::strategy::ServerOptimizer;
use serde_json::Value;

use super::target::{final_accuracy, smoothed};

/// How a run combined what the clients learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// `fedasync` and its kin: nobody waits for the slowest.
    Async,
    /// `fedavg`: rounds that wait for their slowest member.
    Sync,
    /// `central`: no clients; all clips in one place.
    Central,
    /// A strategy that this report knows nothing special about.
    Other,
}

/// One client.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The subjects whose clips it holds.
    pub id: String,
    /// Its device profile.
    pub device: String,
    /// Training clips it holds.
    pub clips: u64,
    /// How fast it trains.
    pub clips_per_second: f64,
}

/// One local task of a client; times in virtual seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The client's id.
    pub client: String,
    /// Download begins.
    pub start: f64,
    /// Training begins.
    pub download_end: f64,
    /// Upload begins.
    pub training_end: f64,
    /// The update is at the server.
    pub upload_end: f64,
    /// Bytes of the update's message.
    pub bytes_up: u64,
    /// What it cost the device, modelled; 0 where the history does not say.
    pub joules: f64,
}

/// One update's arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Virtual seconds.
    pub time: f64,
    /// The client's id.
    pub client: String,
    /// Versions made since the one it was trained from.
    pub staleness: u64,
    /// The weight it was mixed in with.
    pub weight: f64,
    /// The reason code, if it was refused.
    pub refused: Option<String>,
}

/// One test of the model on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Virtual seconds.
    pub time: f64,
    /// Passes of a client over its clips, so far.
    pub client_epochs: f64,
    /// Bytes sent up so far.
    pub bytes_up: u64,
    /// Bytes sent down so far.
    pub bytes_down: u64,
    /// Accuracy, 0 to 1.
    pub top1: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// The reason code.
    pub reason: String,
    /// Virtual seconds.
    pub time: f64,
    /// Versions of the model that were made.
    pub version: u64,
    /// Clips processed, repeats counted.
    pub samples: u64,
    /// Passes of a client over its clips.
    pub client_epochs: f64,
    /// Bytes sent up.
    pub bytes_up: u64,
    /// Bytes sent down.
    pub bytes_down: u64,
    /// Accuracy of the final model, 0 to 1.
    pub top1: f64,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct FederatedRun {
    /// The step that made it.
    pub step: String,
    /// How updates were combined.
    pub strategy: Strategy,
    /// The strategy's name in the history.
    pub strategy_name: String,
    /// `constant`, `polynomial` or `hinge` for an asynchronous run.
    pub mixing: Option<String>,
    /// What the server does beside averaging: `momentum`, or the name of its optimizer.
    pub server: Option<String>,
    /// Whether devices of a fleet did the work: its times are seconds of a clock, and nobody has modelled energy.
    pub real: bool,
    /// What all randomness derived from.
    pub seed: u64,
    /// Bytes of the model as it is sent.
    pub model_bytes: u64,
    /// How updates became bytes, in words; none where the history does not say.
    pub codec: Option<String>,
    /// Who took part.
    pub clients: Vec<Client>,
    /// What they did.
    pub tasks: Vec<Task>,
    /// What arrived.
    pub updates: Vec<Update>,
    /// How good the model was when.
    pub evaluations: Vec<Evaluation>,
    /// How it ended.
    pub ending: Ending,
    /// Joules that its tasks cost the devices, modelled; 0 where the history does not say.
    pub joules: f64,
    /// What the convergence bound says of it, in sentences; none where it has no bound.
    pub bound: Vec<String>,
}

impl FederatedRun {
    /// From the records of a complete history. `None` without a `start` or `end` record.
    pub fn from_records(step: &str, records: &[Record]) -> Option<Self> {
        let Some(Record::Start {
            strategy,
            mixing,
            seed,
            model_bytes,
            clients,
            settings,
            ..
        }) = records.first()
        else {
            return None;
        };
        let Some(Record::End {
            reason,
            time,
            version,
            samples,
            client_epochs,
            bytes_up,
            bytes_down,
            top1,
        }) = records.last()
        else {
            return None;
        };
        let mut run = Self {
            step: step.to_owned(),
            strategy: match strategy.as_str() {
                "fedasync" | "fedbuff" | "fadas" | "ca2fl" | "ace" | "fedcompass" => {
                    Strategy::Async
                }
                "fedavg" => Strategy::Sync,
                "central" => Strategy::Central,
                _ => Strategy::Other,
            },
            strategy_name: strategy.clone(),
            mixing: mixing.clone(),
            server: server(settings),
            real: settings
                .get("transport")
                .is_some_and(|transport| transport == "nats"),
            seed: *seed,
            model_bytes: *model_bytes,
            codec: codec(settings),
            clients: clients
                .iter()
                .map(|client| Client {
                    id: client.id.clone(),
                    device: client.device.clone(),
                    clips: client.clips,
                    clips_per_second: client.clips_per_second,
                })
                .collect(),
            tasks: Vec::new(),
            updates: Vec::new(),
            evaluations: Vec::new(),
            ending: Ending {
                reason: reason.clone(),
                time: *time,
                version: *version,
                samples: *samples,
                client_epochs: *client_epochs,
                bytes_up: *bytes_up,
                bytes_down: *bytes_down,
                top1: *top1,
            },
            joules: 0.0,
            bound: Vec::new(),
        };
        for record in records {
            run.take(record);
        }
        Some(run)
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::Task {
                client,
                start,
                download_end,
                training_end,
                upload_end,
                bytes_up,
                joules,
                ..
            } => {
                self.joules += joules;
                self.tasks.push(Task {
                    client: client.clone(),
                    start: *start,
                    download_end: *download_end,
                    training_end: *training_end,
                    upload_end: *upload_end,
                    bytes_up: *bytes_up,
                    joules: *joules,
                });
            }
            Record::Update {
                time,
                client,
                staleness,
                weight,
                refused,
                ..
            } => {
                self.updates.push(Update {
                    time: *time,
                    client: client.clone(),
                    staleness: *staleness,
                    weight: *weight,
                    refused: refused.clone(),
                });
            }
            Record::Evaluation {
                time,
                client_epochs,
                bytes_up,
                bytes_down,
                top1,
                ..
            } => {
                self.evaluations.push(Evaluation {
                    time: *time,
                    client_epochs: *client_epochs,
                    bytes_up: *bytes_up,
                    bytes_down: *bytes_down,
                    top1: *top1,
                });
            }
            _ => {}
        }
    }

    /// The strategy in words, as in `async (polynomial)`.
    pub fn label(&self) -> String {
        let strategy = match self.strategy {
            Strategy::Async => "asynchronous",
            Strategy::Sync => "synchronous",
            Strategy::Central => "at the centre",
            Strategy::Other => self.strategy_name.as_str(),
        };
        let rules = match &self.mixing {
            Some(mixing) => format!("{strategy}, {mixing}"),
            None if self.strategy == Strategy::Async && self.strategy_name != "fedasync" => {
                format!("{strategy}, {}", self.strategy_name)
            }
            None => strategy.to_owned(),
        };
        let has_clients = matches!(self.strategy, Strategy::Async | Strategy::Sync);
        let rules = match &self.server {
            Some(server) if has_clients && *server != self.strategy_name => {
                format!("{rules}, {server}")
            }
            _ => rules,
        };
        if self.real {
            format!("{rules}, on real devices")
        } else {
            rules
        }
    }

    /// The step and the strategy, as in `async (asynchronous, polynomial)`.
    pub fn title(&self) -> String {
        format!("{} ({})", self.step, self.label())
    }

    /// Mean of the last three evaluations, 0 to 1.
    pub fn final_accuracy(&self) -> Option<f64> {
        final_accuracy(&self.evaluations)
    }

    /// The evaluations, each the mean of itself and its neighbours.
    pub fn smoothed(&self) -> Vec<Evaluation> {
        smoothed(&self.evaluations)
    }

    /// How often each staleness came up among the updates that counted.
    pub fn staleness_counts(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for update in self.accepted() {
            // A staleness beyond all reason would make an absurdly long list.
            let staleness = update.staleness.min(10_000) as usize;
            if counts.len() <= staleness {
                counts.resize(staleness + 1, 0);
            }
            counts[staleness] += 1;
        }
        counts
    }

    /// Updates that counted.
    pub fn accepted(&self) -> impl Iterator<Item = &Update> {
        self.updates
            .iter()
            .filter(|update| update.refused.is_none())
    }

    /// Updates that were refused.
    pub fn refused(&self) -> usize {
        self.updates
            .iter()
            .filter(|update| update.refused.is_some())
            .count()
    }

    /// How many updates were refused for each reason, by its code.
    pub fn refusals(&self) -> BTreeMap<&str, u64> {
        let mut reasons = BTreeMap::new();
        for reason in self
            .updates
            .iter()
            .filter_map(|update| update.refused.as_deref())
        {
            *reasons.entry(reason).or_default() += 1;
        }
        reasons
    }

    /// Mean bytes of a message from a client; `None` without tasks.
    pub fn mean_message(&self) -> Option<f64> {
        mean(self.tasks.iter().map(|task| task.bytes_up as f64))
    }

    /// What a client's tasks cost it, modelled.
    pub fn joules_of(&self, client: &str) -> f64 {
        let tasks = self.tasks.iter();
        tasks
            .filter(|task| task.client == client)
            .map(|task| task.joules)
            .sum()
    }

    /// Mean staleness of the updates that counted.
    pub fn mean_staleness(&self) -> Option<f64> {
        mean(self.accepted().map(|update| update.staleness as f64))
    }

    /// Largest staleness of the updates that counted.
    pub fn max_staleness(&self) -> Option<u64> {
        self.accepted().map(|update| update.staleness).max()
    }

    /// Share of the run in which a client did something, 0 to 1.
    pub fn busy(&self, client: &str) -> f64 {
        if self.ending.time <= 0.0 {
            return 0.0;
        }
        let busy: f64 = self
            .tasks
            .iter()
            .filter(|task| task.client == client)
            // A task may still be under way when the run ends.
            .map(|task| (task.upload_end.min(self.ending.time) - task.start).max(0.0))
            .sum();
        (busy / self.ending.time).clamp(0.0, 1.0)
    }

    /// Mean over the clients of [`busy`](Self::busy); `None` without clients.
    pub fn mean_busy(&self) -> Option<f64> {
        mean(self.clients.iter().map(|client| self.busy(&client.id)))
    }
}

/// What the server of a run's settings does beside averaging, in a word.
fn server(settings: &Value) -> Option<String> {
    match serde_json::from_value(settings.get("server")?.clone()).ok()? {
        ServerOptimizer::Sgd { momentum, .. } => (momentum > 0.0).then(|| "momentum".to_owned()),
        other => Some(other.name().to_owned()),
    }
}

/// The codec of a run's settings in words, and whether clients send later what it leaves out.
fn codec(settings: &Value) -> Option<String> {
    let codec: Codec = serde_json::from_value(settings.get("codec")?.clone()).ok()?;
    let feedback = !codec.is_exact() && settings.get("error_feedback") == Some(&Value::Bool(true));
    Some(if feedback {
        format!("{codec}, error feedback")
    } else {
        codec.to_string()
    })
}

/// The mean of some numbers; `None` of none.
pub(super) fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0u64), |(sum, count), number| {
        (sum + number, count + 1)
    });
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use fedact_federation::history::ClientSummary;

    use super::*;

    fn update(client: &str, staleness: u64, refused: Option<&str>) -> Record {
        Record::Update {
            time: 5.0,
            client: client.into(),
            base_version: 0,
            version: 1,
            staleness,
            weight: 0.5,
            bytes_up: 10,
            refused: refused.map(str::to_owned),
        }
    }

    fn task(client: &str, start: f64, upload_end: f64) -> Record {
        Record::Task {
            client: client.into(),
            base_version: 0,
            start,
            download_end: start + 1.0,
            training_end: upload_end - 1.0,
            upload_end,
            samples: 4,
            steps: 1,
            bytes_down: 10,
            bytes_up: 10,
            joules: 3.0,
        }
    }

    fn records() -> Vec<Record> {
        let client = |id: &str| ClientSummary {
            id: id.into(),
            device: "nano".into(),
            clips: 4,
            clips_per_second: 2.0,
        };
        vec![
            Record::Start {
                strategy: "fedasync".into(),
                mixing: Some("hinge".into()),
                seed: 1,
                parameters: 3,
                model_bytes: 12,
                clients: vec![client("g01"), client("g02")],
                settings: serde_json::Value::Null,
            },
            task("g01", 0.0, 5.0),
            update("g01", 0, None),
            task("g01", 5.0, 15.0),
            update("g02", 2, None),
            update("g02", 9, Some("norm")),
            Record::End {
                reason: "budget-spent".into(),
                time: 10.0,
                version: 2,
                samples: 8,
                client_epochs: 2.0,
                bytes_up: 20,
                bytes_down: 20,
                top1: 0.5,
            },
        ]
    }

    #[test]
    fn a_history_becomes_a_run() {
        let run = FederatedRun::from_records("async", &records()).unwrap();
        assert_eq!(run.strategy, Strategy::Async);
        assert_eq!(run.title(), "async (asynchronous, hinge)");
        assert_eq!(run.ending.bytes_up, 20);
        assert_eq!(run.final_accuracy(), None);
        assert!(FederatedRun::from_records("x", &records()[1..]).is_none());
    }

    #[test]
    fn further_asynchronous_strategies_are_called_by_their_names() {
        let mut records = records();
        let Record::Start {
            strategy, mixing, ..
        } = &mut records[0]
        else {
            panic!("another record");
        };
        *strategy = "fedbuff".into();
        *mixing = None;
        let run = FederatedRun::from_records("buffered", &records).unwrap();
        assert_eq!(run.strategy, Strategy::Async);
        assert_eq!(run.title(), "buffered (asynchronous, fedbuff)");
    }

    #[test]
    fn what_the_server_does_beside_averaging_is_named_once() {
        let title = |name: &str, server: serde_json::Value| {
            let mut records = records();
            let Record::Start {
                strategy,
                mixing,
                settings,
                ..
            } = &mut records[0]
            else {
                panic!("another record");
            };
            *strategy = name.into();
            *mixing = None;
            *settings = serde_json::json!({"server": server});
            FederatedRun::from_records("run", &records).unwrap().title()
        };
        let momentum = serde_json::json!({"kind": "sgd", "momentum": 0.9});
        let plain = serde_json::json!({"kind": "sgd"});
        let fadas = serde_json::json!({"kind": "fadas"});
        assert_eq!(
            title("fedavg", momentum.clone()),
            "run (synchronous, momentum)"
        );
        assert_eq!(title("fedavg", plain), "run (synchronous)");
        assert_eq!(
            title("fedavg", serde_json::Value::Null),
            "run (synchronous)"
        );
        assert_eq!(
            title("fedbuff", momentum.clone()),
            "run (asynchronous, fedbuff, momentum)"
        );
        assert_eq!(title("fadas", fadas), "run (asynchronous, fadas)");
        assert_eq!(title("central", momentum), "run (at the centre)");
    }

    #[test]
    fn refused_updates_do_not_count_for_staleness() {
        let run = FederatedRun::from_records("async", &records()).unwrap();
        assert_eq!(run.staleness_counts(), [1, 0, 1]);
        assert_eq!(run.mean_staleness(), Some(1.0));
        assert_eq!(run.max_staleness(), Some(2));
        assert_eq!(run.refused(), 1);
        assert_eq!(run.refusals(), BTreeMap::from([("norm", 1)]));
    }

    #[test]
    fn a_run_on_real_devices_says_so_and_is_not_set_against_virtual_time() {
        let mut records = records();
        let simulated = FederatedRun::from_records("async", &records).unwrap();
        let Record::Start { settings, .. } = &mut records[0] else {
            panic!("another record");
        };
        settings["transport"] = "nats".into();
        let real = FederatedRun::from_records("fleet", &records).unwrap();
        assert!(real.real && !simulated.real);
        assert_eq!(
            real.label(),
            format!("{}, on real devices", simulated.label())
        );
        let error = super::super::AsyncVsSync::between(&real, &simulated).unwrap_err();
        assert_eq!(
            error,
            "the time of `fleet` is real and that of `async` is virtual"
        );
    }

    #[test]
    fn bytes_energy_and_codec_come_from_the_history() {
        let mut records = records();
        let Record::Start { settings, .. } = &mut records[0] else {
            panic!("another record");
        };
        *settings = serde_json::json!({
            "codec": {"numbers": "int8", "keep": 0.1, "block": 256, "zstd": null}, "error_feedback": true
        });
        let run = FederatedRun::from_records("async", &records).unwrap();
        let codec = run.codec.as_deref();
        assert_eq!(codec, Some("int8, the largest 10%, error feedback"));
        assert_eq!(run.mean_message(), Some(10.0));
        assert_eq!(run.joules_of("g01"), 6.0);
        assert_eq!(run.joules_of("g02"), 0.0);
        assert_eq!(run.joules, 6.0);
    }

    #[test]
    fn a_task_that_outlives_the_run_counts_up_to_its_end() {
        let run = FederatedRun::from_records("async", &records()).unwrap();
        assert_eq!(run.busy("g01"), 1.0);
        assert_eq!(run.busy("g02"), 0.0);
        assert_eq!(run.mean_busy(), Some(0.5));
    }
}
