//! The bound earns its word: runs of the real aggregator on the real clock, on problems whose constants are known, stay below it,
//! and what mixes wrongly does not.
// Helpers of tests are outside of test functions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::convert::Infallible;

use fedact_federation::aggregator::Config;
use fedact_federation::bound::{Problem as Known, Schedule, guarantee};
use fedact_federation::clock::{DeviceClock, derived_rng};
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::simulation::{
    Assignment, Host, Participant, Score, Setting, Simulation, Uplink,
};
use fedact_federation::strategy::{AlphaDecay, FedAsync, Mixing, Strategy};
use fedact_federation::vector::mix;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const SEEDS: u64 = 8;
/// Local steps of each client, and how many tasks a second it gets done.
const CLIENTS: [(u64, f64); 4] = [(3, 4.0), (3, 3.0), (2, 2.0), (2, 1.0)];
const PROXIMAL: f64 = 0.1;

/// A problem whose constants follow from its definition.
trait Problem {
    fn start(&self) -> Vec<f32>;
    fn known(&self) -> Known;
    fn gradient(&self, x: &[f32]) -> Vec<f64>;
    fn stochastic_gradient(&self, x: &[f32], rng: &mut ChaCha8Rng) -> Vec<f64>;

    fn squared_gradient(&self, x: &[f32]) -> f64 {
        self.gradient(x).iter().map(|number| number.powi(2)).sum()
    }
}

/// `F(x) = Σ λ_i·x_i² / 2`, gradients with Gaussian noise of variance `NOISE` in all.
///
/// `L` is the largest `λ`. `G`: a step leaves `E‖x‖² ≤ R² = ‖x_0‖²` if it holds before, as long as `γ·NOISE ≤ λ_min·(2 -
/// γ·λ_min)·R²` (the linear part shrinks by `1 - γ·λ_min`, a proximal term being a convex combination, and the noise adds `γ²·NOISE`), and
/// mixing is a convex combination. So `E‖g‖² ≤ L²·R² + NOISE`.
struct Quadratic;

impl Quadratic {
    const DIMENSIONS: usize = 20;
    const NOISE: f64 = 0.04;

    fn curvature(dimension: usize) -> f64 {
        0.5 + 0.5 * dimension as f64 / (Self::DIMENSIONS - 1) as f64
    }
}

impl Problem for Quadratic {
    fn start(&self) -> Vec<f32> {
        vec![(1.0 / Self::DIMENSIONS as f64).sqrt() as f32; Self::DIMENSIONS]
    }

    fn known(&self) -> Known {
        let share = 1.0 / Self::DIMENSIONS as f64;
        Known {
            smoothness: 1.0,
            gradient: (1.0 + Self::NOISE).sqrt(),
            descent: (0..Self::DIMENSIONS)
                .map(|i| Self::curvature(i) / 2.0 * share)
                .sum(),
        }
    }

    fn gradient(&self, x: &[f32]) -> Vec<f64> {
        let entries = x.iter().enumerate();
        entries
            .map(|(i, x)| Self::curvature(i) * f64::from(*x))
            .collect()
    }

    fn stochastic_gradient(&self, x: &[f32], rng: &mut ChaCha8Rng) -> Vec<f64> {
        let deviation = (Self::NOISE / Self::DIMENSIONS as f64).sqrt();
        let mut gradient = self.gradient(x);
        for number in &mut gradient {
            let normal: f64 = StandardNormal.sample(rng);
            *number += deviation * normal;
        }
        gradient
    }
}

/// `f(x; a, b) = ln(1 + exp(-b·a·x)) + WEIGHT·Σ x_i² / (1 + x_i²)` over examples with `‖a‖ = 1`: a logistic loss with a regulariser that
/// makes it non-convex; a gradient is that of one example.
///
/// The loss has gradients of at most `‖a‖` and second derivatives of at most `‖a‖²/4`; `u(x) = x²/(1+x²)` has `|u'| ≤ 3√3/8` (at
/// `x = 1/√3`) and `u''` between -1/2 and 2. `F ≥ 0` and `F(0) = ln 2`.
struct Logistic {
    /// `b·a`.
    examples: Vec<[f64; Self::DIMENSIONS]>,
}

impl Logistic {
    const DIMENSIONS: usize = 10;
    const WEIGHT: f64 = 0.01;

    fn new() -> Self {
        let mut rng = derived_rng(11, &[]);
        let examples = (0..48)
            .map(|_| {
                // Mostly along the first axis, some on its wrong side.
                let side = if rng.random::<f64>() < 0.05 {
                    -6.0
                } else {
                    6.0
                };
                let mut example: [f64; Self::DIMENSIONS] =
                    std::array::from_fn(|_| StandardNormal.sample(&mut rng));
                example[0] += side;
                let norm = example.iter().map(|x| x * x).sum::<f64>().sqrt();
                example.map(|x| x / norm)
            })
            .collect();
        Self { examples }
    }

    fn of_example(example: &[f64; Self::DIMENSIONS], x: &[f32]) -> Vec<f64> {
        let margin: f64 = example.iter().zip(x).map(|(a, x)| a * f64::from(*x)).sum();
        let error = -1.0 / (1.0 + margin.exp());
        let entries = example.iter().zip(x);
        entries
            .map(|(a, x)| {
                let x = f64::from(*x);
                error * a + Self::WEIGHT * 2.0 * x / (1.0 + x * x).powi(2)
            })
            .collect()
    }
}

impl Problem for Logistic {
    fn start(&self) -> Vec<f32> {
        vec![0.0; Self::DIMENSIONS]
    }

    fn known(&self) -> Known {
        let steepest = 3.0 * 3.0_f64.sqrt() / 8.0;
        Known {
            smoothness: 0.25 + 2.0 * Self::WEIGHT,
            gradient: 1.0 + Self::WEIGHT * steepest * (Self::DIMENSIONS as f64).sqrt(),
            descent: 2.0_f64.ln(),
        }
    }

    fn gradient(&self, x: &[f32]) -> Vec<f64> {
        let mut sum = vec![0.0; Self::DIMENSIONS];
        for example in &self.examples {
            for (sum, number) in sum.iter_mut().zip(Self::of_example(example, x)) {
                *sum += number / self.examples.len() as f64;
            }
        }
        sum
    }

    fn stochastic_gradient(&self, x: &[f32], rng: &mut ChaCha8Rng) -> Vec<f64> {
        Self::of_example(&self.examples[rng.random_range(0..self.examples.len())], x)
    }
}

/// Clients that take their steps on the problem, and a history of what happened.
struct Learners<'problem, P> {
    problem: &'problem P,
    learning_rate: f64,
    seed: u64,
    records: Vec<Record>,
}

impl<P: Problem> Learners<'_, P> {
    fn task(&self, client: usize, nth: u64, base: &[f32]) -> Vec<f32> {
        let mut rng = derived_rng(self.seed, &[7, client as u64, nth]);
        let mut x = base.to_vec();
        for _ in 0..CLIENTS[client].0 {
            let gradient = self.problem.stochastic_gradient(&x, &mut rng);
            for ((x, gradient), base) in x.iter_mut().zip(gradient).zip(base) {
                let pull = PROXIMAL * f64::from(*x - base);
                *x = (f64::from(*x) - self.learning_rate * (gradient + pull)) as f32;
            }
        }
        x
    }
}

impl<P: Problem> Host for Learners<'_, P> {
    type Error = Infallible;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        Ok(self.task(task.client, task.nth, base))
    }

    fn evaluate(&mut self, x: &[f32]) -> Result<Score, Infallible> {
        Ok(Score {
            top1: 0.0,
            loss: self.problem.squared_gradient(x),
        })
    }

    fn record(&mut self, record: Record) -> Result<(), Infallible> {
        self.records.push(record);
        Ok(())
    }
}

/// A run of so many versions with these constants; the final model too.
fn run<P: Problem>(
    problem: &P,
    versions: u64,
    (alpha, learning_rate): (f64, f64),
    seed: u64,
    evaluate_every: u64,
) -> (Vec<Record>, Vec<f32>) {
    let start = problem.start();
    let layout = Layout::vector(start.len());
    let mut profile = Catalogue::built_in().profile("laptop").unwrap().clone();
    profile.jitter.value = 0.2;
    let participants = CLIENTS
        .iter()
        .enumerate()
        .map(|(client, (steps, rate))| Participant {
            summary: ClientSummary {
                id: client.to_string(),
                device: "laptop".into(),
                clips: 1,
                clips_per_second: *rate,
            },
            // The clock's seed is not the noise's: all seeds have one schedule, as the expectation of the bound has.
            clock: DeviceClock::new(profile.clone(), *rate, 1, client as u64),
            steps_per_pass: *steps,
            batch_size: 1,
        });
    let setting = Setting {
        participants: participants.collect(),
        evaluate_every_samples: evaluate_every,
        round_deadline_seconds: None,
        target_top1: None,
        samples_per_client_epoch: 1.0,
        bytes_down: layout.message_bytes(),
        uplink: Uplink::default(),
        max_losses_in_a_row: 1000,
    };
    let strategy = Strategy::FedAsync(FedAsync {
        alpha,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    });
    let config = Config {
        max_refusals_in_a_row: 1,
        seed: 1,
        ..Config::unbounded(strategy, [1; CLIENTS.len()], layout, versions)
    };
    let opening = Record::Start {
        strategy: "fedasync".into(),
        mixing: None,
        seed,
        parameters: start.len() as u64,
        model_bytes: 0,
        clients: Vec::new(),
        settings: serde_json::Value::Null,
    };
    let mut host = Learners {
        problem,
        learning_rate,
        seed,
        records: Vec::new(),
    };
    let mut simulation = Simulation::begin(config, setting, start, opening, &mut host).unwrap();
    while simulation.step(&mut host).unwrap().is_none() {}
    let model = simulation.aggregator().parameters().to_vec();
    (host.records, model)
}

/// What the history says that the run did.
fn schedule(records: &[Record], learning_rate: f64) -> Schedule {
    let mut schedule = Schedule::new(learning_rate, PROXIMAL);
    for record in records {
        if let Record::Update {
            client,
            staleness,
            weight,
            ..
        } = record
        {
            schedule.add(
                *weight,
                *staleness,
                CLIENTS[client.parse::<usize>().unwrap()].0,
            );
        }
    }
    schedule
}

/// Constants that fall with `T` as the bound wants them: `α·γ·T` grows with its third root, everything else falls with it.
fn constants(versions: u64) -> (f64, f64) {
    let shrink = (512.0 / versions as f64).cbrt();
    (0.03 * shrink, 0.5 * shrink)
}

/// The least mean over seeds of `‖∇F‖²` at the versions that were looked at, and the bound.
fn measured_and_bound<P: Problem>(problem: &P, versions: u64) -> (f64, f64) {
    let mut means = Vec::new();
    let mut bound = None;
    for seed in 0..SEEDS {
        let (records, _) = run(problem, versions, constants(versions), seed, versions / 256);
        let found = records.iter().filter_map(|record| match record {
            Record::Evaluation { loss, .. } => Some(*loss),
            _ => None,
        });
        for (index, squared) in found.enumerate() {
            if index == means.len() {
                means.push(0.0);
            }
            means[index] += squared / SEEDS as f64;
        }
        let schedule = schedule(&records, constants(versions).1);
        assert_eq!(schedule.versions, versions);
        let terms = guarantee(&problem.known(), &schedule).unwrap();
        assert!(
            *bound.get_or_insert(terms) == terms,
            "one schedule for all seeds"
        );
    }
    let least = means.into_iter().fold(f64::INFINITY, f64::min);
    let bound = bound.unwrap();
    println!(
        "T {versions:6}: measured {least:.5}, bound {:.5}: {bound:?}",
        bound.sum()
    );
    (least, bound.sum())
}

fn the_word_is_kept<P: Problem>(problem: &P) {
    let start = problem.squared_gradient(&problem.start());
    println!("at the start: {start:.5}");
    let runs: Vec<(f64, f64)> = [512, 4096, 32768]
        .map(|t| measured_and_bound(problem, t))
        .into();
    for (measured, bound) in &runs {
        assert!(measured <= bound, "{measured} above {bound}");
    }
    for pair in runs.windows(2) {
        // Eight times T: half the bound, or less as long as its terms of second order count.
        let ratio = pair[1].1 / pair[0].1;
        assert!(ratio < 0.55, "the bound fell to {ratio}");
        assert!(pair[1].0 < pair[0].0, "{} after {}", pair[1].0, pair[0].0);
    }
    // It says something: less than was there at the start.
    assert!(runs[2].1 < 0.8 * start, "{} of {start}", runs[2].1);
}

#[test]
fn gradients_of_a_noisy_quadratic_stay_below_the_bound_and_both_fall_with_t() {
    the_word_is_kept(&Quadratic);
}

#[test]
fn gradients_of_a_non_convex_logistic_loss_stay_below_the_bound_and_both_fall_with_t() {
    the_word_is_kept(&Logistic::new());
}

/// The run again from its history, with another way of mixing. Gives the least squared gradient of all versions and the last model.
fn again<P: Problem>(
    problem: &P,
    records: &[Record],
    learning_rate: f64,
    seed: u64,
    mix: impl Fn(&mut [f32], &[f32], &[f32], f64),
) -> (f64, Vec<f32>) {
    let learners = Learners {
        problem,
        learning_rate,
        seed,
        records: Vec::new(),
    };
    let mut versions = vec![problem.start()];
    let mut given = [0; CLIENTS.len()];
    let mut least = f64::INFINITY;
    for record in records {
        if let Record::Update {
            client,
            base_version,
            weight,
            ..
        } = record
        {
            let client: usize = client.parse().unwrap();
            let base = &versions[*base_version as usize];
            let update = learners.task(client, given[client], base);
            given[client] += 1;
            let mut model = versions[versions.len() - 1].clone();
            mix(&mut model, &update, base, *weight);
            versions.push(model);
        }
    }
    for model in &versions[1..] {
        let squared = problem.squared_gradient(model);
        // A comparison with NaN is false: what has diverged is no minimum.
        if squared < least {
            least = squared;
        }
    }
    let last = versions.pop().unwrap();
    (least, last)
}

#[test]
fn broken_aggregation_breaks_the_bound() {
    const VERSIONS: u64 = 32768;
    let (alpha, learning_rate) = constants(VERSIONS);
    fn check<P: Problem>(problem: &P, (alpha, learning_rate): (f64, f64)) {
        let (records, model) = run(problem, VERSIONS, (alpha, learning_rate), 3, VERSIONS);
        let schedule = schedule(&records, learning_rate);
        let bound = guarantee(&problem.known(), &schedule).unwrap().sum();
        let (least, right) = again(
            problem,
            &records,
            learning_rate,
            3,
            |model, update, _, weight| {
                mix(model, update, weight);
            },
        );
        assert_eq!(
            right, model,
            "mixed rightly, it is the run again, bit for bit"
        );
        assert!(least <= bound);
        // The step away from the update and not towards it.
        let (least, _) = again(
            problem,
            &records,
            learning_rate,
            3,
            |model, update, base, weight| {
                for ((model, update), base) in model.iter_mut().zip(update).zip(base) {
                    *model -= weight as f32 * (update - base);
                }
            },
        );
        assert!(least > bound, "with the sign lost: {least} below {bound}");
    }
    check(&Quadratic, (alpha, learning_rate));
    check(&Logistic::new(), (alpha, learning_rate));
    // Updates are added to the model and not mixed with it.
    let (records, _) = run(&Quadratic, VERSIONS, (alpha, learning_rate), 3, VERSIONS);
    let schedule = schedule(&records, learning_rate);
    let bound = guarantee(&Quadratic.known(), &schedule).unwrap().sum();
    let (least, _) = again(
        &Quadratic,
        &records,
        learning_rate,
        3,
        |model, update, _, weight| {
            for (model, update) in model.iter_mut().zip(update) {
                *model += weight as f32 * update;
            }
        },
    );
    assert!(least > bound, "added: {least} below {bound}");
}
