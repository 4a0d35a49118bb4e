//! The stage end to end, on clips of moving bars and a network of a few thousand parameters.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod bars;

use std::collections::BTreeMap;

use bars::{FRAMES, SIDE, finished, inputs, job, params, survives_a_kill, weights};
use fedact_clips::{ClipSet, ClipSetWriter, Split};
use fedact_federate::run;
use fedact_federation::history::{Record, read_complete};
use fedact_nets::quantize::{ExecutedModel, QuantizedModel, archive};
use fedact_onnx::Source;
use fedact_stage::{Event, Job, Reporter, StageError};
use serde_json::{Value, json};
use tch::Device;

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
fn the_tuned_model_comes_with_the_files_for_devices() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), params("fedasync"));
    finished(&job);
    let model = QuantizedModel::load(&job.output, Device::Cpu).unwrap();
    let written = std::fs::read(job.output.join("model.pt")).unwrap();
    assert!(written == archive(&model).unwrap());
    let executed = ExecutedModel::load(&job.output.join("model.pt")).unwrap();
    assert_eq!(executed.info, model.info);
    let source = Source::open(&job.output).unwrap();
    let variants = source.variants();
    assert_eq!(variants.len(), 3, "{variants:?}");
    for variant in variants {
        let written = std::fs::read(job.output.join(variant.file_name())).unwrap();
        let again = source.write(variant, folder.path()).unwrap();
        assert!(written == std::fs::read(&again).unwrap(), "{variant:?}");
    }
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
fn how_often_the_centre_is_tested_changes_nothing_in_what_it_learns() {
    let folder = tempfile::tempdir().unwrap();
    let learned = |evaluate_every: u64| {
        let mut params = params("central");
        params["evaluate_every"] = json!(evaluate_every);
        let job = job(&folder.path().join(evaluate_every.to_string()), params);
        let (_, history) = finished(&job);
        (weights(&job), history.len())
    };
    let (often, rarely) = (learned(8), learned(24));
    assert!(often.1 > rarely.1);
    assert!(often.0 == rarely.0);
}

#[test]
fn a_killed_run_carries_on_and_ends_bit_for_bit_the_same() {
    for strategy in ["fedasync", "fedavg", "central"] {
        survives_a_kill(params(strategy));
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
