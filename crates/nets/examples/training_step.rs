//! How long a network takes to learn from a batch: `training_step DEPTH WIDTH FRAMES SIDE BATCH THREADS STEPS [OPTION...]`,
//! or any network with its settings in the place of depth and width: `training_step '{"arch": "x3d"}' FRAMES ...`.
//!
//! Options: `bfloat16`; `sgd` and `adamw`; `give-back` leaves the allocator as it is, which gives memory back to the
//! system; `json` prints one line for programs.

mod process;

use std::time::Instant;

use fedact_nets::train::{Optimizer, OptimizerSettings, Rule, Trainable};
use fedact_nets::{
    Architecture, FloatModel, InputGeometry, MixedModel, ModelInfo, keep_memory, loss, set_threads,
};
use process::{peak_kib, used};
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 12;

/// What is asked for.
struct Request {
    architecture: Architecture,
    input: InputGeometry,
    batch: usize,
    threads: usize,
    steps: usize,
    options: Vec<String>,
}

/// Milliseconds of each step, and means of its parts and of what the processors worked.
struct Times {
    steps: Vec<f64>,
    parts: [f64; 3],
    processor: f64,
}

fn main() {
    let request = Request::parse();
    set_threads(request.threads);
    if !request.has("give-back") {
        keep_memory();
    }
    let classes = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let info = ModelInfo::new(request.architecture, classes, request.input);
    let model = FloatModel::new(info, 0, Device::Cpu).expect("a network");
    let times = if request.has("bfloat16") {
        let twin = MixedModel::new(&model).expect("a network");
        measure(&twin, &request)
    } else {
        measure(&model, &request)
    };
    tell(&request, times);
}

impl Request {
    fn parse() -> Self {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        let settings = words.first().filter(|word| word.starts_with('{')).cloned();
        let settings = settings.inspect(|_| drop(words.remove(0)));
        let numbers: Vec<usize> = words.iter().map_while(|word| word.parse().ok()).collect();
        let options = words.split_off(numbers.len());
        let (architecture, rest) = match (settings, &numbers[..]) {
            (Some(text), rest) => (serde_json::from_str(&text).expect("settings"), rest),
            (None, [depth, width, rest @ ..]) => {
                (Architecture::r3d(*depth as u32, *width as u32), rest)
            }
            _ => panic!("training_step DEPTH WIDTH FRAMES SIDE BATCH THREADS STEPS [OPTION...]"),
        };
        let &[frames, side, batch, threads, steps] = rest else {
            panic!("training_step SETTINGS FRAMES SIDE BATCH THREADS STEPS [OPTION...]");
        };
        Self {
            architecture,
            input: InputGeometry {
                frames,
                height: side,
                width: side,
            },
            batch,
            threads,
            steps,
            options,
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|word| word == option)
    }
}

fn measure(network: &impl Trainable, request: &Request) -> Times {
    let settings = OptimizerSettings {
        rule: if request.has("adamw") {
            Rule::AdamW
        } else {
            Rule::Sgd
        },
        ..OptimizerSettings::default()
    };
    let mut optimizer =
        Optimizer::with_leaves(network.var_store(), network.leaves(), settings, 5e-4);
    let cpu = |kind| (kind, Device::Cpu);
    let clips = Tensor::randn(request.input.batch_shape(request.batch), cpu(Kind::Float));
    let labels = Tensor::randint(CLASSES, [request.batch as i64], cpu(Kind::Int64));
    let mut times = Times {
        steps: Vec::new(),
        parts: [0.0; 3],
        processor: 0.0,
    };
    let mut worked_before = used().0;
    for step in 0..request.steps + 2 {
        if step == 2 {
            worked_before = used().0;
        }
        let started = Instant::now();
        let passed = || 1e3 * started.elapsed().as_secs_f64();
        let value = loss::cross_entropy(&network.train_outputs(&clips).logits, &labels, 0.1);
        let forward = passed();
        optimizer.backward(&value).expect("gradients");
        let backward = passed();
        optimizer.clip_gradients(5.0).expect("a norm");
        optimizer.step(0.01);
        let whole = passed();
        if step >= 2 {
            times.steps.push(whole);
            for (sum, part) in
                times
                    .parts
                    .iter_mut()
                    .zip([forward, backward - forward, whole - backward])
            {
                *sum += part / request.steps as f64;
            }
        }
    }
    times.processor = (used().0 - worked_before) / request.steps as f64;
    times
}

#[allow(clippy::print_stdout)] // Printing is what it is for.
fn tell(request: &Request, mut times: Times) {
    let [forward, backward, update] = times.parts;
    if request.has("json") {
        let line = serde_json::json!({
            "milliseconds": times.steps, "forward": forward, "backward": backward, "update": update,
            "processor": times.processor, "peak_kib": peak_kib(),
        });
        println!("{line}");
        return;
    }
    times.steps.sort_by(f64::total_cmp);
    let median = times.steps[times.steps.len() / 2];
    println!(
        "{}, {}, batch {}, {} threads: median {median:.1} ms, least {:.1} ms, {:.1} clips/s; \
         mean ms: forward {forward:.1}, backward {backward:.1}, update {update:.1}",
        request.architecture,
        request.input,
        request.batch,
        request.threads,
        times.steps[0],
        1e3 * request.batch as f64 / median,
    );
}
