//! What the stage can do beside the plain training, from its params to its files.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod kit;

use std::path::Path;
use std::sync::{Arc, Mutex};

use fedact_clips::{ClipSet, Split};
use fedact_distill::run;
use fedact_nets::FloatModel;
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::EpochRecord;
use fedact_stage::{Event, Reporter};
use serde_json::{Value, json};
use tch::Device;

use kit::{CLASSES, Execution, changed, write_clips, write_named};

fn records(execution: &Execution) -> Vec<EpochRecord> {
    let text = String::from_utf8(execution.output("training.jsonl")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Everything in the output folder, by name.
fn files(execution: &Execution) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(&execution.job.output).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let content = |name: String| (name.clone(), execution.output(&name));
    names.into_iter().map(content).collect()
}

/// With `params`, and everything that can be chosen chosen.
fn everything() -> Value {
    changed(|params| {
        let options = json!({
            "schedule": {"shape": "steps", "milestones": [3, 5], "factor": 0.3},
            "mixup": 0.2, "ema": 0.9, "balance": "sampling",
            "validation_share": 0.25, "keep": "best", "patience": 4,
            "test_views": {"crops": 3, "flip": true}, "test_every": 4,
        });
        for (key, value) in options.as_object().unwrap() {
            params[key] = value.clone();
        }
        params["augmentation"]["flip"] = json!(0.5);
        params["augmentation"]["saturation"] = json!(0.2);
    })
}

#[test]
fn with_every_option_equal_params_give_equal_files_also_when_the_run_was_stopped() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 33, 12);
    let teacher = Execution::new(
        changed(|params| params["epochs"] = json!(1)),
        clips.path(),
        &[],
    );
    teacher.run().unwrap();
    let student = || Execution::new(everything(), clips.path(), &[&teacher.job.output]);
    let whole = student();
    let metrics = whole.run().unwrap();
    assert!(metrics["validation_top1"].is_number(), "{metrics:?}");
    let expected = files(&whole);
    assert_eq!(
        expected
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        [
            "confusion.json",
            "curves.svg",
            "metrics.json",
            "model.json",
            "model.safetensors",
            "training.jsonl"
        ]
    );
    for stop_in in [1, 3] {
        let execution = student();
        let stopped = Arc::new(Mutex::new(None::<Reporter>));
        let sink = Arc::clone(&stopped);
        let reporter = Reporter::to_function(move |event| {
            // Progress is not told of every batch.
            let epoch = match event {
                Event::Progress { detail, .. } => detail.strip_prefix("epoch "),
                _ => None,
            };
            let epoch = epoch.and_then(|rest| rest.split('/').next()?.parse::<u32>().ok());
            if epoch.is_some_and(|epoch| epoch >= stop_in)
                && let Some(reporter) = sink.lock().unwrap().as_ref()
            {
                reporter.ask_to_stop();
            }
        });
        *stopped.lock().unwrap() = Some(reporter.clone());
        let error = run(&execution.job, &reporter).unwrap_err();
        assert!(error.stopped, "{}", error.message);
        execution.run().unwrap();
        for (found, expected) in files(&execution).iter().zip(&expected) {
            assert!(found == expected, "{} differs after a stop", found.0);
        }
    }
}

#[test]
fn what_is_kept_is_what_was_tested() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 33, 12);
    let choosing = changed(|params| {
        params["validation_share"] = json!(0.3);
        params["keep"] = json!("best");
        params["ema"] = json!(0.8);
        params["epochs"] = json!(5);
        params["test_every"] = json!(0);
    });
    let execution = Execution::new(choosing, clips.path(), &[]);
    let metrics = execution.run().unwrap();
    let records = records(&execution);
    let validations: Vec<_> = records
        .iter()
        .map(|record| record.validation.clone().unwrap())
        .collect();
    let kept = metrics["kept_epoch"].as_u64().unwrap() as usize;
    let best = &validations[kept - 1];
    assert!(validations.iter().all(|one| one.top1 <= best.top1));
    assert_eq!(metrics["validation_top1"], best.top1);
    let model = FloatModel::load(&execution.job.output, Device::Cpu).unwrap();
    let set = ClipSet::open(clips.path()).unwrap();
    let test = set.indices(Split::Test);
    let scores = Scores::from(&predict(&model, &set, &test, 6, |_| {}).unwrap());
    assert_eq!(metrics["top1"], scores.top1);
    assert_eq!(metrics["ece"], scores.ece);
}

#[test]
fn a_training_that_gets_no_better_ends_early_and_says_so() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 33, 12);
    let hopeless = changed(|params| {
        params["learning_rate"] = json!(1e-12);
        params["validation_share"] = json!(0.3);
        params["patience"] = json!(2);
        params["epochs"] = json!(50);
        params["test_every"] = json!(0);
    });
    let execution = Execution::new(hopeless, clips.path(), &[]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    let metrics = run(&execution.job, &reporter).unwrap();
    let epochs = metrics["epochs"].as_u64().unwrap();
    assert!((3..50).contains(&epochs), "{epochs}");
    assert_eq!(metrics["kept_epoch"], epochs);
    let told = told.lock().unwrap();
    let words = format!("ended after epoch {epochs} of 50");
    assert!(told.iter().any(|event| match event {
        Event::Message { text, .. } => text.starts_with(&words),
        _ => false,
    }));
    let last = told.iter().rev().find_map(|event| match event {
        Event::Progress { done, total, .. } => Some((*done, *total)),
        _ => None,
    });
    let (done, total) = last.unwrap();
    assert_eq!(done, total);
}

#[test]
fn a_loss_that_leaves_the_numbers_ends_the_stage_with_the_batch_and_its_clips() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 24, 12);
    let wild = changed(|params| {
        params["learning_rate"] = json!(100.0);
        params["clip_gradient"] = json!(0);
        params["warmup_epochs"] = json!(0);
        params["weight_decay"] = json!(1.0);
        params["epochs"] = json!(200);
        params["test_every"] = json!(0);
    });
    let error = Execution::new(wild, clips.path(), &[]).run().unwrap_err();
    assert!(!error.invalid_input);
    for words in [
        " in epoch ",
        ", batch ",
        "(clips clip-0",
        "lower `learning_rate`",
    ] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
    assert_eq!(
        error.message.matches("clip-").count(),
        6,
        "{}",
        error.message
    );
}

#[test]
fn a_network_may_see_a_window_of_a_clip_and_its_teachers_must_see_the_same() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 24, 12);
    let of = |frames: usize| changed(|params| params["frames"] = json!(frames));
    let teacher = Execution::new(of(2), clips.path(), &[]);
    let metrics = teacher.run().unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.5, "{metrics:?}");
    let info: Value = serde_json::from_slice(&teacher.output("model.json")).unwrap();
    assert_eq!(
        (&info["input"]["frames"], &info["window_of"]),
        (&json!(2), &json!(4))
    );
    Execution::new(of(2), clips.path(), &[&teacher.job.output])
        .run()
        .unwrap();
    for other in [0, 3] {
        let student = Execution::new(of(other), clips.path(), &[&teacher.job.output]);
        let error = student.run().unwrap_err();
        assert!(error.invalid_input);
        assert!(
            error.message.contains("the same `frames`"),
            "{}",
            error.message
        );
    }
    let error = Execution::new(of(5), clips.path(), &[]).run().unwrap_err();
    assert!(
        error
            .message
            .contains("`frames` is 5, but must be at most 4"),
        "{}",
        error.message
    );
    // All frames by their number are all frames.
    let (all, whole) = (
        Execution::new(of(4), clips.path(), &[]),
        Execution::new(of(0), clips.path(), &[]),
    );
    all.run().unwrap();
    whole.run().unwrap();
    assert_eq!(all.output("model.json"), whole.output("model.json"));
    assert_eq!(
        all.output("model.safetensors"),
        whole.output("model.safetensors")
    );
}

/// Videos of two clips of each class.
fn of_videos(folder: &Path) {
    let id = |index: usize| format!("video-{:03}.mp4#{:02}", index / 6, index % 6);
    write_named(folder, &CLASSES, 24, 12, id);
}

#[test]
fn videos_are_tested_as_wholes_and_every_look_is_progress() {
    let clips = tempfile::tempdir().unwrap();
    of_videos(clips.path());
    let looking = changed(|params| {
        params["epochs"] = json!(2);
        params["test_views"] = json!({"videos": true, "crops": 5, "flip": true});
    });
    let execution = Execution::new(looking, clips.path(), &[]);
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    run(&execution.job, &reporter).unwrap();
    let confusion: Value = serde_json::from_slice(&execution.output("confusion.json")).unwrap();
    let cells = confusion["confusion"].as_array().unwrap().iter();
    let cells = cells.flat_map(|row| row.as_array().unwrap());
    assert_eq!(cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(), 6);
    let events = events.lock().unwrap();
    let Some(Event::Progress { done, total, .. }) = events.last() else {
        panic!("no progress at the end: {events:?}");
    };
    // Two epochs of 24 clips, and 12 test clips looked at ten times after each.
    assert_eq!((*done, *total), (2 * 24 + 2 * 120, 288));
}

#[test]
fn classes_that_are_not_there_are_refused_by_name() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 24, 12);
    for (key, value) in [
        ("flip_pairs", json!([["rise", "fal"]])),
        ("flip_never", json!(["fal"])),
    ] {
        let wrong = changed(|params| params["augmentation"][key] = value.clone());
        let error = Execution::new(wrong, clips.path(), &[]).run().unwrap_err();
        assert!(error.invalid_input);
        let message = &error.message;
        assert!(
            message.contains(key) && message.contains("rise, fall, stay"),
            "{message}"
        );
    }
}
