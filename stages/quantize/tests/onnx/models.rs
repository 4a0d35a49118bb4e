//! Models with random weights that tell clips apart, and the clips.

use std::path::Path;

use fedact_nets::quantize::{CalibrationSettings, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo, set_threads};
use tch::{Device, Kind, Tensor, no_grad};

/// Passes over some of the clips until batch norm knows them: statistics of values that are nearly all the same would make
/// much of rounding.
const PASSES: usize = 40;

/// Classes of every model.
const CLASSES: usize = 4;

/// A folder with a model in it, float or quantized.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub float: FloatModel,
    pub quantized: Option<QuantizedModel>,
    /// Bytes \[clips, frames, height, width, 3\].
    pub clips: Tensor,
    /// The same as the model takes them.
    pub normalised: Tensor,
}

impl Made {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A model of these settings, quantized where its family can be, and clips of all sorts of colours and patterns.
pub fn make(settings: &str, input: [usize; 3], clips: usize) -> Made {
    set_threads(2);
    let architecture: Architecture = serde_json::from_str(settings).unwrap();
    let [frames, height, width] = input;
    let geometry = InputGeometry {
        frames,
        height,
        width,
    };
    let classes = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let info = ModelInfo::new(architecture, classes, geometry);
    let float = FloatModel::new(info, 3, Device::Cpu).unwrap();
    let bytes = pictures(clips, input);
    let normalised = normalise(&bytes, &float.info);
    for _ in 0..PASSES {
        let _ = no_grad(|| float.logits(&normalised.narrow(0, 0, clips.min(8) as i64), true));
    }
    spread(&float, &normalised);
    let folder = tempfile::tempdir().unwrap();
    float.save(folder.path()).unwrap();
    let layout = float.info.architecture.layout().unwrap();
    let quantized = matches!(layout, fedact_nets::Layout::Residual(_)).then(|| {
        let batches = [normalised.shallow_clone()];
        let settings = CalibrationSettings::default();
        let model = QuantizedModel::from_float(&float, batches, &settings).unwrap();
        model.save(folder.path()).unwrap();
        model
    });
    Made {
        folder,
        float,
        quantized,
        clips: bytes,
        normalised,
    }
}

/// Moving waves, each clip in colours, lengths and directions of its own.
fn pictures(clips: usize, [frames, height, width]: [usize; 3]) -> Tensor {
    let mut bytes = Vec::with_capacity(clips * frames * height * width * 3);
    for clip in 0..clips {
        let own = |factor: f32| (clip as f32 * factor).sin();
        for frame in 0..frames {
            for row in 0..height {
                for column in 0..width {
                    let (row, column) = (row as f32, column as f32);
                    let phase = row * own(1.7) + column * own(2.3) + frame as f32 * own(0.9) * 2.0;
                    for colour in 0..3 {
                        let level = 0.5 + 0.3 * own(3.1 + colour as f32);
                        let value = level + 0.2 * (phase + colour as f32 * own(5.3)).sin();
                        bytes.push((255.0 * value) as u8);
                    }
                }
            }
        }
    }
    let shape = [clips, frames, height, width, 3].map(|side| side as i64);
    Tensor::from_slice(&bytes).reshape(shape)
}

fn normalise(bytes: &Tensor, info: &ModelInfo) -> Tensor {
    let colours = |values: [f64; 3]| Tensor::from_slice(&values.map(|value| value as f32));
    let slope = colours(info.std.map(|std| 1.0 / (255.0 * std)));
    let offset = colours(std::array::from_fn(|at| -info.mean[at] / info.std[at]));
    let numbers = bytes.to_kind(Kind::Float) * slope + offset;
    numbers.permute([0, 4, 1, 2, 3]).contiguous()
}

/// Gives the last layer weights in which every class is the answer to some of the clips.
fn spread(model: &FloatModel, clips: &Tensor) {
    let features = model.outputs(clips).features;
    let variables = model.var_store().variables();
    let head = model
        .info
        .architecture
        .layout()
        .unwrap()
        .head()
        .name
        .clone();
    let mut weight = variables[&format!("{head}.weight")].shallow_clone();
    let mut bias = variables[&format!("{head}.bias")].shallow_clone();
    no_grad(|| {
        let mean = features.mean_dim([0i64].as_slice(), false, Kind::Float);
        let deviation = features.std_dim([0i64].as_slice(), true, false) + 1e-3;
        let count = weight.numel() as i64;
        let waves = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 1.3).sin();
        let rows = waves.reshape(weight.size()) / deviation;
        weight.copy_(&rows);
        bias.copy_(&(-rows.matmul(&mean)));
    });
}
