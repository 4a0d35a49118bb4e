//! Params of the stage `federate`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-federate`, one folder up.

mod definition;
pub mod fleet;
mod shares;
mod strategy;
mod transport;

use std::collections::BTreeMap;

use fedact_federation::device::{Catalogue, DeviceProfile};
use fedact_federation::message::Codec;
use fedact_federation::partition::Partition;
use fedact_federation::strategy::{
    AlphaDecay, Combination, FedBuff, Mixing, Privacy, ServerOptimizer, UpdateWeights,
};
use fedact_federation::task_length::TaskLength;
use fedact_federation::validation::NormBound;
use fedact_recipe::{Augmentation, Execution};
use fedact_stage::{OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;
pub use strategy::{Allotment, StrategyKind};
pub use transport::{FleetParams, Transport};

/// Which device each client runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Devices {
    /// Profile names, given to the clients in turn and from the start again.
    InTurn(Vec<String>),
    /// How many clients run on each profile; the counts add up to `clients`.
    Counts(BTreeMap<String, usize>),
}

impl Devices {
    /// The profile name of each of `clients` clients.
    pub fn of(&self, clients: usize) -> Vec<String> {
        match self {
            Self::InTurn(names) => names.iter().cycle().take(clients).cloned().collect(),
            Self::Counts(counts) => counts
                .iter()
                .flat_map(|(name, count)| std::iter::repeat_n(name.clone(), *count))
                .take(clients)
                .collect(),
        }
    }

    fn names(&self) -> Vec<&String> {
        match self {
            Self::InTurn(names) => names.iter().collect(),
            Self::Counts(counts) => counts.keys().collect(),
        }
    }
}

/// How much work a run may do; equal budgets are equal work under every strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Client-epochs, one being a mean client's pass over its clips. Rounded up to whole rounds of
    /// all clients, so that the strategies process the same number of clips.
    pub client_epochs: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { client_epochs: 96 }
    }
}

/// Params of stage `federate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FederateParams {
    /// `fedasync`, `fedavg`, `fedbuff`, `fadas`, `ca2fl`, `ace`, `fedcompass` or `central`.
    pub strategy: StrategyKind,
    /// `fedasync`: how staleness lowers an update's weight.
    pub mixing: Mixing,
    /// `fedasync`: weight of a fresh update, above 0 and at most 1.
    pub alpha: f64,
    /// `fedasync`: versions at which `alpha` falls.
    pub alpha_decay: AlphaDecay,
    /// Updates staler than this are refused, under every strategy but `fedavg`; null: none.
    pub max_staleness: Option<u64>,
    /// `fedbuff`, `fadas`, `ca2fl`, `ace`: updates that make a version; null: 1 for `ace`, else 4.
    pub buffer_size: Option<usize>,
    /// `fedbuff`, `fedcompass`: an update counts `(1 + staleness)^(-this)`; 0: staleness is not weighed.
    pub staleness_exponent: f64,
    /// `fedbuff`, `fadas`: what an update counts for beside its staleness: `equal`, as much as any other; `clips`, by those
    /// that it was trained on; `share`, by its client's share of all clips and for all the work since the client's last update, so
    /// that clients count as in `fedavg`, however seldom they send.
    pub update_weights: UpdateWeights,
    /// The server's optimizer, under every strategy but `fedasync`: `sgd`, `adam`, `yogi` or `fadas`; null:
    /// plain averaging, at a fifth of its length for `ace`, and `fadas` for itself.
    pub server: Option<ServerOptimizer>,
    /// The model that is tested and saved is an average of the server's versions in which the last of them, this share, count
    /// most (1: all alike); clients train from the last version as ever. Null: the last version. The centre has none.
    pub average_last: Option<f64>,
    /// `fedavg`, `fedbuff`, `fadas`: how updates are combined; all but `mean` withstand some bad ones.
    pub combination: Combination,
    /// `fedavg`, `fedbuff`, `fadas`: clipping and noise, so that the models tell little of any one client;
    /// null: none.
    pub privacy: Option<Privacy>,
    /// `fedcompass`: how work is allotted.
    pub allotment: Allotment,
    /// Weight of the proximal term `(rho/2)·‖x - x_t‖²` in the clients' objective; null: 0.005 for
    /// `fedasync` and 0 for all others; a value turns `fedavg` into FedProx. The centre has none.
    pub rho: Option<f64>,
    /// `fedavg`: answers that make a round; null: those of all clients.
    pub clients_per_round: Option<usize>,
    /// All other strategies with clients but `fedcompass`: no more of them than these work at a time, those first that have worked
    /// the shortest time; null: all. Fewer make fresher updates, and take longer.
    pub concurrency: Option<usize>,
    /// `fedavg`: how many more clients are asked than are waited for, as a share.
    pub over_selection: f64,
    /// `fedavg`: virtual seconds after which a round closes with what it has; null: never.
    pub round_deadline_seconds: Option<f64>,
    /// Updates that go further than this are refused; null: none. How far an update goes is the Euclidean norm
    /// of its change or, under `fedasync`, its distance from the server's model.
    pub max_update_norm: Option<f64>,
    /// A bound on the same norm that follows the running median of the clients' norms; null: none.
    pub norm_bound: Option<NormBound>,
    /// `fedavg`, `fedcompass`, and `fedbuff` by `update_weights`: no update counts for more clips than this; null: no cap.
    pub max_samples: Option<u64>,
    /// How a client's change becomes the bytes that it sends: `numbers` (`fp32`, `fp16`, `int8`), the share of them
    /// to `keep`, `zstd`.
    pub codec: Codec,
    /// Whether a client adds what the codec left out of one message to its next.
    pub error_feedback: bool,
    /// A device gives up a task that takes longer than this, in virtual seconds; null: never.
    pub task_deadline_seconds: Option<f64>,
    /// Where the clients are: in a `simulation`, or devices of a fleet (`nats`). A fleet's clients are those of its roster, each
    /// with its own clips: `partition`, `clients`, `devices`, `profiles`, `task_deadline_seconds` and `workers` are then
    /// without effect, and seconds are real ones.
    pub transport: Transport,
    /// `nats`: how the devices are asked to work.
    pub fleet: FleetParams,
    /// How the clips of the train split are spread over the clients: `{by: subject}`; `{by: labels, beta}` or
    /// `{by: quantity, beta}`, uneven by a Dirichlet distribution; `{by: even}`.
    pub partition: Partition,
    /// How many clients there are; fewer subjects make fewer clients.
    pub clients: usize,
    /// A list of device profiles, given to the clients in turn, or a map from profile to count.
    pub devices: Devices,
    /// Device profiles of your own; one of a built-in name replaces it.
    pub profiles: BTreeMap<String, DeviceProfile>,
    /// Passes over its clips that a client makes in one task. With other than whole numbers a task has the nearest number of whole
    /// steps, and the next goes on in the clips where it ended: short tasks make more versions of the same work.
    pub local_epochs: f64,
    /// Clips in a step of stochastic gradient descent.
    pub batch_size: usize,
    /// Learning rate at the start of the run.
    pub learning_rate: f64,
    /// Share of `learning_rate` that is left at the end of the budget; it falls along a cosine, and a
    /// task keeps the rate that it was given out with. 1: constant.
    pub final_learning_rate: f64,
    /// Momentum within a task; the centre carries it through the run.
    pub momentum: f64,
    /// L2 penalty on weights; biases have none.
    pub weight_decay: f64,
    /// Largest norm of a step's gradient; longer ones are scaled down. 0: no limit.
    pub clip_gradient: f64,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f64,
    /// Random views of the clips.
    pub augmentation: Augmentation,
    /// When the run ends.
    pub budget: Budget,
    /// The run ends sooner, when a test finds so large a share of right answers; null: it does not. The test
    /// split decides, so what it then says of the model is a little too good.
    pub target_top1: Option<f64>,
    /// Client-epochs between two evaluations on the test split. At the centre: rounded to passes over
    /// all clips.
    pub evaluate_every: u64,
    /// `simulated`: clients train with the rounding of int8; `float`: without. Tests are always
    /// with it.
    pub execution: Execution,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// Threads that libtorch computes with in each network; the last bits of the result depend on it.
    pub threads: usize,
    /// Clients that are trained side by side on this machine, each by a network of its own: as many as have a task at the
    /// same virtual time. The result does not depend on it.
    pub workers: usize,
    /// What everything random derives from.
    pub seed: u64,
}

impl Default for FederateParams {
    fn default() -> Self {
        Self {
            strategy: StrategyKind::Fedasync,
            mixing: Mixing::default(),
            alpha: 0.6,
            alpha_decay: AlphaDecay::default(),
            max_staleness: None,
            buffer_size: None,
            staleness_exponent: FedBuff::default().staleness_exponent,
            update_weights: UpdateWeights::default(),
            server: None,
            average_last: None,
            combination: Combination::default(),
            privacy: None,
            allotment: Allotment::default(),
            rho: None,
            clients_per_round: None,
            concurrency: None,
            over_selection: 0.0,
            round_deadline_seconds: None,
            max_update_norm: None,
            norm_bound: None,
            max_samples: None,
            codec: Codec::default(),
            error_feedback: true,
            task_deadline_seconds: None,
            transport: Transport::default(),
            fleet: FleetParams::default(),
            partition: Partition::default(),
            clients: 8,
            devices: Devices::InTurn(
                [
                    "raspberry-pi-4",
                    "jetson-nano",
                    "jetson-xavier-nx",
                    "jetson-agx-xavier",
                ]
                .map(str::to_owned)
                .to_vec(),
            ),
            profiles: BTreeMap::new(),
            local_epochs: 2.0,
            batch_size: 8,
            learning_rate: 0.02,
            final_learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            clip_gradient: 5.0,
            label_smoothing: 0.0,
            augmentation: Augmentation::default(),
            budget: Budget::default(),
            target_top1: None,
            evaluate_every: 8,
            execution: Execution::default(),
            checkpoint_every: 8,
            threads: 2,
            workers: 1,
            seed: 0,
        }
    }
}

impl FederateParams {
    /// The weight of the proximal term under this strategy.
    pub fn proximal_weight(&self) -> f64 {
        match self.strategy {
            StrategyKind::Fedasync => self.rho.unwrap_or(0.005),
            StrategyKind::Central => 0.0,
            _ => self.rho.unwrap_or(0.0),
        }
    }

    /// The learning rate of a task given out when `progress` (0 to 1) of the budget was spent.
    pub fn learning_rate_at(&self, progress: f64) -> f64 {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let last = self.final_learning_rate;
        self.learning_rate * (last + (1.0 - last) * cosine)
    }

    /// How long a client's task is.
    pub fn task_length(&self) -> TaskLength {
        TaskLength {
            passes: self.local_epochs,
            batch_size: self.batch_size as u64,
        }
    }

    fn check_devices(&self) -> Result<(), OutOfRange> {
        let names = self.devices.names();
        OutOfRange::unless(
            !names.is_empty(),
            "devices",
            "empty",
            "at least one profile",
        )?;
        if let Devices::Counts(counts) = &self.devices {
            let sum: usize = counts.values().sum();
            let expected = format!("counts that add up to `clients`, {}", self.clients);
            OutOfRange::unless(sum == self.clients, "devices", sum, &expected)?;
        }
        for (name, profile) in &self.profiles {
            if let Some((key, value, expected)) = profile.fault() {
                let key = format!("profiles.{name}.{key}");
                return OutOfRange::unless(false, &key, value, expected);
            }
        }
        let catalogue = Catalogue::built_in().with(&self.profiles);
        for name in names {
            let known: Vec<&str> = catalogue.profiles.keys().map(String::as_str).collect();
            let expected = format!("one of {}, or described under `profiles`", known.join(", "));
            OutOfRange::unless(catalogue.profile(name).is_ok(), "devices", name, &expected)?;
        }
        Ok(())
    }
}

impl Params for FederateParams {
    fn check(&self) -> Result<(), OutOfRange> {
        self.check_strategy()?;
        self.check_transport()?;
        let fits = (1..=100_000).contains(&self.clients);
        OutOfRange::unless(fits, "clients", self.clients, "between 1 and 100000")?;
        self.check_devices()?;
        if let Some((key, value, expected)) = self.codec.fault() {
            return OutOfRange::unless(false, &format!("codec.{key}"), value, expected);
        }
        if let Some(beta) = self.partition.beta() {
            let fits = (1e-3..=1e6).contains(&beta);
            OutOfRange::unless(fits, "partition.beta", beta, "between 0.001 and 1000000")?;
        }
        if let Some(seconds) = self.task_deadline_seconds {
            let fits = seconds.is_finite() && seconds > 0.0;
            let expected = "a finite number above 0";
            OutOfRange::unless(fits, "task_deadline_seconds", seconds, expected)?;
        }
        for (key, value, most) in [
            ("batch_size", self.batch_size as u64, 4096),
            (
                "budget.client_epochs",
                self.budget.client_epochs,
                1_000_000_000,
            ),
            ("evaluate_every", self.evaluate_every, 1_000_000_000),
            ("checkpoint_every", self.checkpoint_every, 1_000_000_000),
            ("threads", self.threads as u64, 1024),
            ("workers", self.workers as u64, 1024),
        ] {
            let fits = (1..=most).contains(&value);
            OutOfRange::unless(fits, key, value, &format!("between 1 and {most}"))?;
        }
        let epochs = self.local_epochs;
        let fits = epochs > 0.0 && epochs <= 1000.0;
        OutOfRange::unless(fits, "local_epochs", epochs, "above 0 and at most 1000")?;
        let rate = self.learning_rate;
        let fits = rate > 0.0 && rate <= 10.0;
        OutOfRange::unless(fits, "learning_rate", rate, "above 0 and at most 10")?;
        for (key, share) in [
            ("final_learning_rate", self.final_learning_rate),
            ("weight_decay", self.weight_decay),
        ] {
            OutOfRange::unless((0.0..=1.0).contains(&share), key, share, "between 0 and 1")?;
        }
        for (key, share) in [
            ("momentum", self.momentum),
            ("label_smoothing", self.label_smoothing),
        ] {
            let fits = (0.0..1.0).contains(&share);
            OutOfRange::unless(fits, key, share, "at least 0 and below 1")?;
        }
        let clip = self.clip_gradient;
        let fits = clip.is_finite() && clip >= 0.0;
        OutOfRange::unless(fits, "clip_gradient", clip, "a finite number, 0 or more")?;
        self.augmentation
            .check()
            .map_err(|refusal| refusal.within("augmentation"))
    }
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check_and_survive_resolving() {
        let resolved = resolve::<FederateParams>(&json!({})).unwrap();
        let params: FederateParams = serde_json::from_value(resolved).unwrap();
        assert_eq!(params, FederateParams::default());
        assert_eq!(params.devices.of(8).len(), 8);
        assert_eq!(params.devices.of(8)[0], params.devices.of(8)[4]);
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (given, message) in [
            (
                json!({"alpha": 0}),
                "`alpha` is 0, but must be above 0 and at most 1",
            ),
            (
                json!({"codec": {"keep": 1.5}}),
                "`codec.keep` is 1.5, but must be above 0 and at most 1",
            ),
            (
                json!({"partition": {"by": "labels", "beta": 0}}),
                "`partition.beta` is 0, but must be between 0.001 and 1000000",
            ),
            (
                json!({"task_deadline_seconds": 0}),
                "`task_deadline_seconds` is 0, but must be a finite number above 0",
            ),
            (
                json!({"devices": ["jetson-nanny"]}),
                "`devices` is jetson-nanny, but must be one of jetson-agx-xavier",
            ),
            (
                json!({"clients": 8, "devices": {"phone": 4, "laptop": 2}}),
                "`devices` is 6, but must be counts that add up to `clients`, 8",
            ),
            (
                json!({"mixing": {"kind": "hinge", "b": -1}}),
                "`mixing.b` is -1",
            ),
            (
                json!({"server": {"kind": "sgd", "look_ahead": -1}}),
                "`server.look_ahead` is -1, but must be between 0 and 1000",
            ),
            (
                json!({"local_epochs": 0}),
                "`local_epochs` is 0, but must be above 0 and at most 1000",
            ),
            (
                json!({"budget": {"client_epochs": 0}}),
                "`budget.client_epochs` is 0",
            ),
            (
                json!({"augmentation": {"flip": 2}}),
                "`augmentation.flip` is 2",
            ),
        ] {
            let error = resolve::<FederateParams>(&given).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_device_of_ones_own_can_be_described() {
        let figure = |value: f64| json!({"value": value, "source": "measured"});
        let profile = json!({
            "training_clips_per_second": figure(3.0),
            "inference_clips_per_second": figure(9.0),
            "down_megabits_per_second": figure(10.0),
            "up_megabits_per_second": figure(5.0),
            "latency_seconds": figure(0.1),
            "memory_gigabytes": figure(1.0),
            "watts": figure(2.0),
            "jitter": figure(0.1),
        });
        let given = json!({"devices": ["camera"], "profiles": {"camera": profile}});
        resolve::<FederateParams>(&given).unwrap();
        let mut broken = given;
        broken["profiles"]["camera"]["watts"]["value"] = json!(0);
        let error = resolve::<FederateParams>(&broken).unwrap_err();
        assert_eq!(error.key(), "profiles.camera.watts");
    }

    #[test]
    fn the_learning_rate_falls_along_a_cosine() {
        let params = FederateParams {
            learning_rate: 1.0,
            final_learning_rate: 0.2,
            ..FederateParams::default()
        };
        assert!((params.learning_rate_at(0.0) - 1.0).abs() < 1e-12);
        assert!((params.learning_rate_at(0.5) - 0.6).abs() < 1e-12);
        assert!((params.learning_rate_at(1.0) - 0.2).abs() < 1e-12);
    }
}
