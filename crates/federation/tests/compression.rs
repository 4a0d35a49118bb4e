//! What compression costs in accuracy: a federated logistic regression without a tensor library, on the clock and through the
//! aggregator of real runs, every update encoded and decoded on its way.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

use std::convert::Infallible;

use fedact_federation::aggregator::Config;
use fedact_federation::clock::{DeviceClock, derived_rng};
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::message::{Channel, Codec, Header, Numbers, apply};
use fedact_federation::simulation::{
    Assignment, Host, Participant, Score, Setting, Simulation, Uplink,
};
use fedact_federation::strategy::{AlphaDecay, FedAsync, Mixing, Strategy};
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

const CLASSES: usize = 6;
const FEATURES: usize = 60;
const CLIENTS: usize = 8;
const EXAMPLES: usize = 60;
const BATCH: usize = 10;
const TASKS: u64 = 240;

type Example = ([f32; FEATURES], usize);

/// Gaussian classes; each client holds mostly two of them.
struct Data {
    held: Vec<Vec<Example>>,
    test: Vec<Example>,
}

fn data(seed: u64) -> Data {
    let mut rng = derived_rng(seed, &[1]);
    let centres: Vec<[f32; FEATURES]> = (0..CLASSES)
        .map(|_| {
            std::array::from_fn(|_| {
                let normal: f32 = StandardNormal.sample(&mut rng);
                0.3 * normal
            })
        })
        .collect();
    let mut draw = |class: usize| -> Example {
        let features = std::array::from_fn(|feature| {
            let normal: f32 = StandardNormal.sample(&mut rng);
            centres[class][feature] + normal
        });
        (features, class)
    };
    let held = (0..CLIENTS)
        .map(|client| {
            (0..EXAMPLES)
                .map(|example| match example % 5 {
                    0 => draw((example / 5) % CLASSES),
                    _ => draw((client + example % 2) % CLASSES),
                })
                .collect()
        })
        .collect();
    let test = (0..1200).map(|example| draw(example % CLASSES)).collect();
    Data { held, test }
}

/// Class scores: weights by class, then biases.
fn scores(parameters: &[f32], features: &[f32; FEATURES]) -> [f32; CLASSES] {
    std::array::from_fn(|class| {
        let weights = &parameters[class * FEATURES..][..FEATURES];
        let products: f32 = weights.iter().zip(features).map(|(w, x)| w * x).sum();
        products + parameters[CLASSES * FEATURES + class]
    })
}

fn softmax(scores: [f32; CLASSES]) -> [f32; CLASSES] {
    let most = scores.iter().fold(f32::MIN, |most, score| most.max(*score));
    let powers = scores.map(|score| (score - most).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}

fn step(parameters: &mut [f32], batch: &[Example], rate: f32) {
    let mut gradient = vec![0.0; parameters.len()];
    for (features, class) in batch {
        let mut error = softmax(scores(parameters, features));
        error[*class] -= 1.0;
        for (class, error) in error.iter().enumerate() {
            let row = &mut gradient[class * FEATURES..][..FEATURES];
            for (sum, feature) in row.iter_mut().zip(features) {
                *sum += error * feature;
            }
            gradient[CLASSES * FEATURES + class] += error;
        }
    }
    for (number, gradient) in parameters.iter_mut().zip(gradient) {
        *number -= rate / batch.len() as f32 * gradient;
    }
}

/// Clients that learn and send what they learned through a codec.
struct Regression<'data> {
    data: &'data Data,
    seed: u64,
    channel: Channel,
    bytes: u64,
}

impl Host for Regression<'_> {
    type Error = Infallible;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        let mut parameters = base.to_vec();
        let mut examples = self.data.held[task.client].clone();
        let mut rng = derived_rng(self.seed, &[2, task.client as u64, task.nth]);
        examples.shuffle(&mut rng);
        for batch in examples.chunks(BATCH) {
            step(
                &mut parameters,
                batch,
                0.05 * (1.0 - 0.9 * task.progress as f32),
            );
        }
        let header = Header {
            run: self.seed,
            task: task.nth,
            client: task.client as u32,
            base_version: task.base_version,
            samples: task.samples,
        };
        let delivery = self.channel.carry(&header, base, &parameters).unwrap();
        self.bytes += delivery.bytes;
        Ok(apply(base, delivery.delta))
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Infallible> {
        let (mut right, mut loss) = (0, 0.0);
        for (features, class) in &self.data.test {
            let shares = softmax(scores(parameters, features));
            let best = (0..CLASSES).max_by(|a, b| shares[*a].total_cmp(&shares[*b]));
            right += usize::from(best == Some(*class));
            loss -= f64::from(shares[*class].max(1e-30).ln());
        }
        let tests = self.data.test.len() as f64;
        Ok(Score {
            top1: right as f64 / tests,
            loss: loss / tests,
        })
    }

    fn record(&mut self, _: Record) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Top-1, loss and bytes of a run of FedAsync on devices of which half are four times as fast as the others.
fn run(data: &Data, codec: &Codec, feedback: bool, seed: u64) -> (f64, f64, u64) {
    let layout = Layout::vector(CLASSES * (FEATURES + 1));
    let profile = Catalogue::built_in().profile("laptop").unwrap().clone();
    let participants: Vec<Participant> = (0..CLIENTS)
        .map(|client| {
            let rate = if client % 2 == 0 { 40.0 } else { 10.0 };
            Participant {
                summary: ClientSummary {
                    id: format!("g{client}"),
                    device: "laptop".into(),
                    clips: EXAMPLES as u64,
                    clips_per_second: rate,
                },
                clock: DeviceClock::new(profile.clone(), rate, seed, client as u64),
                steps_per_pass: (EXAMPLES / BATCH) as u64,
                batch_size: BATCH as u64,
            }
        })
        .collect();
    let samples_per_task = EXAMPLES as u64;
    let strategy = Strategy::FedAsync(FedAsync {
        alpha: 0.5,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    });
    let samples = [samples_per_task; CLIENTS];
    let config = Config {
        max_refusals_in_a_row: 100,
        seed,
        ..Config::unbounded(strategy, samples, layout.clone(), TASKS * samples_per_task)
    };
    let setting = Setting {
        participants,
        evaluate_every_samples: TASKS * samples_per_task,
        round_deadline_seconds: None,
        target_top1: None,
        samples_per_client_epoch: samples_per_task as f64,
        bytes_down: layout.message_bytes(),
        uplink: Uplink::default(),
        max_losses_in_a_row: 1000,
    };
    let mut host = Regression {
        data,
        seed,
        channel: Channel::new(&layout, codec.clone(), feedback, seed).unwrap(),
        bytes: 0,
    };
    let start = Record::Start {
        strategy: "fedasync".into(),
        mixing: None,
        seed,
        parameters: layout.len() as u64,
        model_bytes: layout.message_bytes(),
        clients: Vec::new(),
        settings: serde_json::Value::Null,
    };
    let parameters = vec![0.0; layout.len()];
    let mut simulation = Simulation::begin(config, setting, parameters, start, &mut host).unwrap();
    while simulation.step(&mut host).unwrap().is_none() {}
    let score = simulation.last_score().unwrap();
    (score.top1, score.loss, host.bytes)
}

/// Means over seeds, each with data of its own: accuracy, loss, kilobytes.
fn mean(codec: &Codec, feedback: bool) -> (f64, f64, f64) {
    const SEEDS: u64 = 5;
    let mut sums = (0.0, 0.0, 0.0);
    for seed in 0..SEEDS {
        let (top1, loss, bytes) = run(&data(seed), codec, feedback, seed);
        sums.0 += top1 / SEEDS as f64;
        sums.1 += loss / SEEDS as f64;
        sums.2 += bytes as f64 / 1e3 / SEEDS as f64;
    }
    sums
}

#[test]
fn compressed_updates_with_feedback_learn_as_well_as_exact_ones_and_without_it_less() {
    let exact = Codec::default();
    let half = Codec {
        numbers: Numbers::Fp16,
        zstd: Some(3),
        ..exact.clone()
    };
    let int8 = Codec {
        numbers: Numbers::Int8,
        zstd: Some(3),
        ..exact.clone()
    };
    let tenth = Codec {
        keep: Some(0.1),
        zstd: Some(3),
        ..exact.clone()
    };
    let fiftieth = Codec {
        numbers: Numbers::Int8,
        keep: Some(0.02),
        ..exact.clone()
    };
    let (top1, loss, kilobytes) = mean(&exact, false);
    let row = |name: &str, (top1, loss, kilobytes): (f64, f64, f64)| {
        println!(
            "{name:<28} top-1 {:5.1}%  loss {loss:.4}  {kilobytes:7.1} kB",
            100.0 * top1
        );
        (top1, loss, kilobytes)
    };
    row("fp32", (top1, loss, kilobytes));
    for (name, codec, times) in [
        ("fp16", &half, 1.7),
        ("int8", &int8, 3.0),
        ("top 10%", &tenth, 5.0),
    ] {
        let (found, found_loss, found_kilobytes) = row(name, mean(codec, true));
        assert!(found > top1 - 0.01, "{name}: {found} for {top1}");
        assert!(
            (found_loss - loss).abs() < 0.03,
            "{name}: {found_loss} for {loss}"
        );
        assert!(
            found_kilobytes * times < kilobytes,
            "{name}: {found_kilobytes}"
        );
    }
    // 7 numbers of 366 in a message: here it shows what feedback is for.
    let (with, with_loss, _) = row("top 2% in int8", mean(&fiftieth, true));
    let (without, without_loss, _) = row("top 2% in int8, no feedback", mean(&fiftieth, false));
    assert!(with > top1 - 0.03, "{with} for {top1}");
    assert!(
        without < with && without_loss > with_loss + 0.02,
        "{without} for {with}"
    );
    assert_eq!(run(&data(9), &int8, true, 9), run(&data(9), &int8, true, 9));
}
