//! What the server costs: many clients, large updates, messages; and a published case to be run beside Flower.
//!
//! ```text
//! cargo bench --workspace --bench federation --profile dev                 all tables
//! cargo bench --workspace --bench federation --profile dev -- regression   FLUTE's case alone, as JSON
//! ```
//!
//! Each measurement is a process of its own, so that its memory is its own. `CPU` is the time that its one thread was on a processor: on a machine with
//! other work it is what can be compared.

#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that fails has nothing to tell"
)]

mod regression;

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use fedact_federation::aggregator::{Aggregator, Config, Contents, Event, Update};
use fedact_federation::clock::{DeviceClock, derived_rng};
use fedact_federation::device::Catalogue;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::message::{Codec, Decoder, Encoder, Header, Numbers, apply};
use fedact_federation::simulation::{
    Assignment, Host, Participant, Score, Setting, Simulation, Uplink,
};
use fedact_federation::strategy::{AlphaDecay, FedAsync, FedAvg, Mixing, Strategy};
use rand_distr::{Distribution, StandardNormal};

/// Numbers of a megabyte of fp32.
const MEGABYTE: usize = 250_000;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // `cargo test --benches` only wants to know that it starts.
        ["--test", ..] => {}
        ["rounds", clients, asked] => rounds(clients.parse().unwrap(), asked.parse().unwrap()),
        ["aggregate", strategy] => aggregate(strategy),
        ["message", row] => message(row.parse().unwrap()),
        ["copy"] => copy(),
        ["regression"] => println!("{}", regression::run()),
        _ => tables(),
    }
}

/// Every table, each row by a process.
fn tables() {
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "3 rounds, no training, 0.1 MB", "wall s", "CPU s", "peak MB"
    );
    for (clients, asked) in [(10_000, 1_000), (100_000, 1_000), (100_000, 10_000)] {
        row(&["rounds", &clients.to_string(), &asked.to_string()]);
    }
    println!(
        "\n{:<44} {:>9} {:>9} {:>9}",
        "32 updates of 25 MB", "wall s", "CPU s", "peak MB"
    );
    for strategy in ["fedavg", "fedasync"] {
        row(&["aggregate", strategy]);
    }
    row(&["copy"]);
    println!(
        "\n{:<26} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "a 1 MB update, CPU ms", "kB", "encode", "decode", "mix", "server"
    );
    for index in 0..codecs().len() {
        row(&["message", &index.to_string()]);
    }
}

fn row(arguments: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(arguments).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// The processor time of this thread in seconds, as Linux counts it.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace()
        .next()
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1e9
}

/// The most memory that this process had, in megabytes.
fn peak_megabytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        * 1.024e-3
}

struct Stopwatch(Instant, f64);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), processor_seconds())
    }

    fn report(&self, what: &str) {
        let (wall, processor) = (self.0.elapsed().as_secs_f64(), processor_seconds() - self.1);
        println!(
            "{what:<44} {wall:>9.3} {processor:>9.3} {:>9.0}",
            peak_megabytes()
        );
    }
}

/// A client that learns nothing: what is left is the server's work.
struct Idle;

impl Host for Idle {
    type Error = Infallible;

    fn train(&mut self, _: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        Ok(base.to_vec())
    }

    fn evaluate(&mut self, _: &[f32]) -> Result<Score, Infallible> {
        Ok(Score {
            top1: 0.0,
            loss: 0.0,
        })
    }

    fn record(&mut self, _: Record) -> Result<(), Infallible> {
        Ok(())
    }
}

fn start() -> Record {
    Record::Start {
        strategy: "bench".into(),
        mixing: None,
        seed: 0,
        parameters: 0,
        model_bytes: 0,
        clients: Vec::new(),
        settings: serde_json::Value::Null,
    }
}

fn config(strategy: Strategy, clients: usize, numbers: usize, budget_samples: u64) -> Config {
    Config {
        seed: 1,
        ..Config::unbounded(
            strategy,
            vec![1; clients],
            Layout::vector(numbers),
            budget_samples,
        )
    }
}

fn setting(clients: usize, bytes: u64) -> Setting {
    let profile = Arc::new(Catalogue::built_in().profile("phone").unwrap().clone());
    let participants = (0..clients).map(|client| Participant {
        summary: ClientSummary {
            id: client.to_string(),
            device: "phone".into(),
            clips: 1,
            clips_per_second: 1.0,
        },
        clock: DeviceClock::new(Arc::clone(&profile), 1.0, 1, client as u64),
        steps_per_pass: 1,
        batch_size: 1,
    });
    Setting {
        participants: participants.collect(),
        evaluate_every_samples: u64::MAX / 2,
        round_deadline_seconds: None,
        target_top1: None,
        samples_per_client_epoch: 1.0,
        bytes_down: bytes,
        uplink: Uplink::default(),
        max_losses_in_a_row: 1000,
    }
}

/// Three rounds of FedAvg that ask `asked` of `clients`.
fn rounds(clients: usize, asked: usize) {
    let watch = Stopwatch::start();
    let strategy = Strategy::FedAvg(FedAvg {
        clients_per_round: Some(asked),
        over_selection: 0.0,
        ..FedAvg::default()
    });
    let numbers = MEGABYTE / 10;
    let config = config(strategy, clients, numbers, 3 * asked as u64);
    let bytes = config.layout.message_bytes();
    let setting = setting(clients, bytes);
    let parameters = vec![0.5; numbers];
    let mut simulation =
        Simulation::begin(config, setting, parameters, start(), &mut Idle).unwrap();
    while simulation.step(&mut Idle).unwrap().is_none() {}
    assert_eq!(simulation.aggregator().version(), 3);
    watch.report(&format!("{clients} clients, {asked} a round"));
}

/// 32 updates of 25 MB into one model; making them is part of it, as receiving them is of a server's work.
fn aggregate(strategy: &str) {
    const NUMBERS: usize = 25 * MEGABYTE;
    const UPDATES: usize = 32;
    let rules = match strategy {
        "fedavg" => Strategy::FedAvg(FedAvg::default()),
        _ => fedasync(),
    };
    let mut aggregator = Aggregator::new(
        config(rules, UPDATES, NUMBERS, UPDATES as u64),
        vec![0.5; NUMBERS],
    );
    let layout = aggregator.config().layout.fingerprint();
    for client in 0..UPDATES {
        aggregator.handle(Event::ClientReady { client });
    }
    let watch = Stopwatch::start();
    for client in 0..UPDATES {
        let mut parameters = Vec::with_capacity(NUMBERS);
        parameters.resize(NUMBERS, client as f32);
        aggregator.handle(Event::UpdateArrived(Update {
            client,
            task: client as u64,
            base_version: 0,
            samples: 1,
            layout,
            contents: if aggregator.config().strategy.takes_parameters() {
                Contents::Parameters(parameters)
            } else {
                Contents::Change(parameters)
            },
        }));
    }
    assert_eq!(aggregator.samples(), UPDATES as u64);
    watch.report(&format!("{strategy}, one model 25 MB"));
}

/// What moving the same bytes takes: each update written once and read once.
fn copy() {
    const NUMBERS: usize = 25 * MEGABYTE;
    let mut model = vec![0.5_f32; NUMBERS];
    let watch = Stopwatch::start();
    for client in 0..32 {
        let update = vec![client as f32; NUMBERS];
        model.copy_from_slice(&update);
    }
    assert_eq!(std::hint::black_box(&model)[7], 31.0);
    watch.report("writing and copying them, for comparison");
}

fn fedasync() -> Strategy {
    Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    })
}

fn codecs() -> Vec<(&'static str, Codec)> {
    let exact = Codec::default();
    let codec = |numbers, keep, zstd| Codec {
        numbers,
        keep,
        zstd,
        ..exact.clone()
    };
    vec![
        ("fp32", codec(Numbers::Fp32, None, None)),
        ("fp32, zstd 1", codec(Numbers::Fp32, None, Some(1))),
        ("fp16", codec(Numbers::Fp16, None, None)),
        ("fp16, zstd 1", codec(Numbers::Fp16, None, Some(1))),
        ("int8", codec(Numbers::Int8, None, None)),
        ("int8, zstd 1", codec(Numbers::Int8, None, Some(1))),
        ("top 10%, fp16", codec(Numbers::Fp16, Some(0.1), None)),
        (
            "top 1%, int8, zstd 1",
            codec(Numbers::Int8, Some(0.01), Some(1)),
        ),
    ]
}

/// A delta as training makes it: normal, of another spread in each of 20 layers.
fn learned(numbers: usize) -> Vec<f32> {
    let mut rng = derived_rng(3, &[]);
    (0..numbers)
        .map(|index| {
            let spread = 1e-3 * 1.3_f32.powi((index * 20 / numbers) as i32 - 10);
            let normal: f32 = StandardNormal.sample(&mut rng);
            spread * normal
        })
        .collect()
}

fn message(row: usize) {
    const ROUNDS: u32 = 40;
    let (name, codec) = codecs().swap_remove(row);
    let layout = Layout::vector(MEGABYTE);
    let encoder = Encoder::new(&layout, codec).unwrap();
    let decoder = Decoder::new(&layout);
    let delta = learned(MEGABYTE);
    let rules = config(fedasync(), 1, MEGABYTE, u64::MAX);
    let mut aggregator = Aggregator::new(rules, vec![0.5; MEGABYTE]);
    let mut bytes = 0;
    let mut spent = [0.0; 3];
    for task in 0..u64::from(ROUNDS) {
        aggregator.handle(Event::ClientReady { client: 0 });
        let header = Header {
            run: 1,
            task,
            client: 0,
            base_version: aggregator.version(),
            samples: 1,
        };
        let before = processor_seconds();
        let message = encoder.encode(&header, &delta, 1).unwrap();
        let encoded = processor_seconds();
        let decoded = decoder.decode(&message).unwrap();
        let received = processor_seconds();
        let base = Arc::clone(aggregator.parameters());
        let parameters = apply(&base, decoded.delta);
        drop(base);
        aggregator.handle(Event::UpdateArrived(Update {
            client: 0,
            task,
            base_version: header.base_version,
            samples: 1,
            layout: layout.fingerprint(),
            contents: Contents::Parameters(parameters),
        }));
        let mixed = processor_seconds();
        bytes = message.len();
        spent[0] += encoded - before;
        spent[1] += received - encoded;
        spent[2] += mixed - received;
    }
    assert_eq!(aggregator.version(), u64::from(ROUNDS));
    let [encode, decode, mix] = spent.map(|seconds| 1e3 * seconds / f64::from(ROUNDS));
    println!(
        "{name:<26} {:>9.0} {encode:>9.2} {decode:>9.2} {mix:>9.2} {:>9.2}",
        bytes as f64 / 1e3,
        decode + mix
    );
}
