//! Each improvement by hand, on every residual network, and where it has something to improve.

use fedact_recipe::{RoundSettings, TuneSettings};
use serde_json::json;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use super::super::network::Layer;
use super::super::tests::{
    batches, clips, fill, float_model, largest, quantized, residual_networks, trained_like, values,
};
use super::super::{CalibrationSettings, Execution, Method, QuantizedModel};
use super::walk::{Step, walk};
use super::*;
use crate::{FloatModel, weights};

/// A layer without geometry; its scales follow from its weights.
fn layer(store: &VarStore, name: &str, weight: &[f32], bias: &[f32]) -> Layer {
    let channels = bias.len() as i64;
    let shape = [channels, weight.len() as i64 / channels];
    let mut layer = Layer::new(store, name, &shape, None);
    no_grad(|| {
        let weight = Tensor::from_slice(weight).reshape(shape);
        layer.weight.shallow_clone().copy_(&weight);
        layer.bias.shallow_clone().copy_(&Tensor::from_slice(bias));
    });
    layer.refresh_scale();
    layer
}

fn close(tensor: &Tensor, expected: &[f32]) {
    let found = values(&tensor.flatten(0, -1));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}

fn plain(float: &FloatModel) -> QuantizedModel {
    QuantizedModel::from_float(float, batches(), &CalibrationSettings::default()).unwrap()
}

/// Labels that the float network gives.
fn examples(model: &QuantizedModel, clips: Vec<Tensor>) -> Examples {
    let labels = |clips: &Tensor| {
        let logits = no_grad(|| model.logits(clips, Execution::Float));
        logits.argmax(1, false)
    };
    Examples {
        labels: clips.iter().map(labels).collect(),
        clips,
    }
}

fn settings(improve: serde_json::Value) -> ImproveSettings {
    serde_json::from_value(
        json!({"improve": improve, "round": {"iterations": 200, "positions": 2048}}),
    )
    .unwrap()
}

/// A fresh model of this float one, improved, judged by other clips than it learned from.
fn improved(float: &FloatModel, settings: &ImproveSettings) -> Improved {
    let model = plain(float);
    let learned = examples(&model, batches().collect());
    let judged = examples(&model, (20..23).map(|seed| clips(8, seed)).collect());
    let improving = Improving {
        calibration: &CalibrationSettings::default(),
        settings,
        examples: &learned,
        judged: &judged,
        teacher: None,
    };
    model.improve(&improving, &mut |_, _, _| Ok(())).unwrap()
}

/// The ratios of what was tried, from the beginning.
fn ratios(improved: &Improved) -> Vec<f64> {
    let tried = improved.model.quantization().tried.iter();
    tried.map(|tried| tried.logits_snr_db).collect()
}

#[test]
fn a_walk_comes_by_every_layer_with_what_it_reads_and_ends_at_the_logits() {
    for architecture in residual_networks() {
        let float = trained_like(architecture);
        let model = plain(&float);
        let clips = [clips(3, 40), clips(2, 41)];
        let mut names = Vec::new();
        let mut last = Vec::new();
        walk((&model, &model), &clips, &mut |step: Step| {
            names.push(step.layer.name.clone());
            let outputs = step.inputs.iter().map(|input| step.output(input));
            last = outputs
                .zip(step.targets)
                .map(|(output, target)| (output, target.shallow_clone()))
                .collect();
            Ok(())
        })
        .unwrap();
        let layers: Vec<_> = model
            .network
            .layers()
            .map(|layer| layer.name.clone())
            .collect();
        assert_eq!(names, layers, "{architecture}");
        for ((output, target), clips) in last.iter().zip(&clips) {
            no_grad(|| {
                assert!(output.equal(&model.logits(clips, Execution::Simulated)));
                assert!(target.equal(&model.logits(clips, Execution::Float)));
            });
        }
    }
}

#[test]
fn factors_that_equalise_are_those_computed_by_hand() {
    let store = VarStore::new(Device::Cpu);
    // Activations up to 8 and 2, read by columns up to 2 and 8: √(8/2) = 2 and √(2/8) = 1/2.
    let first = layer(
        &store,
        "first",
        &[1.0, -1.0, 0.0, 3.0, 1.0, 1.0],
        &[1.0, 2.0, 5.0],
    );
    let second = layer(
        &store,
        "second",
        &[2.0, 1.0, 0.0, -1.0, -8.0, 0.0],
        &[0.5, 0.25],
    );
    let mut activation = Tensor::from_slice(&[8.0f32, 2.0, 7.0]);
    no_grad(|| equalise::balance((&first, &second), &mut activation));
    // Nobody reads the third channel, and it stays.
    close(&first.weight, &[0.5, -0.5, 0.0, 6.0, 1.0, 1.0]);
    close(&first.bias, &[0.5, 4.0, 5.0]);
    close(&second.weight, &[4.0, 0.5, 0.0, -2.0, -4.0, 0.0]);
    close(&second.bias, &[0.5, 0.25]);
    close(&activation, &[4.0, 4.0, 7.0]);
}

#[test]
fn an_equalised_network_is_the_same_function() {
    for architecture in residual_networks() {
        let model = plain(&trained_like(architecture));
        let mut equal = model.twin().unwrap();
        let batches: Vec<Tensor> = batches().collect();
        equalise::equalise(&mut equal, &batches);
        let clips = clips(4, 50);
        let logits = |model: &QuantizedModel| no_grad(|| model.logits(&clips, Execution::Float));
        let (before, after) = (logits(&model), logits(&equal));
        let difference = largest(&(&before - &after)) / largest(&before);
        assert!(difference < 1e-5, "{architecture}: {difference}");
        let weight = |model: &QuantizedModel| model.network.blocks[0].convolutions[0].weight.copy();
        assert!(
            !weight(&model).equal(&weight(&equal)),
            "{architecture}: nothing was scaled"
        );
    }
}

/// Scales the channels between the first two convolutions of each block by 1/64 to 64, which changes nothing in float.
fn unequal() -> FloatModel {
    let float = float_model(10, 4);
    let tensors = weights::of(float.var_store());
    no_grad(|| {
        for stage in 1..5 {
            let of = |part: &str| tensors[&format!("layer{stage}.0.{part}")].shallow_clone();
            let channels = of("conv1.1.bias").size()[0];
            let powers =
                Tensor::arange(channels, (Kind::Float, Device::Cpu)).remainder(4) * 4.0 - 6.0;
            let factors = powers.exp2();
            let _ = of("conv1.1.weight").g_mul_(&factors);
            let _ = of("conv1.1.bias").g_mul_(&factors);
            let _ = of("conv2.0.weight").g_div_(&factors.reshape([1, -1, 1, 1, 1]));
        }
    });
    float
}

#[test]
fn equalising_helps_where_channels_are_unequal() {
    let unequal = improved(&unequal(), &settings(json!(["equalise"])));
    let equal = improved(&float_model(10, 4), &settings(json!(["equalise"])));
    let (unequal, equal) = (ratios(&unequal), ratios(&equal));
    assert!(unequal[1] > unequal[0] + 6.0, "{unequal:?}");
    // It makes good all that was spoilt.
    assert!((unequal[1] - equal[1]).abs() < 3.0, "{unequal:?} {equal:?}");
}

#[test]
fn a_corrected_bias_is_that_computed_by_hand() {
    let store = VarStore::new(Device::Cpu);
    // A scale of 0.01: the second weight is stored as 0.50 and ought to be 0.504.
    let layer = layer(&store, "fc", &[1.27, 0.504], &[0.1]);
    let inputs = [[1.0f32, 1.0], [0.0, 3.0]].map(|row| Tensor::from_slice(&row).reshape([1, 2]));
    let targets = [1.27f32 + 0.504 + 0.1, 3.0 * 0.504 + 0.1]
        .map(|target| Tensor::from(target).reshape([1, 1]));
    bias::correct(&Step {
        layer: &layer,
        inputs: &inputs,
        targets: &targets,
        rectified: false,
    });
    // The errors are -0.004 and -0.012, -0.008 in the mean.
    close(&layer.bias, &[0.108]);
}

/// Weights that all lie 0.4 steps above a byte, so that rounding takes something off each.
fn biased() -> FloatModel {
    let float = float_model(10, 4);
    no_grad(|| {
        for (name, mut tensor) in weights::of(float.var_store()) {
            if tensor.dim() == 5 {
                let largest = tensor.abs().amax([1i64, 2, 3, 4].as_slice(), true);
                let scale = &largest / 127.0;
                let levels = (&tensor / &scale).floor() + 0.4;
                let kept = tensor.abs().ge_tensor(&largest);
                let weight = tensor.where_self(&kept, &(levels.clamp(-126.0, 126.5) * scale));
                tensor.copy_(&weight);
            }
            // Folded, a factor below 0 would turn 0.4 into -0.4.
            if name.contains("running_var") {
                continue;
            }
            if tensor.dim() == 1 && name.ends_with("1.weight") {
                let positive = tensor.abs();
                tensor.copy_(&positive);
            }
        }
    });
    float
}

#[test]
fn correcting_biases_helps_where_rounding_goes_one_way() {
    let ratios = ratios(&improved(&biased(), &settings(json!(["bias"]))));
    assert!(ratios[1] > ratios[0] + 3.0, "{ratios:?}");
}

#[test]
fn rounding_is_learned_as_computed_by_hand() {
    let store = VarStore::new(Device::Cpu);
    // A scale of 0.01. The first weight is never used and makes the scale; the inputs of the others are always the same, so
    // that 0.45 + 0.4 + 0.35 steps are best rounded with one of them up: an error of 0.2 instead of 1.2 steps.
    let layer = layer(&store, "fc", &[1.27, 0.5045, 0.004, -0.2965], &[0.0]);
    let inputs = [Tensor::from_slice(&[0.0f32, 1.0, 1.0, 1.0]).reshape([1, 4])];
    let targets = [Tensor::from(0.212f32).reshape([1, 1])];
    let step = Step {
        layer: &layer,
        inputs: &inputs,
        targets: &targets,
        rectified: false,
    };
    round::round(&step, &RoundSettings::default(), 0).unwrap();
    close(&step.output(&inputs[0]), &[0.21]);
    let weight = values(&layer.weight.flatten(0, -1));
    assert!((weight[0] - 1.27).abs() < 1e-6, "{weight:?}");
    let up = weight[1..].iter().zip([0.50, 0.0, -0.30]);
    let up = up.filter(|(weight, floor)| (**weight - floor - 0.01).abs() < 1e-6);
    assert_eq!(up.count(), 1, "{weight:?}");
}

#[test]
fn behind_a_relu_nothing_is_learned_from_what_it_cuts_off() {
    let store = VarStore::new(Device::Cpu);
    let layer = layer(&store, "fc", &[1.27, 0.504, 0.004], &[-9.0]);
    let inputs = [Tensor::from_slice(&[0.0f32, 1.0, 1.0]).reshape([1, 3])];
    let targets = [Tensor::from(-8.492f32).reshape([1, 1])];
    let round = |rectified| {
        let step = Step {
            layer: &layer,
            inputs: &inputs,
            targets: &targets,
            rectified,
        };
        round::round(&step, &RoundSettings::default(), 0).unwrap();
        values(&step.output(&inputs[0]))[0]
    };
    assert!((round(true) + 8.5).abs() < 1e-5, "the nearest was not kept");
}

#[test]
fn learned_rounding_helps_and_its_bytes_outlast_new_scales() {
    let rounded = improved(&float_model(10, 4), &settings(json!(["round"])));
    let ratios = ratios(&rounded);
    assert!(ratios[1] > ratios[0] + 0.5, "{ratios:?}");
    let mut model = rounded.model;
    let bytes = |model: &QuantizedModel| {
        let layers = model.network.layers();
        layers
            .map(|layer| layer.stored_weight())
            .collect::<Vec<_>>()
    };
    let before = bytes(&model);
    let nearest = bytes(&plain(&float_model(10, 4)));
    let same = |a: &[Tensor], b: &[Tensor]| a.iter().zip(b).all(|(a, b)| a.equal(b));
    assert!(!same(&before, &nearest), "nothing was learned");
    let steps = before.iter().zip(&nearest).map(|(a, b)| largest(&(a - b)));
    assert!(
        steps.fold(0.0, f64::max) <= 1.0,
        "a byte went further than up or down"
    );
    model.refresh_scales();
    assert!(same(&before, &bytes(&model)));
}

#[test]
fn rounding_is_learned_by_seed() {
    let by_seed = |seed| {
        let settings = ImproveSettings {
            seed,
            ..settings(json!(["round"]))
        };
        let improved = improved(&float_model(10, 4), &settings);
        weights::of(improved.model.var_store())
    };
    let (one, again, other) = (by_seed(1), by_seed(1), by_seed(2));
    assert!(one.iter().all(|(name, tensor)| tensor.equal(&again[name])));
    assert!(one.iter().any(|(name, tensor)| !tensor.equal(&other[name])));
}

/// Ranges that cut much off, which training can make up for.
fn cut() -> (QuantizedModel, QuantizedModel) {
    let (_, mut model) = quantized(Method::Mse);
    let reference = model.twin().unwrap();
    let calibration = CalibrationSettings {
        method: Method::Percentile,
        percentile: 75.0,
    };
    model.recalibrate(batches(), &calibration).unwrap();
    (model, reference)
}

#[test]
fn tuning_helps_where_ranges_are_too_narrow() {
    let (mut model, reference) = cut();
    let learned = examples(&reference, batches().collect());
    let judged = examples(&reference, (20..23).map(|seed| clips(8, seed)).collect());
    // What is asked for: the float network's answers, on clips that were not learned from.
    let apart = |model: &QuantizedModel| {
        let distances = judged.clips.iter().map(|clips| {
            let logits = |model: &QuantizedModel, how| no_grad(|| model.logits(clips, how));
            let wanted = logits(&reference, Execution::Float).softmax(-1, Kind::Float);
            let found = logits(model, Execution::Simulated);
            crate::loss::divergence(&found, &wanted, 1.0).double_value(&[])
        });
        distances.sum::<f64>()
    };
    let before = apart(&model);
    let lesson = Lesson::new(&learned, &reference, None).unwrap();
    let tune_settings = TuneSettings {
        epochs: 30,
        learning_rate: 1e-3,
        batch_size: 8,
        ..TuneSettings::default()
    };
    let twin = {
        let mut twin = model.twin().unwrap();
        tune::tune(&mut twin, &lesson, &tune_settings, 3, &mut |_, _| Ok(())).unwrap();
        twin
    };
    let mut told = Vec::new();
    tune::tune(
        &mut model,
        &lesson,
        &tune_settings,
        3,
        &mut |done, total| {
            told.push((done, total));
            Ok(())
        },
    )
    .unwrap();
    let after = apart(&model);
    assert!(after < 0.7 * before, "{before} became {after}");
    assert_eq!((told[0], told[told.len() - 1]), ((0, 120), (120, 120)));
    // The seed decides all of it.
    let twins = weights::of(twin.var_store());
    let own = weights::of(model.var_store());
    assert!(own.iter().all(|(name, tensor)| tensor.equal(&twins[name])));
    assert_eq!(model.quantization(), twin.quantization());
    // The ranges have followed, and what is written is what was trained.
    let scales = |model: &QuantizedModel| {
        let affines = model.affines();
        affines
            .iter()
            .map(|affine| affine.scale)
            .collect::<Vec<_>>()
    };
    let (cut, _) = self::cut();
    assert_eq!(scales(&cut)[0], scales(&model)[0]);
    assert!(
        scales(&cut)[1..]
            .iter()
            .zip(&scales(&model)[1..])
            .all(|(a, b)| a != b)
    );
    assert_eq!(model.info.quantization.as_ref(), Some(model.quantization()));
}

#[test]
fn tuning_listens_to_another_teacher_and_to_labels() {
    let (model, reference) = cut();
    let learned = examples(&reference, batches().collect());
    let other = trained_like(residual_networks().nth(2).unwrap());
    let towards = |teacher: &FloatModel, labels: f64| {
        let mut model = model.twin().unwrap();
        let lesson = Lesson::new(&learned, &reference, Some(teacher)).unwrap();
        let settings = TuneSettings {
            epochs: 20,
            learning_rate: 1e-3,
            batch_size: 8,
            temperature: 1.0,
            labels,
        };
        tune::tune(&mut model, &lesson, &settings, 3, &mut |_, _| Ok(())).unwrap();
        let clips = &learned.clips[0];
        let taught = teacher.classify(clips).softmax(-1, Kind::Float);
        let logits = no_grad(|| model.logits(clips, Execution::Simulated));
        let from_teacher = crate::loss::divergence(&logits, &taught, 1.0);
        let from_labels = crate::loss::cross_entropy(&logits, &learned.labels[0], 0.0);
        (
            from_teacher.double_value(&[]),
            from_labels.double_value(&[]),
        )
    };
    let (taught, labelled) = (towards(&other, 0.0), towards(&other, 1.0));
    assert!(taught.0 < labelled.0, "{taught:?} {labelled:?}");
    assert!(labelled.1 < taught.1, "{taught:?} {labelled:?}");
}

#[test]
fn a_training_that_breaks_and_a_broken_teacher_are_told() {
    let (mut model, reference) = cut();
    let learned = examples(&reference, batches().collect());
    let lesson = Lesson::new(&learned, &reference, None).unwrap();
    let settings = TuneSettings::default();
    fill(&weights::of(model.var_store())["fc.bias"], f64::NAN);
    let error = tune::tune(&mut model, &lesson, &settings, 0, &mut |_, _| Ok(())).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("loss of `tune` became NaN in epoch 1, batch 1"),
        "{error}"
    );

    let teacher = float_model(10, 4);
    fill(&weights::of(teacher.var_store())["fc.bias"], f64::NAN);
    let error = Lesson::new(&learned, &reference, Some(&teacher))
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(error.contains("`logits of the teacher` holds"), "{error}");
}

#[test]
fn a_list_is_done_whole_and_in_order_and_each_step_is_told() {
    let improved = improved(
        &float_model(10, 4),
        &settings(json!(["bias", "equalise", "round"])),
    );
    let quantization = improved.model.quantization();
    let done = [Improvement::Equalise, Improvement::Bias, Improvement::Round];
    assert_eq!(quantization.improved, done);
    assert_eq!(
        improved.model.info.quantization.as_ref(),
        Some(quantization)
    );
    let told: Vec<usize> = quantization
        .tried
        .iter()
        .map(|tried| tried.improved.len())
        .collect();
    assert_eq!(told, [0, 1, 2, 3]);
    assert!(
        quantization
            .tried
            .iter()
            .all(|tried| tried.top1_lost.is_some())
    );
    // The reference is the float network still, and the model goes by its folder.
    let float = float_model(10, 4);
    let clips = clips(4, 60);
    let logits = no_grad(|| improved.reference.logits(&clips, Execution::Float));
    assert!(largest(&(logits - float.classify(&clips))) < 1e-4);
    let folder = tempfile::tempdir().unwrap();
    improved.model.save(folder.path()).unwrap();
    let loaded = QuantizedModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(loaded.info, improved.model.info);
    assert!(
        loaded
            .classify(&clips)
            .equal(&improved.model.classify(&clips))
    );
}

#[test]
fn the_rule_stops_where_it_is_enough_and_leaves_out_what_does_not_help() {
    let with = |decibels: f64| {
        let mut settings = settings(json!("auto"));
        settings.enough.logits_snr_db = decibels;
        settings.tune.epochs = 1;
        improved(&float_model(10, 4), &settings)
    };
    let at_once = with(1.0);
    assert_eq!(at_once.model.quantization().tried.len(), 1);
    assert!(at_once.model.quantization().improved.is_empty());

    let never = with(199.0);
    let quantization = never.model.quantization();
    let last: Vec<_> = quantization
        .tried
        .iter()
        .map(|tried| tried.improved.last().copied())
        .collect();
    let all = Improvement::ALL.map(Some);
    assert_eq!((last[0], &last[1..]), (None, &all[..]));
    let chosen = quantization
        .tried
        .iter()
        .find(|tried| tried.improved == quantization.improved);
    let best = ratios(&never)[..4].iter().copied().fold(f64::MIN, f64::max);
    assert!(
        chosen.unwrap().logits_snr_db >= best,
        "{:?}",
        quantization.tried
    );
}

#[test]
fn whoever_watches_can_end_it() {
    let model = plain(&float_model(10, 4));
    let learned = examples(&model, batches().collect());
    let settings = settings(json!(["equalise", "bias"]));
    let improving = Improving {
        calibration: &CalibrationSettings::default(),
        settings: &settings,
        examples: &learned,
        judged: &learned,
        teacher: None,
    };
    let mut told = Vec::new();
    let outcome = model.improve(&improving, &mut |improvement, done, total| {
        told.push((improvement, done, total));
        if improvement == Improvement::Bias && done == 3 {
            return Err(NetsError::Stopped);
        }
        Ok(())
    });
    assert!(matches!(outcome, Err(NetsError::Stopped)));
    assert_eq!(told[2], (Improvement::Equalise, 2, 2));
    let layers = plain(&float_model(10, 4)).network.layers().count() as u64;
    assert_eq!(told[3], (Improvement::Bias, 0, layers));
}
