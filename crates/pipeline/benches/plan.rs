//! How long it takes from a pipeline file of 1,000 steps to its plan: `cargo bench -p fedact-pipeline`.
//!
//! The steps are chains of ten, with params of a realistic size, most of which come through anchors and merge
//! keys; and, for comparison, one matrix of 1,000 instances. The least of many runs is printed, which is what the
//! work takes when nothing disturbs it; user and system time together, so that other work on the machine counts
//! as little as it can.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use fedact_artifact::{Attempt, Provenance, Store};
use fedact_pipeline::{
    Catalogue, Contents, Graph, Pipeline, Plan, Preimage, StageEntry, StoreRecords,
};
use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const STEPS: usize = 1000;
const RUNS: usize = 40;

/// Params like those of a training stage.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Training {
    model: Model,
    epochs: u32,
    batch_size: u32,
    learning_rate: f64,
    momentum: f64,
    weight_decay: f64,
    label_smoothing: f64,
    schedule: String,
    distillation: Distillation,
    augmentation: Augmentation,
    threads: u32,
    seed: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Model {
    arch: String,
    depth: u32,
    width: u32,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Distillation {
    lambda: f64,
    temperature: f64,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Augmentation {
    scale: Vec<f64>,
    aspect: f64,
    brightness: f64,
    contrast: f64,
    shift: f64,
    flip: f64,
}

impl Params for Training {
    fn check(&self) -> Result<(), OutOfRange> {
        OutOfRange::unless(self.epochs < 1000, "epochs", self.epochs, "less than 1000")
    }
}

static TRAIN: Definition = Definition {
    name: "train",
    summary: "Trains",
    package: "bench",
    inputs: &[InputSpec {
        name: "teacher",
        kinds: &[Kind::Model],
        arity: Arity::Any,
        summary: "models",
    }],
    output: Kind::Model,
    libraries: &[Library::Libtorch],
    resolve: fedact_stage::resolve::<Training>,
    schema: fedact_stage::schema::<Training>,
    cores: |_| Cores::Fixed(1),
    memory: |_| None,
    pieces: None,
};

fn catalogue() -> Catalogue {
    let entry = StageEntry {
        definition: &TRAIN,
        code: "0".repeat(64),
    };
    Catalogue::new(
        vec![entry],
        BTreeMap::from([(Library::Libtorch, "2.11.0".to_owned())]),
    )
}

/// Chains of ten steps.
fn chains() -> String {
    let mut text = "version: 1\nsteps:\n".to_owned();
    for step in 0..STEPS {
        let merged = if step == 0 {
            "&training\n        batch_size: 8\n        learning_rate: 0.02\n        momentum: 0.9\n        label_smoothing: 0\n        schedule: cosine\n        distillation: {lambda: 0.5, temperature: 2}\n        augmentation: {scale: [0.85, 1.0], aspect: 1.05, brightness: 0.1, contrast: 0.1, shift: 0}"
        } else {
            "*training"
        };
        let inputs = if step % 10 == 0 {
            String::new()
        } else {
            format!("    inputs: {{teacher: step-{}}}\n", step - 1)
        };
        let _ = write!(
            text,
            "  step-{step}:\n    stage: train\n{inputs}    params:\n      model: {{arch: r3d, depth: 10, width: {}}}\n      epochs: {}\n      <<: {merged}\n      threads: 1\n      seed: {step}\n",
            4 + step % 7,
            1 + step % 90,
        );
    }
    text
}

/// One step, expanded.
fn matrix() -> String {
    let list = |count: usize| {
        (0..count)
            .map(|value| value.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "version: 1\nsteps:\n  base: {{stage: train, params: {{seed: 5}}}}\n  runs:\n    stage: train\n    inputs: {{teacher: base}}\n    params: {{model: {{arch: r3d}}, schedule: cosine}}\n    matrix: {{params.seed: [{}], params.epochs: [{}]}}\n",
        list(100),
        list(10)
    )
}

/// Milliseconds of this process on any core so far.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// The least time of many runs, on the clock and on the cores.
fn least<T>(mut work: impl FnMut() -> T) -> (f64, f64, T) {
    let mut best = (f64::MAX, f64::MAX);
    let mut last = None;
    for _ in 0..RUNS {
        let (clock, cores) = (Instant::now(), busy());
        last = Some(work());
        best.0 = best.0.min(clock.elapsed().as_secs_f64() * 1e3);
        best.1 = best.1.min(busy() - cores);
    }
    (best.0, best.1, last.unwrap())
}

fn line(name: &str, (wall, cores): (f64, f64)) -> f64 {
    println!("  {name:<34} {wall:>7.1} ms   {cores:>7.1} ms");
    wall
}

/// Gives every step of a graph a result in a store.
fn fill(graph: &Graph, store: &Store) {
    let mut contents = Contents::default();
    for node in graph.nodes() {
        let preimage = Preimage::of(node, &contents).unwrap();
        let Attempt::Locked(lock) = store.try_lock(&preimage.key()).unwrap() else {
            panic!("nobody else is here");
        };
        let workspace = store.workspace(lock).unwrap();
        std::fs::write(workspace.output().join("model"), &node.name).unwrap();
        let provenance = Provenance {
            step: node.name.clone(),
            stage: "train".to_owned(),
            metrics: serde_json::Map::new(),
            started: 0.0,
            seconds: 1.0,
            host: "bench".to_owned(),
            version: "0".to_owned(),
            resumed: false,
            warnings: Vec::new(),
            inputs: BTreeMap::new(),
            accepted: Vec::new(),
        };
        let action = workspace.publish(preimage.to_json(), provenance).unwrap();
        contents.steps.insert(node.name.clone(), action.output);
    }
}

fn measure(name: &str, text: &str) {
    let file = Path::new("pipeline.yaml");
    let catalogue = catalogue();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let nothing = BTreeSet::new();
    println!(
        "{name}, {} KiB{:>27}      on cores",
        text.len() / 1024,
        "clock"
    );
    let (wall, cores, pipeline) = least(|| Pipeline::parse(text, file, Vec::new()).unwrap());
    let read = line("read the file", (wall, cores));
    let (wall, cores, graph) = least(|| Graph::build(&pipeline, &catalogue).unwrap());
    let build = line("names, kinds, params, order", (wall, cores));
    let distinct: HashSet<_> = graph
        .nodes()
        .iter()
        .map(|node| &node.params)
        .map(ToString::to_string)
        .collect();
    assert!(
        distinct.len() * 10 >= STEPS * 9,
        "the steps are as good as all different"
    );
    let plan = || {
        let records = StoreRecords::new(&store);
        Plan::make(&graph, &mut Contents::default(), &records, &nothing).unwrap()
    };
    let (wall, cores, planned) = least(plan);
    assert!(!planned.nothing_to_do());
    let empty = line("plan, nothing in the store", (wall, cores));
    fill(&graph, &store);
    let (wall, cores, planned) = least(plan);
    assert!(planned.nothing_to_do());
    let full = line("plan, everything in the store", (wall, cores));
    println!(
        "  together {:>25.1} ms before the first run, {:.1} ms after",
        read + build + empty,
        read + build + full
    );
}

fn main() {
    measure("1,000 steps in chains of ten", &chains());
    measure("a matrix of 1,000 instances", &matrix());
}
