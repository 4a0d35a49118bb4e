//! A quantized model against the float one it was made from.

use std::path::Path;

use serde_json::json;
use tch::{Device, Kind, Tensor, no_grad};

use super::*;
use crate::random::{Purpose, normal, stream};
use crate::{
    Architecture, Classifier, FloatModel, InputGeometry, Model, ModelInfo, files, weights,
};

const INPUT: InputGeometry = InputGeometry {
    frames: 4,
    height: 20,
    width: 24,
};

pub(super) fn architecture(settings: serde_json::Value) -> Architecture {
    serde_json::from_value(settings).unwrap()
}

/// Clips of soft random shapes with mean 0: noise drawn coarsely and smoothed by interpolation.
pub(super) fn clips(count: i64, seed: u64) -> Tensor {
    let mut random = stream(Purpose::Order, seed, 0, 0);
    let coarse = Tensor::from_slice(&normal(&mut random, (count * 3 * 2 * 5 * 6) as usize, 1.5));
    coarse.reshape([count, 3, 2, 5, 6]).upsample_trilinear3d(
        [INPUT.frames, INPUT.height, INPUT.width].map(|side| side as i64),
        false,
        None,
        None,
        None,
    )
}

/// An R3D whose batch norms have statistics and factors unlike those of a fresh one.
pub(super) fn float_model(depth: u32, width: u32) -> FloatModel {
    trained_like(Architecture::r3d(depth, width))
}

/// A network whose batch norms have statistics and factors unlike those of a fresh one.
pub(super) fn trained_like(architecture: Architecture) -> FloatModel {
    let classes = ["Bend", "Jump", "Walk"].map(str::to_owned).to_vec();
    let info = ModelInfo::new(architecture, classes, INPUT);
    let model = FloatModel::new(info, 7, Device::Cpu).unwrap();
    no_grad(|| {
        for seed in 0..12 {
            let _ = model.logits(&clips(8, 100 + seed), true);
        }
        let mut random = stream(Purpose::Order, 5, 0, 0);
        for (name, mut variable) in weights::of(model.var_store()) {
            let noise = Tensor::from_slice(&normal(&mut random, variable.numel(), 0.2));
            if variable.dim() == 1 && !name.contains("running") {
                variable += noise;
            } else if name == "fc.weight" {
                variable += noise.reshape(variable.size());
            }
        }
    });
    model
}

pub(super) fn batches() -> impl Iterator<Item = Tensor> {
    (0..4).map(|seed| clips(8, seed))
}

pub(super) fn quantized(method: Method) -> (FloatModel, QuantizedModel) {
    let float = float_model(10, 4);
    let settings = CalibrationSettings {
        method,
        ..CalibrationSettings::default()
    };
    let model = QuantizedModel::from_float(&float, batches(), &settings).unwrap();
    (float, model)
}

/// Overwrites a tensor and all that shares its memory.
pub(super) fn fill(tensor: &Tensor, value: f64) {
    let _ = no_grad(|| tensor.shallow_clone().fill_(value));
}

pub(super) fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

pub(super) fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.detach().to_kind(Kind::Float).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}

/// Every kind of residual network.
pub(super) fn residual_networks() -> impl Iterator<Item = Architecture> {
    let settings = [
        json!({"depth": 10, "width": 4}),
        json!({"depth": 18, "width": 4}),
        json!({"depth": 50, "width": 2}),
        json!({"arch": "mc3", "depth": 10, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 10, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 50, "width": 2, "stem": "hara"}),
        json!({"depth": 18, "width": 4, "stem": "hara", "shortcut": "pad"}),
        json!({"arch": "mc3", "depth": 10, "width": 4, "shortcut": "pad"}),
    ];
    settings.into_iter().map(architecture)
}

#[test]
fn the_folded_network_equals_the_float_one_in_use() {
    for architecture in residual_networks() {
        let float = trained_like(architecture);
        let settings = CalibrationSettings::default();
        let model = QuantizedModel::from_float(&float, batches(), &settings).unwrap();
        let clips = clips(5, 50);
        let expected = float.classify(&clips);
        let folded = no_grad(|| model.logits(&clips, Execution::Float));
        let difference = largest(&(&folded - &expected));
        assert!(
            difference < 1e-4 * largest(&expected).max(1.0),
            "{architecture}: {difference}"
        );
        assert!(largest(&expected) > 0.1, "the network says nothing");
    }
}

#[test]
fn every_residual_network_is_close_in_bytes_learns_there_and_survives_its_folder() {
    for architecture in residual_networks() {
        let float = trained_like(architecture);
        let settings = CalibrationSettings::default();
        let model = QuantizedModel::from_float(&float, batches(), &settings).unwrap();
        let mut meter = NoiseMeter::new(&model);
        let compared = meter.compare((&model, &model), &clips(16, 60));
        // Deep and thin networks as these gather more noise than real ones.
        assert!(
            meter.logits() > 10.0,
            "{architecture}: {} dB",
            meter.logits()
        );
        let places = meter.places();
        let names: std::collections::BTreeSet<&String> =
            places.iter().map(|place| &place.name).collect();
        assert_eq!(names.len(), places.len(), "{architecture}: {places:?}");

        let layout = architecture.layout().unwrap();
        let cost = layout.cost([4, 20, 24], 3);
        assert_eq!(cost.folded_parameters, model.parameter_count() as u64);

        crate::loss::cross_entropy(
            &model.logits(&clips(6, 70), Execution::Simulated),
            &Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]),
            0.0,
        )
        .backward();
        for (tensor, place) in model.trainable().iter().zip(model.parameter_shapes()) {
            let gradient = largest(&tensor.grad());
            assert!(gradient > 0.0, "{architecture}: {}", place.name);
        }

        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let loaded = QuantizedModel::load(folder.path(), Device::Cpu).unwrap();
        assert!(loaded.classify(&clips(16, 60)).equal(&compared.simulated));
    }
}

#[test]
fn networks_that_have_no_form_in_bytes_are_refused_with_those_that_have() {
    for arch in ["x3d", "tsm"] {
        let float = trained_like(architecture(json!({"arch": arch, "width": 8})));
        let settings = CalibrationSettings::default();
        let error = QuantizedModel::from_float(&float, batches(), &settings).unwrap_err();
        assert!(error.invalid_input());
        let error = error.to_string();
        assert!(error.contains("width 8 cannot be quantized"), "{error}");
        assert!(error.contains("arch: r3d"), "{error}");
    }
}

#[test]
fn the_simulated_network_is_close_to_the_float_one_by_every_method() {
    for method in Method::CHOICE {
        let (_, model) = quantized(method);
        let mut meter = NoiseMeter::new(&model);
        let compared = meter.compare((&model, &model), &clips(16, 60));
        assert!(meter.logits() > 20.0, "{method:?}: {} dB", meter.logits());
        assert!(
            largest(&(&compared.float - &compared.simulated)) > 0.0,
            "nothing was rounded"
        );
        let places = meter.places();
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names[..4], ["input", "stem", "layer1.0.conv1", "layer1.0"]);
        assert_eq!(names[names.len() - 2..], ["avgpool", "logits"]);
        assert!(
            places[0].snr_db > places[names.len() - 3].snr_db,
            "{places:?}"
        );
        let simulated = model.classify(&clips(16, 60));
        assert!(simulated.equal(&compared.simulated));
    }
}

#[test]
fn the_method_that_leaves_the_logits_most_is_chosen_and_all_are_told() {
    let (_, model) = quantized(Method::Auto);
    let quantization = model.quantization();
    let told: Vec<Method> = quantization
        .tried
        .iter()
        .map(|tried| tried.method)
        .collect();
    assert_eq!(told, Method::CHOICE);
    let best = quantization
        .tried
        .iter()
        .map(|tried| tried.logits_snr_db)
        .fold(f64::MIN, f64::max);
    let chosen = quantization
        .tried
        .iter()
        .find(|tried| tried.logits_snr_db == best);
    assert_eq!(chosen.map(|tried| tried.method), Some(quantization.method));
    // It is what that method alone would give.
    let (_, alone) = quantized(quantization.method);
    assert_eq!(alone.quantization().activations, quantization.activations);
    let mut meter = NoiseMeter::new(&alone);
    for batch in batches() {
        let _ = meter.compare((&alone, &alone), &batch);
    }
    assert!((meter.logits() - best).abs() < 1e-6);
}

#[test]
fn scales_are_those_of_the_values_seen() {
    let (_, model) = quantized(Method::MinMax);
    let quantization = model.quantization();
    assert_eq!(quantization.calibration_clips, 32);
    let input = &quantization.activations[0];
    let seen = Tensor::cat(&batches().collect::<Vec<_>>(), 0);
    let (low, high) = (seen.min().double_value(&[]), seen.max().double_value(&[]));
    assert!((f64::from(input.affine.scale) - (high - low) / 255.0).abs() < 1e-6);
    assert_eq!(
        f64::from(input.affine.zero_point),
        (-low * 255.0 / (high - low)).round()
    );
    for activation in &quantization.activations[1..] {
        assert_eq!(activation.affine.zero_point, 0, "{}", activation.name);
        let top = f64::from(activation.maximum) / 255.0;
        assert!((f64::from(activation.affine.scale) - top).abs() < 1e-6);
    }
}

#[test]
fn stored_bytes_are_the_rounded_weights_and_exactly_what_is_simulated() {
    let (_, model) = quantized(Method::Mse);
    for layer in model.network.layers() {
        let scales = values(&layer.scale);
        let weight = values(&layer.weight);
        let simulated = values(&layer.effective_weight(Execution::Simulated));
        let stored = values(&layer.stored_weight());
        let channel = weight.len() / scales.len();
        for (index, &weight_value) in weight.iter().enumerate() {
            let scale = scales[index / channel];
            assert_eq!(
                stored[index],
                f32::from(quantize_weight(weight_value, scale))
            );
            assert_eq!(simulated[index], stored[index] * scale, "{}", layer.name);
            assert!((simulated[index] - weight_value).abs() <= scale * 0.5001);
        }
        for (scale, channel) in scales.iter().zip(weight.chunks(channel)) {
            assert_eq!(*scale, weight_scale(channel), "{}", layer.name);
        }
    }
}

#[test]
fn rounding_equals_torchs_own_to_the_last_bit() {
    let mut random = stream(Purpose::Order, 13, 0, 0);
    let real = Tensor::from_slice(&normal(&mut random, 20_000, 1.0));
    for (low, high) in [(0.0, 2.0), (-1.3, 0.9), (-0.01, 3.7)] {
        let affine = Affine::covering(low, high).unwrap();
        let (scale, zero_point) = (f64::from(affine.scale), i64::from(affine.zero_point));
        let expected = real.fake_quantize_per_tensor_affine(scale, zero_point, 0, 255);
        let leaf = real.copy().set_requires_grad(true);
        let place = [affine];
        let mut rounding = network::Rounding(&place);
        let rounded = network::Visitor::visit(&mut rounding, 0, leaf.shallow_clone(), false);
        assert!(rounded.equal(&expected), "{low} to {high}");
        rounded.sum(Kind::Float).backward();
        let (bottom, top) = affine.range();
        let within = real
            .gt(f64::from(bottom))
            .logical_and(&real.lt(f64::from(top)));
        assert!(
            leaf.grad().equal(&within.to_kind(Kind::Float)),
            "{low} to {high}"
        );
    }
    let (_, model) = quantized(Method::Mse);
    let layer = model.network.layers().nth(2).unwrap();
    // Weights that have grown since are cut off, and yet have a gradient.
    no_grad(|| layer.weight.shallow_clone().g_mul_scalar_(1.5)).size();
    let zero_points = Tensor::zeros_like(&layer.scale).to_kind(Kind::Int);
    let expected =
        layer
            .weight
            .fake_quantize_per_channel_affine(&layer.scale, &zero_points, 0, -127, 127);
    let rounded = layer.effective_weight(Execution::Simulated);
    assert!(rounded.equal(&expected));
    assert!(largest(&layer.stored_weight().to_kind(Kind::Float)) == 127.0);
    rounded.sum(Kind::Float).backward();
    assert!(layer.weight.grad().equal(&layer.weight.ones_like()));
}

#[test]
fn gradients_flow_through_the_simulation_and_a_step_along_them_lowers_the_loss() {
    let (_, mut model) = quantized(Method::Mse);
    let clips = clips(6, 70);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
    let loss = |model: &QuantizedModel, execution| {
        crate::loss::cross_entropy(&model.logits(&clips, execution), &labels, 0.0)
    };
    let gradient = |model: &QuantizedModel, execution| {
        model.trainable().iter_mut().for_each(Tensor::zero_grad);
        let loss = loss(model, execution);
        loss.backward();
        let gradients: Vec<Tensor> = model.trainable().iter().map(|t| t.grad().copy()).collect();
        for (gradient, place) in gradients.iter().zip(model.parameter_shapes()) {
            assert!(largest(gradient) > 0.0, "{}", place.name);
        }
        let flat: Vec<Tensor> = gradients
            .iter()
            .map(|gradient| gradient.flatten(0, -1))
            .collect();
        (loss.double_value(&[]), Tensor::cat(&flat, 0))
    };
    // Straight through: nearly the float network's own gradient.
    let (_, float) = gradient(&model, Execution::Float);
    let (before, simulated) = gradient(&model, Execution::Simulated);
    let cosine = (&float * &simulated).sum(Kind::Float).double_value(&[])
        / (float.norm() * simulated.norm()).double_value(&[]);
    assert!(cosine > 0.9, "{cosine}");
    no_grad(|| {
        for mut tensor in model.trainable() {
            let step = tensor.grad() * -0.02;
            let _ = tensor.g_add_(&step);
        }
    });
    model.refresh_scales();
    let (after, _) = gradient(&model, Execution::Simulated);
    assert!(after < before, "{before} became {after}");
}

#[test]
fn one_flat_slice_carries_every_parameter_there_and_back() {
    let (_, mut model) = quantized(Method::Mse);
    let shapes = model.parameter_shapes();
    let names: Vec<&str> = shapes.iter().map(|place| place.name.as_str()).collect();
    assert_eq!(
        names[..3],
        ["stem.0.weight", "stem.0.bias", "layer1.0.conv1.0.weight"]
    );
    assert_eq!(names[names.len() - 2..], ["fc.weight", "fc.bias"]);
    let count: usize = shapes
        .iter()
        .map(|place| place.shape.iter().product::<usize>())
        .sum();
    assert_eq!(count, model.parameter_count());
    assert_eq!(model.var_store().trainable_variables().len(), shapes.len());

    let mut flat = vec![0.0; count];
    model.copy_parameters_to(&mut flat).unwrap();
    assert_eq!(flat[..10], values(&model.trainable()[0])[..10]);
    let logits = model.classify(&clips(2, 80));
    let doubled: Vec<f32> = flat.iter().map(|value| value * 2.0).collect();
    model.copy_parameters_from(&doubled).unwrap();
    let mut back = vec![0.0; count];
    model.copy_parameters_to(&mut back).unwrap();
    assert_eq!(back, doubled);
    assert!(!model.classify(&clips(2, 80)).equal(&logits));
    // The scales follow the weights, so the first state is there again to the last bit.
    model.copy_parameters_from(&flat).unwrap();
    assert!(model.classify(&clips(2, 80)).equal(&logits));
    assert!(model.trainable().iter().all(Tensor::requires_grad));

    let error = model
        .copy_parameters_from(&flat[1..])
        .unwrap_err()
        .to_string();
    assert!(error.contains(&count.to_string()), "{error}");
    assert!(model.copy_parameters_to(&mut flat[1..]).is_err());
}

#[test]
fn a_new_head_changes_the_classes_and_nothing_before_them() {
    let (_, model) = quantized(Method::Mse);
    let classes: Vec<String> = (0..5).map(|class| format!("Small{class}")).collect();
    let new = model.with_new_head(classes.clone(), 3).unwrap();
    assert_eq!(new.info.classes, classes);
    assert_eq!(new.quantization(), model.quantization());
    assert_eq!(new.classify(&clips(2, 90)).size(), [2, 5]);
    let (old, fresh) = (weights::of(model.var_store()), weights::of(new.var_store()));
    for (name, tensor) in &old {
        assert_eq!(
            tensor.size() == fresh[name].size() && tensor.equal(&fresh[name]),
            !name.starts_with("fc."),
            "{name}"
        );
    }
    let again = model.with_new_head(classes.clone(), 3).unwrap();
    assert!(weights::of(again.var_store())["fc.weight"].equal(&fresh["fc.weight"]));
    let other = model.with_new_head(classes, 4).unwrap();
    assert!(!weights::of(other.var_store())["fc.weight"].equal(&fresh["fc.weight"]));
    fill(&fresh["stem.0.weight"], 0.0);
    assert!(
        largest(&old["stem.0.weight"]) > 0.0,
        "the new model shares memory with the old"
    );
    assert!(model.with_new_head(Vec::new(), 3).is_err());
}

#[test]
fn a_saved_model_is_loaded_to_the_last_bit() {
    let (_, model) = quantized(Method::Mse);
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let loaded = QuantizedModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(loaded.info, model.info);
    assert_eq!(loaded.bytes(), model.bytes());
    let clips = clips(3, 95);
    assert!(loaded.classify(&clips).equal(&model.classify(&clips)));
    assert!(matches!(
        Model::load(folder.path(), Device::Cpu).unwrap(),
        Model::Quantized(_)
    ));
    let again = tempfile::tempdir().unwrap();
    loaded.save(again.path()).unwrap();
    for file in [files::INFO, files::WEIGHTS] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(bytes(folder.path()), bytes(again.path()), "{file}");
    }
    let tensors = weights::read(&folder.path().join(files::WEIGHTS)).unwrap();
    assert_eq!(tensors["stem.0.weight_int8"].kind(), Kind::Int8);
    let on_device: usize = tensors
        .iter()
        .filter(|(name, _)| !name.ends_with(".weight"))
        .map(|(_, tensor)| tensor.numel() * tensor.kind().elt_size_in_bytes())
        .sum();
    let activations = model.quantization().activations.len();
    assert_eq!(model.bytes(), (on_device + 5 * activations) as u64);
}

#[test]
fn a_folder_that_is_not_right_is_refused_by_what_is_wrong() {
    let (float, model) = quantized(Method::Mse);
    let folder = tempfile::tempdir().unwrap();
    let refused = || {
        QuantizedModel::load(folder.path(), Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    float.save(folder.path()).unwrap();
    assert!(refused().contains("not quantized"));

    model.save(folder.path()).unwrap();
    let error = FloatModel::load(folder.path(), Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(error.contains("quantized"), "{error}");

    let path = folder.path().join(files::WEIGHTS);
    let mut tensors = weights::read(&path).unwrap();
    let bytes = tensors["layer2.0.conv2.0.weight_int8"].copy();
    let _ = tensors["layer2.0.conv2.0.weight_int8"].get(0).fill_(1);
    weights::write(&path, &tensors).unwrap();
    assert!(
        refused().contains("layer2.0.conv2.0.weight_int8"),
        "{}",
        refused()
    );

    tensors.insert("layer2.0.conv2.0.weight_int8".into(), bytes.get(0));
    weights::write(&path, &tensors).unwrap();
    assert!(
        refused().contains("layer2.0.conv2.0.weight_int8 is Int8"),
        "{}",
        refused()
    );

    tensors.remove("fc.weight_scale");
    tensors.insert("layer2.0.conv2.0.weight_int8".into(), bytes);
    weights::write(&path, &tensors).unwrap();
    assert!(
        refused().contains("missing: fc.weight_scale"),
        "{}",
        refused()
    );

    model.save(folder.path()).unwrap();
    let info = folder.path().join(files::INFO);
    let text = std::fs::read_to_string(&info).unwrap();
    std::fs::write(&info, text.replace("\"avgpool\"", "\"pool\"")).unwrap();
    assert!(refused().contains("pool"), "{}", refused());
}

#[test]
fn broken_weights_and_dead_layers_are_named() {
    let settings = CalibrationSettings::default();
    let refuse = |float: &FloatModel| {
        QuantizedModel::from_float(float, batches(), &settings)
            .unwrap_err()
            .to_string()
    };
    let float = float_model(10, 4);
    let tensors = weights::of(float.var_store());
    fill(&tensors["layer3.0.conv1.0.weight"].get(1), f64::NAN);
    assert!(
        refuse(&float).contains("layer3.0.conv1.0.weight"),
        "{}",
        refuse(&float)
    );

    let float = float_model(10, 4);
    let tensors = weights::of(float.var_store());
    fill(&tensors["layer1.0.conv2.1.running_var"], -1.0);
    assert!(
        refuse(&float).contains("layer1.0.conv2.1"),
        "{}",
        refuse(&float)
    );

    let float = float_model(10, 4);
    let tensors = weights::of(float.var_store());
    fill(&tensors["layer2.0.conv1.1.weight"], 0.0);
    fill(&tensors["layer2.0.conv1.1.bias"], -1.0);
    let error = refuse(&float);
    assert!(
        error.contains("activation `layer2.0.conv1` was 0"),
        "{error}"
    );
}

#[test]
fn calibration_refuses_no_clips_wrong_shapes_and_values_that_are_not_finite() {
    let float = float_model(10, 4);
    let settings = CalibrationSettings::default();
    let refuse = |batches: Vec<Tensor>| {
        QuantizedModel::from_float(&float, batches, &settings)
            .unwrap_err()
            .to_string()
    };
    assert!(refuse(Vec::new()).contains("at least one clip"));
    assert!(refuse(vec![clips(2, 0).narrow(2, 0, 3)]).contains("4 frames of 24x20"));
    let error = refuse(vec![clips(2, 0) * f64::NAN]);
    assert!(error.contains("activation `input`"), "{error}");
}

#[test]
fn recalibration_replaces_the_scales_and_a_failed_one_keeps_them() {
    let (_, mut model) = quantized(Method::MinMax);
    let before = model.quantization().clone();
    let settings = CalibrationSettings {
        method: Method::Percentile,
        percentile: 90.0,
    };
    assert!(model.recalibrate(Vec::new(), &settings).is_err());
    assert_eq!(*model.quantization(), before);
    model.recalibrate(batches().take(1), &settings).unwrap();
    assert_eq!(model.quantization().method, Method::Percentile);
    assert_eq!(model.quantization().calibration_clips, 8);
    assert_eq!(model.info.quantization.as_ref(), Some(model.quantization()));
    let stem = |q: &Quantization| q.activations[1].affine.scale;
    assert!(stem(model.quantization()) < stem(&before));
}

/// A convolution of bytes in 32-bit integers, as a device does it: clip, outputs x positions.
struct IntegerConvolution<'a> {
    input: Affine,
    output: Affine,
    weight: &'a [i8],
    scales: &'a [f32],
    bias: &'a [f32],
}

impl IntegerConvolution<'_> {
    /// 3x3x3, stride 1, padding 1. `bytes` is \[channels, frames, height, width\].
    fn run(&self, bytes: &[u8], [channels, frames, height, width]: [usize; 4]) -> Vec<u8> {
        let size = [frames, height, width];
        let mut out = Vec::new();
        for (o, (&scale, &bias)) in self.scales.iter().zip(self.bias).enumerate() {
            for t in 0..frames {
                for y in 0..height {
                    for x in 0..width {
                        let mut sum = 0i32;
                        for c in 0..channels {
                            for k in 0..27 {
                                let at = [t + k / 9, y + k / 3 % 3, x + k % 3];
                                // Outside lies 0, which is the zero point, and adds nothing.
                                if at.iter().zip(size).any(|(a, side)| *a == 0 || *a > side) {
                                    continue;
                                }
                                let [t, y, x] = at.map(|a| a - 1);
                                let byte = bytes[((c * frames + t) * height + y) * width + x];
                                let level = i32::from(byte) - i32::from(self.input.zero_point);
                                sum += level * i32::from(self.weight[(o * channels + c) * 27 + k]);
                            }
                        }
                        let real = sum as f32 * (self.input.scale * scale) + bias;
                        out.push(self.output.quantize(real));
                    }
                }
            }
        }
        out
    }
}

#[test]
fn integer_arithmetic_gives_the_simulated_bytes_within_one_step() {
    let (_, model) = quantized(Method::Mse);
    // The second convolution of the network's first block: bytes behind `stem` in, bytes of
    // `layer1.0.conv1` out.
    let layer = model.network.layers().nth(1).unwrap();
    assert_eq!(layer.name, "layer1.0.conv1.0");
    let [input, output] = [1, 2].map(|point| model.quantization().activations[point].affine);
    let mut random = stream(Purpose::Order, 11, 0, 0);
    let shape = [4usize, 3, 6, 5];
    let spread = input.range().1 / 2.0;
    let real = normal(&mut random, shape.iter().product(), f64::from(spread));
    let bytes: Vec<u8> = real.iter().map(|value| input.quantize(*value)).collect();
    let stored: Vec<i8> = values(&layer.stored_weight())
        .iter()
        .map(|w| *w as i8)
        .collect();
    let integer = IntegerConvolution {
        input,
        output,
        weight: &stored,
        scales: &values(&layer.scale),
        bias: &values(&layer.bias),
    };
    let integer = integer.run(&bytes, shape);

    let mut side = vec![1i64];
    side.extend(shape.map(|s| s as i64));
    let simulated = no_grad(|| {
        let rounding = [input, output];
        let mut rounding = network::Rounding(&rounding);
        let clip = Tensor::from_slice(&real).reshape(side);
        let clip = network::Visitor::visit(&mut rounding, 0, clip, true);
        let sum = layer.forward(&clip, Execution::Simulated);
        network::Visitor::visit(&mut rounding, 1, sum, true)
    });
    let simulated: Vec<u8> = values(&simulated)
        .iter()
        .map(|v| output.quantize(*v))
        .collect();
    assert_eq!(integer.len(), simulated.len());
    let differences: Vec<u8> = integer
        .iter()
        .zip(&simulated)
        .map(|(a, b)| a.abs_diff(*b))
        .collect();
    assert!(
        differences.iter().all(|d| *d <= 1),
        "off by more than a step"
    );
    let off = differences.iter().filter(|d| **d > 0).count();
    assert!(
        off * 100 < differences.len(),
        "{off} of {} off by a step",
        differences.len()
    );
    assert!(
        integer.iter().filter(|byte| **byte > 0).count() * 10 > integer.len(),
        "all cut off"
    );
}
