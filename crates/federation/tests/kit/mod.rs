//! What whole runs are tried with: devices, rules, every strategy, and a problem that needs no tensor library.
#![allow(dead_code, clippy::unwrap_used)] // each test program uses a part; helpers are outside of test functions

use std::collections::BTreeMap;
use std::convert::Infallible;

use fedact_federation::aggregator::Config;
use fedact_federation::clock::{DeviceClock, derived_rng};
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::simulation::{
    Assignment, Host, Participant, Score, Setting, Simulation, Training, Uplink,
};
use fedact_federation::strategy::{
    AlphaDecay, Cached, Calibration, Combination, FedAsync, FedAvg, FedBuff, FedCompass, Mixing,
    Moments, Privacy, ServerOptimizer, ServerStep, Strategy, UpdateWeights,
};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Clips of every client.
pub const CLIPS: u64 = 12;

/// Half the devices are four times as fast as the other half.
pub const FOUR_TO_ONE: [f64; 8] = [4.0, 4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0];

/// One client for each rate, in clips a second, on a laptop's network.
pub fn participants(rates: &[f64], jitter: f64, seed: u64) -> Vec<Participant> {
    let mut profile = Catalogue::built_in().profile("laptop").unwrap().clone();
    profile.jitter.value = jitter;
    rates
        .iter()
        .enumerate()
        .map(|(client, rate)| Participant {
            summary: ClientSummary {
                id: format!("g{client:02}"),
                device: "laptop".into(),
                clips: CLIPS,
                clips_per_second: *rate,
            },
            clock: DeviceClock::new(profile.clone(), *rate, seed, client as u64),
            steps_per_pass: 3,
            batch_size: CLIPS.div_ceil(3),
        })
        .collect()
}

/// Rules without bounds for a model of so many numbers.
pub fn rules(
    strategy: Strategy,
    participants: Vec<Participant>,
    client_epochs: u64,
    parameters: usize,
) -> (Config, Setting) {
    let layout = Layout::vector(parameters);
    let bytes = layout.message_bytes();
    let samples = vec![CLIPS; participants.len()];
    let config = Config {
        max_refusals_in_a_row: 1000,
        seed: 5,
        ..Config::unbounded(strategy, samples, layout, client_epochs * CLIPS)
    };
    let setting = Setting {
        participants,
        evaluate_every_samples: 8 * CLIPS,
        round_deadline_seconds: None,
        target_top1: None,
        samples_per_client_epoch: CLIPS as f64,
        bytes_down: bytes,
        uplink: Uplink::default(),
        max_losses_in_a_row: 1000,
    };
    (config, setting)
}

/// The first line of a history.
pub fn start() -> Record {
    Record::Start {
        strategy: "test".into(),
        mixing: None,
        seed: 5,
        parameters: 4,
        model_bytes: 80,
        clients: Vec::new(),
        settings: serde_json::Value::Null,
    }
}

/// A run from its start to its end, from zeros.
pub fn run<H: Host<Error = Infallible>>(
    (config, setting): (Config, Setting),
    host: &mut H,
) -> Simulation {
    let parameters = vec![0.0; config.layout.len()];
    let mut simulation = Simulation::begin(config, setting, parameters, start(), host).unwrap();
    while simulation.step(host).unwrap().is_none() {}
    simulation
}

/// FedAsync with the published constants.
pub fn fedasync() -> Strategy {
    Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    })
}

/// FedAvg with this step.
pub fn fedavg(step: ServerStep) -> Strategy {
    Strategy::FedAvg(FedAvg {
        step,
        ..FedAvg::default()
    })
}

/// FedBuff with this step.
pub fn fedbuff(size: usize, step: ServerStep) -> Strategy {
    Strategy::FedBuff(FedBuff {
        size,
        step,
        ..FedBuff::default()
    })
}

/// FedBuff whose changes count by these weights and not by their staleness.
pub fn weighted(size: usize, update_weights: UpdateWeights) -> Strategy {
    Strategy::FedBuff(FedBuff {
        size,
        staleness_exponent: 0.0,
        update_weights,
        ..FedBuff::default()
    })
}

/// CA2FL or ACE at this learning rate.
pub fn cached(calibration: Calibration, size: usize, learning_rate: f64) -> Strategy {
    Strategy::Cached(Cached {
        calibration,
        size,
        max_staleness: None,
        optimizer: ServerOptimizer::Sgd {
            look_ahead: 0.0,
            learning_rate,
            momentum: 0.0,
        },
    })
}

/// A step with this rule.
pub fn with(combination: Combination) -> ServerStep {
    ServerStep {
        combination,
        ..ServerStep::default()
    }
}

/// A step with this optimizer.
pub fn by(optimizer: ServerOptimizer) -> ServerStep {
    ServerStep {
        optimizer,
        ..ServerStep::default()
    }
}

/// Every strategy and every part of one that remembers something.
pub fn every_strategy() -> Vec<(&'static str, Strategy)> {
    let adam = ServerOptimizer::Adam(Moments {
        learning_rate: 0.03,
        ..Moments::default()
    });
    let yogi = ServerOptimizer::Yogi(Moments {
        learning_rate: 0.03,
        ..Moments::default()
    });
    let fadas = ServerOptimizer::Fadas {
        learning_rate: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
        delay_threshold: 2,
    };
    let momentum = ServerOptimizer::Sgd {
        look_ahead: 0.0,
        learning_rate: 0.5,
        momentum: 0.5,
    };
    let private = ServerStep {
        privacy: Some(Privacy {
            clip: 1.0,
            noise: 0.05,
            delta: 1e-5,
        }),
        ..ServerStep::default()
    };
    let trimmed = with(Combination::TrimmedMean { share: 0.25 });
    let krum = with(Combination::Krum { bad: 1, keep: 3 });
    vec![
        ("fedasync", fedasync()),
        ("fedavg", fedavg(ServerStep::default())),
        ("fedavg, adam", fedavg(by(adam))),
        ("fedavg, trimmed mean", fedavg(trimmed)),
        ("fedavg, private", fedavg(private)),
        ("fedbuff", fedbuff(4, ServerStep::default())),
        ("fedbuff, momentum", fedbuff(4, by(momentum))),
        ("fedbuff, yogi", fedbuff(4, by(yogi))),
        ("fedbuff, median", fedbuff(5, with(Combination::Median))),
        ("fedbuff, krum", fedbuff(6, krum)),
        ("fedbuff, private", fedbuff(4, private)),
        ("fedbuff, by clips", weighted(4, UpdateWeights::Clips)),
        ("fedbuff, by share", weighted(4, UpdateWeights::Share)),
        ("fadas", fedbuff(4, by(fadas))),
        ("ca2fl", cached(Calibration::Ca2fl, 4, 1.0)),
        ("ace", cached(Calibration::Ace, 1, 0.25)),
        ("fedcompass", Strategy::FedCompass(FedCompass::default())),
    ]
}

/// How a client spoils its updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// In turn: not a number, numbers near 1e30, the change turned round, a row too long.
    Everything,
    /// The change turned round, three times as long.
    Flip,
}

/// Numbers of a clip that logistic regression sees.
const FEATURES: usize = 8;

/// Parameters of the problem: weights and a bias.
pub const LOGISTIC: usize = FEATURES + 1;

/// Logistic regression on two Gaussian clouds; each client has its own clips and more of one class than of the
/// other. Local training is plain SGD, one clip a step.
pub struct Logistic {
    clients: Vec<Vec<([f64; FEATURES], bool)>>,
    test: Vec<([f64; FEATURES], bool)>,
    attacks: BTreeMap<usize, Attack>,
    workers: usize,
    /// How many tasks were trained.
    pub trained: usize,
    /// How many of them at most side by side.
    pub largest_batch: usize,
    /// What was recorded.
    pub records: Vec<Record>,
}

impl Logistic {
    /// A problem that follows from its seed.
    pub fn new(clients: usize, seed: u64) -> Self {
        let mut rng = derived_rng(seed, &[77]);
        let mut clip = |share: f64| {
            let label = rng.random::<f64>() < share;
            let side = if label { 0.55 } else { -0.55 };
            let features = std::array::from_fn(|_| {
                let noise: f64 = StandardNormal.sample(&mut rng);
                side + noise
            });
            (features, label)
        };
        let mut data: Vec<Vec<_>> = (0..clients)
            .map(|client| {
                let share = if client % 2 == 0 { 0.75 } else { 0.25 };
                (0..CLIPS).map(|_| clip(share)).collect()
            })
            .collect();
        // What the centre trains on; in turn one of each client's, as a shuffled order would have them.
        let pooled = |place: usize| data[place % clients][place / clients];
        let all = (0..clients * CLIPS as usize).map(pooled).collect();
        data.push(all);
        Self {
            clients: data,
            test: (0..1000).map(|_| clip(0.5)).collect(),
            attacks: BTreeMap::new(),
            workers: 1,
            trained: 0,
            largest_batch: 0,
            records: Vec::new(),
        }
    }

    /// The same with some clients that spoil what they send.
    pub fn attacked(mut self, attacks: &[(usize, Attack)]) -> Self {
        self.attacks = attacks.iter().copied().collect();
        self
    }

    /// The same with so many threads that train side by side.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    fn result(&self, task: &Assignment, base: &[f32]) -> Vec<f32> {
        let clips = &self.clients[task.client];
        let mut parameters: Vec<f64> = base.iter().map(|number| f64::from(*number)).collect();
        for sample in task.samples_before..task.samples_before + task.samples {
            let (features, label) = &clips[sample as usize % clips.len()];
            let slope = probability(&parameters, features) - f64::from(u8::from(*label));
            for (number, feature) in parameters.iter_mut().zip(features) {
                *number -= 0.03 * slope * feature;
            }
            parameters[FEATURES] -= 0.03 * slope;
        }
        let trained = parameters.iter().map(|number| *number as f32);
        let turned = |length: f32| {
            let pairs = base.iter().zip(trained.clone());
            pairs
                .map(|(base, new)| base - length * (new - base))
                .collect()
        };
        match self.attacks.get(&task.client) {
            None => trained.collect(),
            Some(Attack::Flip) => turned(3.0),
            Some(Attack::Everything) => match task.nth % 4 {
                0 => vec![f32::NAN; base.len()],
                1 => (0..base.len())
                    .map(|place| if place % 2 == 0 { 1e30 } else { -1e30 })
                    .collect(),
                2 => turned(3.0),
                _ => vec![0.0; base.len() + 1],
            },
        }
    }
}

fn probability(parameters: &[f64], features: &[f64; FEATURES]) -> f64 {
    let dot: f64 = parameters.iter().zip(features).map(|(a, b)| a * b).sum();
    1.0 / (1.0 + (-(dot + parameters[FEATURES])).exp())
}

impl Host for Logistic {
    type Error = Infallible;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        let task = Training {
            assignment: task,
            base,
        };
        let mut results = self.train_together(&[task])?;
        Ok(results.remove(0))
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn train_together(&mut self, tasks: &[Training<'_>]) -> Result<Vec<Vec<f32>>, Infallible> {
        assert!(tasks.len() <= self.workers, "{} tasks", tasks.len());
        self.trained += tasks.len();
        self.largest_batch = self.largest_batch.max(tasks.len());
        if let [task] = tasks {
            return Ok(vec![self.result(task.assignment, task.base)]);
        }
        let problem = &*self;
        Ok(std::thread::scope(|scope| {
            let started: Vec<_> = tasks
                .iter()
                .map(|task| scope.spawn(|| problem.result(task.assignment, task.base)))
                .collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        }))
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Infallible> {
        let parameters: Vec<f64> = parameters.iter().map(|number| f64::from(*number)).collect();
        let (mut right, mut loss) = (0, 0.0);
        for (features, label) in &self.test {
            let probability = probability(&parameters, features);
            right += usize::from((probability > 0.5) == *label);
            let of_label = if *label {
                probability
            } else {
                1.0 - probability
            };
            loss -= of_label.max(1e-12).ln();
        }
        let count = self.test.len() as f64;
        Ok(Score {
            top1: right as f64 / count,
            loss: loss / count,
        })
    }

    fn record(&mut self, record: Record) -> Result<(), Infallible> {
        self.records.push(record);
        Ok(())
    }
}
