//! The stage as the runner sees it: folders in, folder and metrics out.

#![allow(clippy::unwrap_used)] // clippy excuses test functions only, not those they share

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use fedact_clips::{Clip, ClipSetWriter, Dataset, Split};
use fedact_nets::quantize::{ExecutedModel, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, Model, ModelInfo};
use fedact_quantize::DEFINITION;
use fedact_stage::{Event, Input, Job, Metrics, Reporter, StageError};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

const CLASSES: [&str; 3] = ["Bend", "Jump", "Walk"];
const SIDE: usize = 16;
const FRAMES: usize = 4;

/// A folder with a model, its clips, and room for the output.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(train: usize, test: usize) -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in ["model", "clips", "output", "checkpoints"] {
            std::fs::create_dir(bench.path(name)).unwrap();
        }
        bench.write_clips(&CLASSES, FRAMES, train, test);
        float_model().save(&bench.path("model")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Clips of a class share a colour and differ in a pattern.
    fn write_clips(&self, classes: &[&str], frames: usize, train: usize, test: usize) {
        let names = classes.iter().map(|name| (*name).to_owned()).collect();
        let dataset = Dataset::new(names, frames, SIDE, SIDE);
        let mut writer = ClipSetWriter::create(&self.path("clips"), dataset).unwrap();
        for index in 0..train + test {
            let label = index % classes.len();
            let split = if index < train {
                Split::Train
            } else {
                Split::Test
            };
            let pixels: Vec<u8> = (0..frames * SIDE * SIDE * 3)
                .map(|at| (at * (index + 3) / 7 + 80 * label * usize::from(at % 3 == label)) as u8)
                .collect();
            let clip = Clip {
                id: format!("{index:03}-{}#0", classes[label]),
                video: format!("{}/{index:03}.avi", classes[label]),
                video_digest: "00".repeat(32),
                label,
                group: format!("g{index}"),
                split,
                start_seconds: 0.0,
                end_seconds: 1.0,
                shard: 0,
                row: 0,
            };
            writer.push(clip, &pixels).unwrap();
        }
        writer.finish().unwrap();
    }

    fn job(&self, params: Value) -> Job {
        let input = |name: &str| Input {
            name: name.to_owned(),
            path: self.path(name),
        };
        let mut inputs = BTreeMap::from([
            ("model".to_owned(), vec![input("model")]),
            ("calibration".to_owned(), vec![input("clips")]),
        ]);
        if self.path("teacher").exists() {
            inputs.insert("teacher".to_owned(), vec![input("teacher")]);
        }
        Job {
            stage: "quantize".into(),
            step: "quantized".into(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs,
            output: self.path("output"),
            checkpoints: self.path("checkpoints"),
            pieces: None,
            threads: 1,
            fleet: None,
        }
    }

    fn run(&self, params: Value) -> Result<Metrics, StageError> {
        fedact_quantize::run(&self.job(params), &Reporter::silent())
    }

    /// Keeps a model as the teacher.
    fn teach(&self, teacher: &FloatModel) {
        let folder = self.path("teacher");
        std::fs::create_dir_all(&folder).unwrap();
        teacher.save(&folder).unwrap();
    }

    fn refused(&self) -> StageError {
        self.refused_with(params())
    }

    fn refused_with(&self, params: Value) -> StageError {
        let error = self.run(params).unwrap_err();
        assert!(error.invalid_input, "{error:?}");
        let written = std::fs::read_dir(self.path("output")).unwrap().count();
        assert_eq!(written, 0, "something was written");
        error
    }
}

fn params() -> Value {
    json!({"clips": 12, "batch_size": 5, "threads": 1})
}

/// The params, with this done beyond calibration.
fn improving(improve: Value) -> Value {
    let mut params = params();
    params["improve"] = improve;
    params["round"] = json!({"iterations": 20, "positions": 256});
    params["tune"] = json!({"epochs": 1, "batch_size": 4});
    params
}

fn float_model() -> FloatModel {
    float_model_for(CLASSES)
}

fn float_model_for<const N: usize>(classes: [&str; N]) -> FloatModel {
    let architecture = Architecture::r3d(10, 4);
    let input = InputGeometry {
        frames: FRAMES,
        height: SIDE,
        width: SIDE,
    };
    let info = ModelInfo::new(architecture, classes.map(str::to_owned).to_vec(), input);
    let model = FloatModel::new(info, 1, Device::Cpu).unwrap();
    let noise = Tensor::arange(4096 * 3, (Kind::Float, Device::Cpu)).sin() * 2.0;
    let clips = noise.reshape([4, 3, FRAMES as i64, SIDE as i64, SIDE as i64]);
    for _ in 0..5 {
        let _ = no_grad(|| model.logits(&clips, true));
    }
    model
}

fn file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_model_becomes_an_int8_one_with_its_figures() {
    let bench = Bench::new(20, 9);
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    let metrics = fedact_quantize::run(&bench.job(params()), &reporter).unwrap();

    let figure = |name: &str| metrics[name].as_f64().unwrap();
    for name in [
        "top1",
        "top5",
        "mean_class_accuracy",
        "float_top1",
        "agreement",
    ] {
        assert!((0.0..=1.0).contains(&figure(name)), "{name}");
    }
    // Three classes: all are among the first five.
    assert_eq!(figure("top5"), 1.0);
    assert!(figure("logits_snr_db") > 10.0, "{metrics:?}");
    assert_eq!(
        (figure("calibration_clips"), figure("test_clips")),
        (12.0, 9.0)
    );
    assert!(figure("bytes") * 3.0 < figure("float_bytes"), "{metrics:?}");

    let output = bench.path("output");
    let model = QuantizedModel::load(&output, Device::Cpu).unwrap();
    assert_eq!(model.bytes() as f64, figure("bytes"));
    assert_eq!(model.parameter_count() as f64, figure("parameters"));
    let written: Value = serde_json::from_slice(&file(&output, "metrics.json")).unwrap();
    for (name, value) in &metrics {
        // A time is this machine's and none of the output's.
        let expected = Some(value).filter(|_| name != "executed_milliseconds");
        assert_eq!(written.get(name), expected, "{name}");
    }
    let places = written["places"].as_array().unwrap();
    assert_eq!(places.len(), model.quantization().activations.len() + 1);
    assert_eq!(places.last().unwrap()["snr_db"], metrics["logits_snr_db"]);
    let counted: u64 = written["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 9);

    // What int8 kernels say, and a picture of where the noise comes from.
    assert!(figure("executed_agreement") >= 8.0 / 9.0, "{metrics:?}");
    assert!((figure("executed_top1") - figure("top1")).abs() <= 1.0 / 9.0);
    assert_eq!(figure("executed_top5"), 1.0);
    assert!(figure("executed_milliseconds") > 0.0);
    // Each layer by itself makes the simulation's bytes, up to one step.
    assert!(figure("executed_steps") <= 1.0, "{metrics:?}");
    let steps = written["executed_places"].as_array().unwrap();
    let names = |places: &[Value]| {
        places
            .iter()
            .map(|place| place["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(steps), names(places));
    let logits = &steps.last().unwrap()["largest"];
    assert_eq!(logits, &metrics["executed_logits_steps"]);
    assert!(
        steps
            .iter()
            .all(|place| place["off"].as_f64().unwrap() < 0.05),
        "{steps:?}"
    );
    let executed = ExecutedModel::load(&output.join("model.pt")).unwrap();
    assert_eq!(executed.info, model.info);
    let picture = String::from_utf8(file(&output, "noise.svg")).unwrap();
    for place in places {
        let name = place["name"].as_str().unwrap();
        assert!(picture.contains(name), "{name} is not in the picture");
    }

    let events = events.lock().unwrap();
    for expected in ["calibrating", "measuring"] {
        let complete = |event: &Event| {
            matches!(event, Event::Progress { task, done, total, .. }
                if task == expected && done == total && *total > 0)
        };
        assert!(
            events.iter().any(complete),
            "{expected} was not reported to its end"
        );
    }
}

#[test]
fn the_same_job_gives_the_same_bytes_and_the_seed_draws_the_clips() {
    let bench = Bench::new(20, 3);
    let model = |params: Value| {
        bench.run(params).unwrap();
        (
            file(&bench.path("output"), "model.safetensors"),
            file(&bench.path("output"), "model.json"),
            file(&bench.path("output"), "model.pt"),
        )
    };
    let first = model(params());
    assert!(model(params()) == first);
    let mut other = params();
    other["seed"] = json!(1);
    let (weights, info, executed) = model(other);
    assert!(weights == first.0, "calibration changed the weights");
    assert!(info != first.1, "other clips gave the same scales");
    assert!(executed != first.2, "the executed model kept its scales");
}

#[test]
fn fewer_training_clips_than_asked_for_are_all_used() {
    let metrics = Bench::new(6, 3).run(params()).unwrap();
    assert_eq!(metrics["calibration_clips"], 6);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let bench = Bench::new(3, 3);
    let error = bench.refused();
    assert!(error.message.contains("3 training clips"), "{error:?}");
    assert!(error.message.contains("at least 4"), "{error:?}");

    let bench = Bench::new(8, 0);
    assert!(bench.refused().message.contains("no test clips"));

    let bench = Bench::new(8, 3);
    std::fs::remove_dir_all(bench.path("clips")).unwrap();
    std::fs::create_dir(bench.path("clips")).unwrap();
    bench.write_clips(&["Bend", "Jump", "Run"], FRAMES, 8, 3);
    let error = bench.refused();
    assert!(
        error.message.contains("only in the clips: Run"),
        "{error:?}"
    );

    std::fs::remove_dir_all(bench.path("clips")).unwrap();
    std::fs::create_dir(bench.path("clips")).unwrap();
    bench.write_clips(&CLASSES, FRAMES * 2, 8, 3);
    let error = bench.refused();
    assert!(error.message.contains("4 frames of 16x16"), "{error:?}");
}

#[test]
fn a_broken_or_quantized_model_is_refused() {
    let bench = Bench::new(8, 3);
    let Model::Float(model) = Model::load(&bench.path("model"), Device::Cpu).unwrap() else {
        panic!("a float model was saved");
    };
    let broken = &model.var_store().variables()["layer2.0.conv1.0.weight"];
    let _ = no_grad(|| broken.get(0).fill_(f64::NAN));
    model.save(&bench.path("model")).unwrap();
    let error = bench.refused();
    assert!(
        error.message.contains("layer2.0.conv1.0.weight"),
        "{error:?}"
    );

    let bench = Bench::new(8, 3);
    bench.run(params()).unwrap();
    std::fs::remove_dir_all(bench.path("model")).unwrap();
    std::fs::rename(bench.path("output"), bench.path("model")).unwrap();
    std::fs::create_dir(bench.path("output")).unwrap();
    let error = bench.refused();
    assert!(error.message.contains("already quantized"), "{error:?}");
    assert!(error.remedy.unwrap().contains("float model"));
}

#[test]
fn a_network_without_a_form_in_bytes_is_refused_with_those_that_have_one() {
    for arch in ["x3d", "tsm"] {
        let bench = Bench::new(8, 3);
        let architecture = serde_json::from_value(json!({"arch": arch, "width": 8})).unwrap();
        let input = InputGeometry {
            frames: FRAMES,
            height: SIDE,
            width: SIDE,
        };
        let info = ModelInfo::new(architecture, CLASSES.map(str::to_owned).to_vec(), input);
        let model = FloatModel::new(info, 1, Device::Cpu).unwrap();
        std::fs::remove_dir_all(bench.path("model")).unwrap();
        std::fs::create_dir(bench.path("model")).unwrap();
        model.save(&bench.path("model")).unwrap();
        let error = bench.refused();
        assert!(error.message.contains("cannot be quantized"), "{error:?}");
        assert!(error.message.contains("arch: r3d"), "{error:?}");
    }
}

#[test]
fn improvements_are_made_told_and_written() {
    let bench = Bench::new(20, 6);
    let plain = bench.run(params()).unwrap();
    assert_eq!(
        (&plain["improved"], &plain["tried"]),
        (&json!([]), &json!([]))
    );
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    let all = json!(["equalise", "bias", "round", "tune"]);
    let job = bench.job(improving(all.clone()));
    let metrics = fedact_quantize::run(&job, &reporter).unwrap();
    assert_eq!(metrics["improved"], all);
    let tried = metrics["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 5);
    for (done, one) in tried.iter().enumerate() {
        let improved = one["improved"].as_array().map_or(0, Vec::len);
        assert_eq!(improved, done);
        assert!(one["logits_snr_db"].as_f64().unwrap() > 5.0, "{tried:?}");
        assert!((-1.0..=1.0).contains(&one["top1_lost"].as_f64().unwrap()));
    }
    // It is held against the network that was given, not against what it has become.
    assert!(metrics["logits_snr_db"].as_f64().unwrap() < 100.0);
    assert_eq!(metrics["float_top1"], plain["float_top1"]);
    let model = QuantizedModel::load(&bench.path("output"), Device::Cpu).unwrap();
    assert_eq!(json!(model.quantization().improved), all);
    assert!(
        metrics["executed_agreement"].as_f64().unwrap() > 0.8,
        "{metrics:?}"
    );
    for task in ["equalise", "bias", "round", "tune"] {
        let complete = |event: &Event| {
            matches!(event, Event::Progress { task: name, done, total, .. }
                if name == task && done == total && *total > 0)
        };
        assert!(events.lock().unwrap().iter().any(complete), "{task}");
    }
}

#[test]
fn improving_gives_the_same_bytes_again() {
    let bench = Bench::new(20, 3);
    let model = || {
        bench
            .run(improving(json!(["round", "bias", "tune"])))
            .unwrap();
        (
            file(&bench.path("output"), "model.safetensors"),
            file(&bench.path("output"), "model.json"),
        )
    };
    assert!(model() == model());
}

#[test]
fn the_rule_stops_at_once_where_calibration_is_enough() {
    let bench = Bench::new(20, 3);
    let mut params = improving(json!("auto"));
    params["enough"] = json!({"logits_snr_db": 0, "top1_lost": 1});
    let metrics = bench.run(params).unwrap();
    assert_eq!(metrics["improved"], json!([]));
    assert_eq!(metrics["tried"].as_array().unwrap().len(), 1);
}

#[test]
fn a_stage_that_is_to_end_does_so_amid_an_improvement() {
    let bench = Bench::new(12, 3);
    let itself = Arc::new(OnceLock::<Reporter>::new());
    let seen = Arc::clone(&itself);
    let reporter = Reporter::to_function(move |event| {
        if let (Event::Progress { task, .. }, Some(reporter)) = (event, seen.get())
            && task == "tune"
        {
            reporter.ask_to_stop();
        }
    });
    itself.set(reporter.clone()).unwrap();
    let error =
        fedact_quantize::run(&bench.job(improving(json!(["tune"]))), &reporter).unwrap_err();
    assert!(error.stopped, "{error:?}");
}

#[test]
fn a_teacher_that_does_not_fit_is_refused_by_its_folder_and_what_is_wrong() {
    let bench = Bench::new(12, 3);
    let tune = || improving(json!(["tune"]));
    bench.teach(&float_model_for(["Bend", "Jump", "Run"]));
    let error = bench.refused_with(tune());
    let folder = bench.path("teacher").display().to_string();
    for word in [
        &*folder,
        "only in the model: Run",
        "only in the clips: Walk",
    ] {
        assert!(error.message.contains(word), "{error:?}");
    }
    assert!(error.remedy.unwrap().contains("input `teacher`"));

    let broken = float_model();
    let _ = no_grad(|| {
        broken.var_store().variables()["fc.bias"]
            .shallow_clone()
            .fill_(f64::NAN)
    });
    bench.teach(&broken);
    let error = bench.refused_with(tune());
    assert!(
        error.message.contains("`logits of the teacher` holds"),
        "{error:?}"
    );

    let mut other = float_model();
    other.info.mean = [0.5; 3];
    bench.teach(&other);
    let error = bench.refused_with(tune());
    assert!(
        error.message.contains("normalises them otherwise"),
        "{error:?}"
    );

    bench.teach(&float_model());
    bench.run(tune()).unwrap();
    std::fs::remove_dir_all(bench.path("teacher")).unwrap();
    std::fs::rename(bench.path("output"), bench.path("teacher")).unwrap();
    std::fs::create_dir(bench.path("output")).unwrap();
    let error = bench.refused_with(tune());
    assert!(error.message.contains("is quantized"), "{error:?}");
}

#[test]
fn a_dead_layer_is_named_and_nothing_is_written() {
    let bench = Bench::new(8, 3);
    let model = float_model();
    let variables = model.var_store().variables();
    no_grad(|| {
        let _ = variables["layer2.0.conv1.1.weight"]
            .shallow_clone()
            .fill_(0.0);
        let _ = variables["layer2.0.conv1.1.bias"]
            .shallow_clone()
            .fill_(-1.0);
    });
    model.save(&bench.path("model")).unwrap();
    let error = bench.refused_with(improving(json!("auto")));
    assert!(
        error.message.contains("activation `layer2.0.conv1` was 0"),
        "{error:?}"
    );
    assert!(
        error.message.contains("calibrate on other or more clips"),
        "{error:?}"
    );
}
