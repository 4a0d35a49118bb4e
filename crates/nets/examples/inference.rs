//! How long a quantized network takes for a clip. `inference save SETTINGS FRAMES SIDE FOLDER` makes one, with fresh
//! weights and settings such as `'{"width": 32}'`; `inference MODE FOLDER BATCH THREADS REPEATS` times it and prints a line of
//! JSON. Modes: `int8` (its `model.pt`), `float` (the folded network in 32 bits), `simulated`.

mod process;
#[path = "process/timing.rs"]
mod timing;

use std::path::Path;

use fedact_nets::quantize::{CalibrationSettings, ExecutedModel, Execution, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo, files, set_threads};
use tch::{Device, Kind, Tensor, no_grad};

const CLASSES: usize = 12;

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
            let batch = number(batch);
            timing::tell(
                batch,
                number(repeats),
                network(mode, Path::new(folder), batch),
            );
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
