//! Folders of models with made-up weights, float and quantized.

use std::collections::BTreeMap;
use std::fmt;

use fedact_recipe::{Architecture, Layout};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A tensor: shape and numbers.
type Tensor = (Vec<usize>, Vec<f32>);

/// A network for small clips and three classes.
pub struct Case {
    settings: Value,
    pub layout: Layout,
    /// Frames, height, width.
    pub input: [i64; 3],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// A number between 0 and 1 that looks like chance.
fn noise(name: &str, index: usize) -> f32 {
    let seed = name.bytes().fold(index as u64 + 1, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u64 << 24) as f32
}

impl Case {
    pub fn new(settings: &str) -> Self {
        let settings: Value = serde_json::from_str(settings).unwrap();
        let architecture: Architecture = serde_json::from_value(settings.clone()).unwrap();
        Self {
            settings,
            layout: architecture.layout().unwrap(),
            input: [4, 24, 20],
        }
    }

    fn description(&self) -> Value {
        let [frames, height, width] = self.input;
        json!({
            "format_version": 1,
            "architecture": self.settings,
            "classes": ["Bend", "Jump", "Walk"],
            "input": {"frames": frames, "height": height, "width": width},
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.25, 0.3],
        })
    }

    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let state = self.layout.state(3).into_iter();
        let named = state.filter(|(name, _)| !name.ends_with("num_batches_tracked"));
        named
            .map(|(name, shape)| {
                let shape: Vec<usize> = shape.iter().map(|side| *side as usize).collect();
                let fan = shape.iter().skip(1).product::<usize>().max(1) as f32;
                let number = |index| {
                    let noise = noise(&name, index);
                    if name.ends_with("running_var") {
                        0.5 + noise
                    } else {
                        (noise - 0.5) * (12.0 / fan).sqrt()
                    }
                };
                let values = (0..shape.iter().product()).map(number).collect();
                (name, (shape, values))
            })
            .collect()
    }

    /// A float model.
    pub fn float(&self) -> TempDir {
        self.with(|_| {})
    }

    /// A float model with other tensors.
    pub fn with(&self, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> TempDir {
        let mut tensors = self.tensors();
        change(&mut tensors);
        write(&self.description(), &tensors, &BTreeMap::new())
    }

    /// A quantized model that rounds at the usual places, and at these; `None` for a family that has no such form.
    pub fn quantized(&self, extra: &[&str]) -> Option<TempDir> {
        let Layout::Residual(layout) = &self.layout else {
            return None;
        };
        let mut floats = BTreeMap::new();
        let mut bytes = BTreeMap::new();
        let convolutions = layout.convolutions();
        let layers = convolutions.map(|layer| (layer.conv.as_str(), layer.weight_shape()));
        for (name, shape) in layers.chain([("fc", vec![3, layout.head.inputs])]) {
            let shape: Vec<usize> = shape.iter().map(|side| *side as usize).collect();
            let count: usize = shape.iter().product();
            let channel = count / shape[0];
            let stored: Vec<i8> = (0..count)
                .map(|index| ((noise(name, index) - 0.5) * 254.0) as i8)
                .collect();
            let scale = (12.0 / channel as f32).sqrt() / 254.0;
            let scales: Vec<f32> = (0..shape[0])
                .map(|index| scale * (0.5 + noise(name, index)))
                .collect();
            let values = stored
                .iter()
                .enumerate()
                .map(|(index, byte)| f32::from(*byte) * scales[index / channel])
                .collect();
            let bias = (0..shape[0])
                .map(|index| noise(name, index) - 0.5)
                .collect();
            floats.insert(format!("{name}.weight_scale"), (vec![shape[0]], scales));
            floats.insert(format!("{name}.bias"), (vec![shape[0]], bias));
            bytes.insert(format!("{name}.weight_int8"), (shape.clone(), stored));
            floats.insert(format!("{name}.weight"), (shape, values));
        }
        let mut places = vec!["input".to_owned()];
        let norm = |layer: &fedact_recipe::ConvLayout| layer.norm.clone().unwrap();
        let inner = layout.stem.len() - 1;
        places.extend(layout.stem[..inner].iter().map(norm));
        places.push("stem".to_owned());
        for block in &layout.blocks {
            for layer in &block.convolutions[..block.convolutions.len() - 1] {
                places.push(norm(layer).rsplit_once('.').unwrap().0.to_owned());
            }
            places.push(block.name.clone());
        }
        places.push("avgpool".to_owned());
        places.extend(extra.iter().map(|place| (*place).to_owned()));
        let activations: Vec<Value> = places
            .iter()
            .map(|place| {
                let signed = place == "input" || extra.contains(&place.as_str());
                let zero_point = if signed { 120 } else { 0 };
                json!({
                    "name": place,
                    "affine": {"scale": 0.02, "zero_point": zero_point},
                    "minimum": 0.0,
                    "maximum": 5.1,
                })
            })
            .collect();
        let mut description = self.description();
        description["quantization"] = json!({
            "method": "min-max",
            "percentile": 99.99,
            "calibration_clips": 4,
            "activations": activations,
        });
        Some(write(&description, &floats, &bytes))
    }
}

fn write(
    description: &Value,
    floats: &BTreeMap<String, Tensor>,
    bytes: &BTreeMap<String, (Vec<usize>, Vec<i8>)>,
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.json"), description.to_string()).unwrap();
    let mut raw: BTreeMap<&String, (Dtype, &Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, (shape, values)) in floats {
        let data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        raw.insert(name, (Dtype::F32, shape, data));
    }
    for (name, (shape, values)) in bytes {
        let data = values.iter().map(|value| value.cast_unsigned()).collect();
        raw.insert(name, (Dtype::I8, shape, data));
    }
    let views = raw.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, (*shape).clone(), data).unwrap();
        (name.as_str(), view)
    });
    let file = serialize(views, None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    folder
}
