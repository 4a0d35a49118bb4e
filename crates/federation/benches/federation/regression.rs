//! FLUTE's published case: logistic regression on data of MNIST's shape over a thousand clients.
//!
//! Garcia et al., "FLUTE: A Scalable, Extensible Framework for High-Performance Federated Learning Simulations", arXiv 2203.13789,
//! compares with Flower on it: 1,000 clients, 10 a round, batches of 10, learning rate 0.03, 100 rounds. 60 examples a client (60,000 in
//! all) and one pass over them a task are ours; the data are noise around ten centres, made on the spot.

use std::convert::Infallible;

use fedact_federation::clock::derived_rng;
use fedact_federation::history::Record;
use fedact_federation::simulation::{Assignment, Host, Score, Simulation};
use fedact_federation::strategy::{FedAvg, Strategy};
use rand_distr::{Distribution, StandardNormal};

const CLIENTS: usize = 1_000;
const PER_ROUND: usize = 10;
const ROUNDS: u64 = 100;
const EXAMPLES: usize = 60;
const BATCH: usize = 10;
const RATE: f32 = 0.03;
const FEATURES: usize = 784;
const CLASSES: usize = 10;
const NUMBERS: usize = CLASSES * (FEATURES + 1);

/// Examples in rows of `FEATURES`.
struct Examples {
    features: Vec<f32>,
    classes: Vec<usize>,
}

struct Learners {
    clients: Vec<Examples>,
    test: Examples,
}

fn examples(count: usize, centres: &[f32], purpose: u64) -> Examples {
    let mut rng = derived_rng(5, &[purpose]);
    let mut features = Vec::with_capacity(count * FEATURES);
    let classes: Vec<usize> = (0..count).map(|example| example % CLASSES).collect();
    for class in &classes {
        for centre in &centres[class * FEATURES..][..FEATURES] {
            let normal: f32 = StandardNormal.sample(&mut rng);
            features.push(0.05 * centre + 0.5 * normal);
        }
    }
    Examples { features, classes }
}

/// Shares of the classes for one example; `parameters` are weights by class, then biases.
fn shares(parameters: &[f32], features: &[f32]) -> [f32; CLASSES] {
    let (weights, biases) = parameters.split_at(CLASSES * FEATURES);
    let scores: [f32; CLASSES] = std::array::from_fn(|class| {
        // Sixteen sums side by side, which the processor adds at once.
        let mut sums = [0.0_f32; 16];
        let row = &weights[class * FEATURES..][..FEATURES];
        for (row, features) in row
            .as_chunks::<16>()
            .0
            .iter()
            .zip(features.as_chunks::<16>().0)
        {
            for ((sum, weight), feature) in sums.iter_mut().zip(row).zip(features) {
                *sum += weight * feature;
            }
        }
        sums.iter().sum::<f32>() + biases[class]
    });
    let most = scores.iter().fold(f32::MIN, |most, score| most.max(*score));
    let powers = scores.map(|score| (score - most).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}

impl Host for Learners {
    type Error = Infallible;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        let held = &self.clients[task.client];
        let mut parameters = base.to_vec();
        let batches = held
            .features
            .chunks(BATCH * FEATURES)
            .zip(held.classes.chunks(BATCH));
        for (features, classes) in batches {
            let mut gradient = vec![0.0_f32; NUMBERS];
            for (features, class) in features.chunks(FEATURES).zip(classes) {
                let mut errors = shares(&parameters, features);
                errors[*class] -= 1.0;
                for (class, error) in errors.iter().enumerate() {
                    let row = &mut gradient[class * FEATURES..][..FEATURES];
                    for (sum, feature) in row.iter_mut().zip(features) {
                        *sum += error * feature;
                    }
                    gradient[CLASSES * FEATURES + class] += error;
                }
            }
            for (number, gradient) in parameters.iter_mut().zip(&gradient) {
                *number -= RATE / BATCH as f32 * gradient;
            }
        }
        Ok(parameters)
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Infallible> {
        let (mut right, mut loss) = (0, 0.0);
        for (features, class) in self.test.features.chunks(FEATURES).zip(&self.test.classes) {
            let shares = shares(parameters, features);
            // Of equal shares the first, as NumPy has it.
            let best = (0..CLASSES)
                .rev()
                .max_by(|a, b| shares[*a].total_cmp(&shares[*b]));
            right += usize::from(best == Some(*class));
            loss -= f64::from(shares[*class].max(1e-30).ln());
        }
        let tests = self.test.classes.len() as f64;
        Ok(Score {
            top1: right as f64 / tests,
            loss: loss / tests,
        })
    }

    fn record(&mut self, _: Record) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The run; a line of JSON: seconds by the clock and on the processor without making the data, accuracy before and after.
pub fn run() -> String {
    let mut rng = derived_rng(5, &[0]);
    let centres: Vec<f32> = (0..CLASSES * FEATURES)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let clients = (0..CLIENTS as u64).map(|client| examples(EXAMPLES, &centres, 2 + client));
    let mut host = Learners {
        clients: clients.collect(),
        test: examples(1_000, &centres, 1),
    };
    let start = std::time::Instant::now();
    let processor = super::processor_seconds();
    let strategy = Strategy::FedAvg(FedAvg {
        clients_per_round: Some(PER_ROUND),
        over_selection: 0.0,
        ..FedAvg::default()
    });
    let config = super::config(strategy, CLIENTS, NUMBERS, ROUNDS * PER_ROUND as u64);
    let setting = super::setting(CLIENTS, config.layout.message_bytes());
    let parameters = vec![0.0; NUMBERS];
    let opening = super::start();
    let mut simulation =
        Simulation::begin(config, setting, parameters, opening, &mut host).unwrap();
    let before = simulation.last_score().unwrap();
    while simulation.step(&mut host).unwrap().is_none() {}
    let after = simulation.last_score().unwrap();
    assert_eq!(simulation.aggregator().version(), ROUNDS);
    format!(
        "{{\"rounds\": {ROUNDS}, \"seconds\": {:.3}, \"processor_seconds\": {:.3}, \"top1_before\": {:.4}, \"top1\": {:.4}}}",
        start.elapsed().as_secs_f64(),
        super::processor_seconds() - processor,
        before.top1,
        after.top1
    )
}
