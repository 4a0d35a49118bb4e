//! How long a quantized network takes for a clip. `inference save SETTINGS FRAMES SIDE FOLDER` makes one, with fresh
//! weights and settings such as `'{"width": 32}'`; `inference MODE FOLDER BATCH THREADS REPEATS` times it and prints a line of
//! JSON. Modes: `int8` (its `model.pt`), `float` (the folded network in 32 bits), `simulated`.

mod process;

use std::path::Path;
use std::time::Instant;

use fedact_nets::quantize::{CalibrationSettings, ExecutedModel, Execution, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo, files, set_threads};
use process::{peak_kib, used};
use tch::{Device, Kind, Tensor, no_grad};

const CLASSES: usize = 12;

/// Batches that are not timed: libtorch compiles an archive's program in the first ones.
const WARM_UP: usize = 3;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["save", settings, frames, side, folder] => {
            let architecture = serde_json::from_str(settings).expect("settings");
            save(
                architecture,
                number(frames),
                number(side),
                Path::new(folder),
            );
        }
        [mode, folder, batch, threads, repeats] => {
            set_threads(number(threads));
            measure(mode, Path::new(folder), number(batch), number(repeats));
        }
        _ => panic!(
            "inference save SETTINGS FRAMES SIDE FOLDER, or inference MODE FOLDER BATCH THREADS REPEATS"
        ),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a whole number")
}

fn random_clips(input: InputGeometry, count: usize) -> Tensor {
    Tensor::randn(input.batch_shape(count), (Kind::Float, Device::Cpu))
}

fn save(architecture: Architecture, frames: usize, side: usize, folder: &Path) {
    let classes = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let input = InputGeometry {
        frames,
        height: side,
        width: side,
    };
    let info = ModelInfo::new(architecture, classes, input);
    let float = FloatModel::new(info, 0, Device::Cpu).expect("a network");
    // So that batch norm's statistics are those of the activations, and no layer is silent.
    for _ in 0..8 {
        let _ = no_grad(|| float.logits(&random_clips(input, 4), true));
    }
    let batches = (0..2).map(|_| random_clips(input, 4));
    let settings = CalibrationSettings::default();
    let model = QuantizedModel::from_float(&float, batches, &settings).expect("a form in bytes");
    std::fs::create_dir_all(folder).expect("a folder");
    model.save(folder).expect("a model");
}

/// The network of a folder as the mode wants it, with clips to answer.
fn network(mode: &str, folder: &Path, batch: usize) -> Box<dyn FnMut()> {
    let execution = match mode {
        "int8" => {
            let model = ExecutedModel::load(&folder.join(files::EXECUTED)).expect("an archive");
            let clips = random_clips(model.info.input, batch);
            return Box::new(move || drop(model.logits(&clips).expect("logits")));
        }
        "float" => Execution::Float,
        "simulated" => Execution::Simulated,
        other => panic!("{other} is no mode: int8, float or simulated"),
    };
    let model = QuantizedModel::load(folder, Device::Cpu).expect("a model");
    let clips = random_clips(model.info.input, batch);
    Box::new(move || drop(no_grad(|| model.logits(&clips, execution))))
}

#[allow(clippy::print_stdout)] // Printing is what it is for.
fn measure(mode: &str, folder: &Path, batch: usize, repeats: usize) {
    let mut run = network(mode, folder, batch);
    let mut milliseconds = Vec::with_capacity(repeats);
    let mut before = used();
    for round in 0..WARM_UP + repeats {
        if round == WARM_UP {
            before = used();
        }
        let started = Instant::now();
        run();
        if round >= WARM_UP {
            milliseconds.push(1e3 * started.elapsed().as_secs_f64() / batch as f64);
        }
    }
    let (after, clips) = (used(), (repeats * batch) as f64);
    let line = serde_json::json!({
        "milliseconds": milliseconds,
        "processor": (after.0 - before.0) / clips,
        "faults": (after.1 - before.1) / clips,
        "peak_kib": peak_kib(),
    });
    println!("{line}");
}
