//! The stage end to end, on clips of moving bars and a network of a few thousand parameters.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_federate::{DEFINITION, run};
use fedact_federation::history::{Record, read_complete};
use fedact_nets::quantize::{CalibrationSettings, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo};
use fedact_stage::{Event, Input, Job, Metrics, Reporter, StageError};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const FRAMES: usize = 4;
const SIDE: usize = 16;
const SUBJECTS: usize = 6;

/// A bar that moves to the right, or to the left, or stands still: one frame cannot tell.
fn bar(label: usize, subject: usize, take: usize) -> Vec<u8> {
    let mut pixels = vec![(20 + 10 * subject) as u8; FRAMES * SIDE * SIDE * 3];
    for frame in 0..FRAMES {
        let place = match label {
            0 => 3 * frame,
            1 => 3 * (FRAMES - 1 - frame),
            _ => 3 * (take % FRAMES),
        };
        for row in 0..SIDE {
            for column in place..place + 4 {
                let at = ((frame * SIDE + row) * SIDE + column) * 3;
                pixels[at..at + 3].fill((200 + 5 * take) as u8);
            }
        }
    }
    pixels
}

fn write_clips(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let classes = ["right", "left", "still"].map(str::to_owned).to_vec();
    let dataset = Dataset::new(classes, FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    let mut clips = Vec::new();
    for subject in 0..SUBJECTS {
        for label in 0..3 {
            for take in 0..4 {
                clips.push((subject, label, take));
            }
        }
    }
    for (subject, label, take) in clips {
        let name = format!("g{subject:02}_c{label}{take}");
        let clip = Clip {
            id: name.clone(),
            video: name,
            video_digest: "0".repeat(64),
            label,
            group: format!("g{subject:02}"),
            split: if subject < 4 {
                Split::Train
            } else {
                Split::Test
            },
            start_seconds: 0.0,
            end_seconds: 1.0,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &bar(label, subject, take)).unwrap();
    }
    writer.finish().unwrap();
}

fn write_model(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let architecture = Architecture::r3d(10, 4);
    let input = InputGeometry {
        frames: FRAMES,
        height: SIDE,
        width: SIDE,
    };
    let classes = ["walk", "run"].map(str::to_owned).to_vec();
    let float =
        FloatModel::new(ModelInfo::new(architecture, classes, input), 1, Device::Cpu).unwrap();
    let count = 8 * 3 * FRAMES * SIDE * SIDE;
    let noise: Vec<f32> = (0..count)
        .map(|index| ((index * 7919) % 1000) as f32 / 250.0 - 2.0)
        .collect();
    let batch = Tensor::from_slice(&noise)
        .reshape([8, 3, FRAMES as i64, SIDE as i64, SIDE as i64])
        .to_kind(Kind::Float);
    let model =
        QuantizedModel::from_float(&float, [batch], &CalibrationSettings::default()).unwrap();
    model.save(folder).unwrap();
}

/// A clip set and a model, made once for all tests.
fn inputs() -> &'static (PathBuf, PathBuf) {
    static INPUTS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    INPUTS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let (model, clips) = (folder.join("quantized"), folder.join("small-clips"));
        write_model(&model);
        write_clips(&clips);
        (model, clips)
    })
}

fn job(folder: &Path, params: Value) -> Job {
    let (model, clips) = inputs();
    let input = |path: &PathBuf| {
        vec![Input {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            path: path.clone(),
        }]
    };
    let job = Job {
        stage: "federate".into(),
        step: "async".into(),
        params: (DEFINITION.resolve)(&params).unwrap(),
        inputs: BTreeMap::from([
            ("model".to_owned(), input(model)),
            ("clips".to_owned(), input(clips)),
        ]),
        output: folder.join("output"),
        checkpoints: folder.join("checkpoints"),
        pieces: None,
        threads: 1,
    };
    for folder in [&job.output, &job.checkpoints] {
        let _ = std::fs::remove_dir_all(folder);
    }
    std::fs::create_dir_all(&job.output).unwrap();
    std::fs::create_dir_all(&job.checkpoints).unwrap();
    job
}

fn params(strategy: &str) -> Value {
    json!({
        "strategy": strategy,
        "clients": 4,
        "local_epochs": 1,
        "batch_size": 6,
        "learning_rate": 0.05,
        "budget": {"client_epochs": 24},
        "evaluate_every": 8,
        "checkpoint_every": 2,
        "augmentation": {"scale": [1.0, 1.0], "aspect": 1.0, "shift": 0},
        "threads": 1,
        "seed": 3,
    })
}

fn finished(job: &Job) -> (Metrics, Vec<Record>) {
    let metrics = run(job, &Reporter::silent()).unwrap();
    let history = read_complete(&job.output.join("history.jsonl")).unwrap();
    (metrics, history)
}

fn weights(job: &Job) -> Vec<u8> {
    std::fs::read(job.output.join("model.safetensors")).unwrap()
}

#[test]
fn the_three_strategies_do_equal_work_and_leave_what_they_promise() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = Vec::new();
    let mut seconds = BTreeMap::new();
    for strategy in ["fedasync", "fedavg", "central"] {
        let job = job(folder.path(), params(strategy));
        let (metrics, history) = finished(&job);
        let model = QuantizedModel::load(&job.output, Device::Cpu).unwrap();
        assert_eq!(model.info.classes, ["right", "left", "still"]);
        assert_ne!(
            weights(&job),
            std::fs::read(inputs().0.join("model.safetensors")).unwrap()
        );
        let Record::Start {
            strategy: named,
            clients,
            parameters,
            ..
        } = &history[0]
        else {
            panic!("{:?}", history[0]);
        };
        assert_eq!(named, strategy);
        assert_eq!(*parameters, model.parameter_count() as u64);
        let devices: std::collections::BTreeSet<&str> = clients
            .iter()
            .map(|client| client.device.as_str())
            .collect();
        assert!(devices.len() >= 4, "{devices:?}");
        assert!(matches!(
            history[1],
            Record::Evaluation {
                time: 0.0,
                version: 0,
                samples: 0,
                ..
            }
        ));
        assert_eq!(metrics["client_epochs"], 24.0);
        assert_eq!(metrics["end"], "budget-spent");
        let text = std::fs::read_to_string(job.output.join("metrics.json")).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written["top1"], metrics["top1"]);
        samples.push(metrics["samples"].as_u64().unwrap());
        seconds.insert(strategy, metrics["virtual_seconds"].as_f64().unwrap());
        if strategy == "central" {
            let clip_bytes = (FRAMES * SIDE * SIDE * 3) as u64;
            assert_eq!(metrics["bytes_up"], 48 * clip_bytes);
        } else {
            let message = *parameters * 4 + 64;
            assert_eq!(metrics["bytes_up"], 24 * message);
            assert_eq!(metrics["updates"], 24);
        }
    }
    assert_eq!(samples, [24 * 12; 3]);
    assert!(seconds["fedasync"] < seconds["fedavg"], "{seconds:?}");
}

#[test]
fn fine_tuning_learns_what_one_frame_cannot_tell() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["fedasync", "central"] {
        let mut params = params(strategy);
        params["budget"] = json!({"client_epochs": 96});
        let job = job(folder.path(), params);
        let (metrics, history) = finished(&job);
        let before = match &history[1] {
            Record::Evaluation { loss, .. } => *loss,
            other => panic!("{other:?}"),
        };
        let after = metrics["loss"].as_f64().unwrap();
        let top1 = metrics["top1"].as_f64().unwrap();
        assert!(after < 0.7 * before, "{strategy}: loss {before} to {after}");
        assert!(top1 > 0.6, "{strategy}: top-1 {top1} of three classes");
    }
}

#[test]
fn a_killed_run_carries_on_and_ends_bit_for_bit_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["fedasync", "fedavg", "central"] {
        let mut params = params(strategy);
        params["budget"] = json!({"client_epochs": 16});
        let whole = job(&folder.path().join("whole"), params.clone());
        let (_, expected) = finished(&whole);

        let killed = job(&folder.path().join("killed"), params);
        let reporter = Reporter::to_function(|event| {
            if let Event::Progress { done, .. } = event {
                assert!(*done < 12, "killed by the test");
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&killed, &reporter)));
        assert!(outcome.is_err(), "it was to be killed half-way");
        assert!(
            killed.checkpoints.join("federate.checkpoint").exists(),
            "{strategy}: no checkpoint was written before"
        );
        // What a kill in the middle of a line leaves behind.
        let history = killed.checkpoints.join("history.jsonl");
        let mut text = std::fs::read(&history).unwrap();
        text.extend(b"{\"event\":\"upd");
        std::fs::write(&history, text).unwrap();

        run(&killed, &Reporter::silent()).unwrap();
        assert_eq!(weights(&killed), weights(&whole), "{strategy}");
        let records = read_complete(&killed.output.join("history.jsonl")).unwrap();
        assert_eq!(records, expected, "{strategy}");
    }
}

#[test]
fn a_stopped_run_keeps_its_last_step_and_ends_bit_for_bit_the_same() {
    let folder = tempfile::tempdir().unwrap();
    // At the centre, there is one place to stop: between the two stretches of training.
    for (strategy, stops) in [("fedasync", 3), ("fedavg", 3), ("central", 1)] {
        let mut params = params(strategy);
        params["budget"] = json!({"client_epochs": 16});
        params["checkpoint_every"] = json!(1000);
        let whole = job(&folder.path().join("whole"), params.clone());
        let (_, expected) = finished(&whole);

        let stopped = job(&folder.path().join("stopped"), params);
        // Asked before it begins, it stops at the first place where it can.
        for _ in 0..stops {
            let reporter = Reporter::silent();
            reporter.ask_to_stop();
            let ended = run(&stopped, &reporter).unwrap_err();
            assert!(ended.stopped, "{strategy}: {ended}");
        }
        assert!(
            stopped.checkpoints.join("federate.checkpoint").exists(),
            "{strategy}: nothing was kept"
        );

        run(&stopped, &Reporter::silent()).unwrap();
        assert_eq!(weights(&stopped), weights(&whole), "{strategy}");
        let records = read_complete(&stopped.output.join("history.jsonl")).unwrap();
        assert_eq!(records, expected, "{strategy}");
    }
}

#[test]
fn a_damaged_checkpoint_is_not_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), params("fedavg"));
    std::fs::write(job.checkpoints.join("federate.checkpoint"), b"fedact-fed").unwrap();
    std::fs::write(job.checkpoints.join("history.jsonl"), b"old\n").unwrap();
    let (metrics, _) = finished(&job);
    assert_eq!(metrics["updates"], 24);
}

#[test]
fn a_run_follows_from_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let weights_of = |seed: u64| {
        let mut params = params("fedasync");
        params["seed"] = json!(seed);
        params["budget"] = json!({"client_epochs": 8});
        let job = job(folder.path(), params);
        finished(&job);
        weights(&job)
    };
    let first = weights_of(1);
    assert_eq!(first, weights_of(1));
    assert_ne!(first, weights_of(2));
}

#[test]
fn a_federated_model_can_be_fine_tuned_again_and_keeps_its_last_layer() {
    let folder = tempfile::tempdir().unwrap();
    let first = job(&folder.path().join("first"), params("fedasync"));
    let (metrics, _) = finished(&first);
    let mut again = job(&folder.path().join("again"), params("fedavg"));
    again.inputs.get_mut("model").unwrap()[0].path = first.output.clone();
    let (_, history) = finished(&again);
    let Record::Evaluation { top1, .. } = history[1] else {
        panic!("{:?}", history[1]);
    };
    assert_eq!(json!(top1), metrics["top1"]);
}

fn refusal(job: &Job) -> StageError {
    run(job, &Reporter::silent()).unwrap_err()
}

#[test]
fn clips_of_another_geometry_and_empty_splits_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job(folder.path(), params("fedasync"));
    let clips = folder.path().join("other");
    std::fs::create_dir_all(&clips).unwrap();
    let source = ClipSet::open(&inputs().1).unwrap();
    let mut room = Vec::new();
    let dataset = source.dataset().clone();
    let mut writer = ClipSetWriter::create(&clips, dataset).unwrap();
    for index in source.indices(Split::Train) {
        let pixels = source.pixels(index, &mut room).unwrap();
        writer.push(source.clip(index).unwrap(), pixels).unwrap();
    }
    writer.finish().unwrap();
    job.inputs.get_mut("clips").unwrap()[0].path = clips.clone();
    let error = refusal(&job);
    assert!(error.invalid_input);
    assert!(
        error.message.contains("no clip in its test split"),
        "{error}"
    );

    let mut small = source.dataset().clone();
    small.frames = 2;
    std::fs::remove_dir_all(&clips).unwrap();
    std::fs::create_dir_all(&clips).unwrap();
    let mut writer = ClipSetWriter::create(&clips, small).unwrap();
    for index in 0..source.len() {
        let pixels = source.pixels(index, &mut room).unwrap();
        writer
            .push(source.clip(index).unwrap(), &pixels[..2 * SIDE * SIDE * 3])
            .unwrap();
    }
    writer.finish().unwrap();
    let error = refusal(&job);
    assert!(error.invalid_input);
    assert!(error.message.contains("4 frames of 16x16"), "{error}");
}

#[test]
fn more_clients_than_subjects_are_as_many_as_there_are_subjects() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = params("fedavg");
    params["clients"] = json!(30);
    params["budget"] = json!({"client_epochs": 4});
    let job = job(folder.path(), params);
    let warnings = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&warnings);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Message { text, .. } = event {
            sink.lock().unwrap().push(text.clone());
        }
    });
    run(&job, &reporter).unwrap();
    let warnings = warnings.lock().unwrap();
    assert!(
        warnings[0].contains("there are 4 clients and not 30"),
        "{warnings:?}"
    );
}
