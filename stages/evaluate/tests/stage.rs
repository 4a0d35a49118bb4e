//! The whole stage on tiny networks and clips: what it writes, and how it refuses.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_evaluate::{DEFINITION, run};
use fedact_federation::history::{ClientSummary, HistoryWriter, Record};
use fedact_nets::data::{Loader, LoaderSettings};
use fedact_nets::quantize::{CalibrationSettings, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, Model, ModelInfo};
use fedact_stage::{Event, Input, Job, Reporter};
use serde_json::{Value, json};
use tch::Device;

const LARGE: [&str; 3] = ["Bend", "Jump", "Walk"];
const SMALL: [&str; 2] = ["Clap <fast>", "Turn"];

/// A clip set in which every class has a brightness of its own.
fn clips(folder: &Path, classes: &[&str]) -> ClipSet {
    let dataset = Dataset::new(
        classes.iter().map(|class| (*class).to_owned()).collect(),
        4,
        16,
        16,
    );
    let bytes = dataset.clip_bytes();
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for number in 0..10 * classes.len() {
        let label = number % classes.len();
        let clip = Clip {
            // Two clips of every class in each video: of those, each class is counted for itself.
            id: format!("video_{:03}#{number:03}", number / (2 * classes.len())),
            video: format!("video_{:03}.mp4", number / (2 * classes.len())),
            video_digest: String::new(),
            label,
            group: format!("g{:02}", number / 6),
            split: if number < 6 * classes.len() {
                Split::Train
            } else {
                Split::Test
            },
            start_seconds: 0.0,
            end_seconds: 1.0,
            shard: 0,
            row: 0,
        };
        let pixels: Vec<u8> = (0..bytes)
            .map(|index| (40 + 60 * label + (index * 7 + number) % 50) as u8)
            .collect();
        writer.push(clip, &pixels).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

fn float(set: &ClipSet, seed: u64) -> FloatModel {
    let architecture = Architecture::r3d(10, 4);
    let dataset = set.dataset();
    let info = ModelInfo::new(
        architecture,
        dataset.classes.clone(),
        InputGeometry::from(dataset),
    );
    FloatModel::new(info, seed, Device::Cpu).unwrap()
}

fn quantized(set: &ClipSet, seed: u64) -> QuantizedModel {
    let float = float(set, seed);
    let indices = set.indices(Split::Train);
    let loader = Loader::new(set, &indices, LoaderSettings::in_order(6, &float.info)).unwrap();
    let mut batches = Vec::new();
    loader
        .run(0, |batch| {
            batches.push(batch.clips);
            Ok::<(), fedact_nets::NetsError>(())
        })
        .unwrap();
    QuantizedModel::from_float(&float, batches, &CalibrationSettings::default()).unwrap()
}

/// A finished run whose every evaluation says `top1`.
fn history(folder: &Path, strategy: &str, seconds: f64, top1: f64) {
    let mut writer = HistoryWriter::create(&folder.join("history.jsonl")).unwrap();
    let mut write = |record: Record| writer.write(&record).unwrap();
    write(Record::Start {
        strategy: strategy.into(),
        mixing: (strategy == "fedasync").then(|| "polynomial".into()),
        seed: 1,
        parameters: 10,
        model_bytes: 100,
        clients: vec![ClientSummary {
            id: "g00".into(),
            device: "jetson-nano".into(),
            clips: 6,
            clips_per_second: 3.0,
        }],
        settings: Value::Null,
    });
    for step in 0..4u32 {
        let time = seconds * f64::from(step);
        write(Record::Evaluation {
            time,
            version: step.into(),
            samples: 6,
            client_epochs: step.into(),
            bytes_up: 100,
            bytes_down: 100,
            // As good as in the end from the first step on.
            top1: if step == 0 { 0.0 } else { top1 },
            loss: 1.0,
        });
    }
    write(Record::End {
        reason: "budget-spent".into(),
        time: 3.0 * seconds,
        version: 3,
        samples: 18,
        client_epochs: 3.0,
        bytes_up: 300,
        bytes_down: 300,
        top1,
    });
    writer.sync().unwrap();
}

fn job(root: &Path, models: &[&str], sets: &[&str]) -> Job {
    let inputs = |names: &[&str]| {
        names
            .iter()
            .map(|name| Input {
                name: (*name).into(),
                path: root.join(name),
            })
            .collect()
    };
    let output = root.join("report");
    std::fs::create_dir_all(&output).unwrap();
    Job {
        stage: "evaluate".into(),
        step: "report".into(),
        params: (DEFINITION.resolve)(&json!({"repeats": 1, "batch_size": 4, "threads": 1}))
            .unwrap(),
        inputs: BTreeMap::from([
            ("models".to_owned(), inputs(models)),
            ("clips".to_owned(), inputs(sets)),
        ]),
        output,
        checkpoints: root.join("checkpoints"),
        pieces: None,
        threads: 1,
        fleet: None,
    }
}

fn save(root: &Path, name: &str, model: &Model) {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    match model {
        Model::Float(model) => model.save(&folder).unwrap(),
        Model::Quantized(model) => model.save(&folder).unwrap(),
    }
}

fn listening() -> (Reporter, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    (
        Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone())),
        events,
    )
}

#[test]
fn models_of_both_sets_are_tested_and_reported() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let large = clips(&root.join("large-clips"), &LARGE);
    let small = clips(&root.join("small-clips"), &SMALL);
    save(root, "student", &Model::Float(float(&large, 1)));
    save(root, "scratch", &Model::Float(float(&large, 2)));
    std::fs::write(
        root.join("student/metrics.json"),
        r#"{"teachers": ["teacher"]}"#,
    )
    .unwrap();
    std::fs::write(root.join("scratch/metrics.json"), r#"{"teachers": []}"#).unwrap();
    save(root, "quantized", &Model::Quantized(quantized(&large, 1)));
    for (name, strategy, seconds) in [("async", "fedasync", 10.0), ("sync", "fedavg", 40.0)] {
        save(root, name, &Model::Quantized(quantized(&small, 3)));
        history(&root.join(name), strategy, seconds, 0.5);
    }

    let (reporter, events) = listening();
    let models = ["student", "scratch", "quantized", "async", "sync"];
    let job = job(root, &models, &["small-clips", "large-clips"]);
    let closing = run(&job, &reporter).unwrap();

    let text = std::fs::read_to_string(job.output.join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    for name in models {
        let figures = &metrics["models"][name];
        assert!(
            (0.0..=1.0).contains(&figures["top1"].as_f64().unwrap()),
            "{name}: {figures}"
        );
        assert!(
            figures["ms_per_clip"].as_f64().unwrap() > 0.0,
            "{name}: {figures}"
        );
        assert!(
            figures["parameters"].as_u64().unwrap() > 1000,
            "{name}: {figures}"
        );
    }
    assert_eq!(metrics["models"]["student"]["clip_set"], "large-clips");
    assert_eq!(metrics["models"]["async"]["clip_set"], "small-clips");
    assert_eq!(metrics["models"]["async"]["kind"], "federated");
    assert_eq!(metrics["models"]["student"]["clips"], 12);
    let quantized = &metrics["models"]["quantized"];
    assert!(quantized["bytes"].as_u64() < quantized["float_bytes"].as_u64());
    assert!(quantized["float_top1"].is_number());
    // Of 12 clips the kernels may judge one otherwise.
    let executed = quantized["executed_top1"].as_f64().unwrap();
    assert!(
        (executed - quantized["top1"].as_f64().unwrap()).abs() < 0.1,
        "{quantized}"
    );
    assert_eq!(metrics["federated"]["sync"]["virtual_seconds"], 120.0);
    // Evaluations at 0, 10, 20, 30: smoothed they reach 0.5 at 20 (and at 80 in the synchronous run).
    assert_eq!(metrics["async_vs_sync"]["async_seconds"], 20.0);
    assert_eq!(metrics["async_vs_sync"]["sync_seconds"], 80.0);
    assert_eq!(metrics["async_vs_sync"]["time_saving"], 0.75);
    assert_eq!(metrics["distillation"]["student"], "student");
    assert_eq!(closing["time_saving"], 0.75);

    let page = std::fs::read_to_string(job.output.join("index.html")).unwrap();
    assert!(page.contains("Clap &lt;fast&gt;") && !page.contains("<fast>"));
    assert_eq!(
        page.matches("data:image/jpeg;base64,").count(),
        LARGE.len() + SMALL.len()
    );
    assert_eq!(
        std::fs::read_dir(&job.output).unwrap().count(),
        2,
        "only the page and the metrics"
    );

    let events = events.lock().unwrap();
    let complete = |name: &str| {
        events.iter().any(|event| {
            matches!(event, Event::Progress { task, done, total, .. } if task == name && done == total && *total > 0)
        })
    };
    assert!(complete("testing") && complete("timing"), "{events:?}");
}

#[test]
fn a_second_run_differs_in_milliseconds_only() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let set = clips(&root.join("clips"), &SMALL);
    save(root, "model", &Model::Quantized(quantized(&set, 5)));
    let job = job(root, &["model"], &["clips"]);
    let metrics = || {
        run(&job, &Reporter::silent()).unwrap();
        let text = std::fs::read_to_string(job.output.join("metrics.json")).unwrap();
        let mut metrics: Value = serde_json::from_str(&text).unwrap();
        for key in ["ms_per_clip", "float_ms_per_clip", "executed_ms_per_clip"] {
            assert!(metrics["models"]["model"][key].take().is_number());
        }
        metrics
    };
    assert_eq!(metrics(), metrics());
}

#[test]
fn a_model_without_clips_of_its_classes_is_refused_with_both_lists() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let large = clips(&root.join("large-clips"), &LARGE);
    clips(&root.join("small-clips"), &SMALL);
    save(root, "student", &Model::Float(float(&large, 1)));
    let error = run(
        &job(root, &["student"], &["small-clips"]),
        &Reporter::silent(),
    )
    .unwrap_err();
    assert!(error.invalid_input);
    for words in [
        "student",
        "Bend, Jump, Walk",
        "Clap <fast>, Turn",
        "small-clips",
    ] {
        assert!(error.message.contains(words), "{}", error.message);
    }
    assert!(error.remedy.unwrap().contains("clips"));
}

#[test]
fn a_history_cut_short_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let set = clips(&root.join("clips"), &SMALL);
    save(root, "async", &Model::Quantized(quantized(&set, 1)));
    let path = root.join("async/history.jsonl");
    history(&root.join("async"), "fedasync", 1.0, 0.5);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&path, lines[..lines.len() - 1].join("\n")).unwrap();
    let error = run(&job(root, &["async"], &["clips"]), &Reporter::silent()).unwrap_err();
    assert!(error.invalid_input);
    assert!(
        error.message.contains("async") && error.message.contains("history.jsonl"),
        "{}",
        error.message
    );
}

#[test]
fn a_history_of_another_model_is_worth_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let set = clips(&root.join("clips"), &SMALL);
    save(root, "async", &Model::Quantized(quantized(&set, 1)));
    // An untrained network names one class throughout, so it is at one half and not at everything.
    history(&root.join("async"), "fedasync", 1.0, 1.0);
    let (reporter, events) = listening();
    run(&job(root, &["async"], &["clips"]), &reporter).unwrap();
    let events = events.lock().unwrap();
    let warned = events
        .iter()
        .any(|event| matches!(event, Event::Message { text, .. } if text.contains("`async` ends at 100.0%")));
    assert!(warned, "{events:?}");
}

#[test]
fn videos_are_counted_where_that_is_asked_and_all_views_of_a_clip_are_averaged() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let set = clips(&root.join("clips"), &SMALL);
    save(root, "model", &Model::Float(float(&set, 1)));
    let mut job = job(root, &["model"], &["clips"]);
    job.params["test_views"] = json!({"crops": 3, "flip": true, "videos": true});
    job.params["flip_pairs"] = json!([SMALL]);
    let (reporter, events) = listening();
    run(&job, &reporter).unwrap();
    let text = std::fs::read_to_string(job.output.join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metrics["tests"], json!({"views": 6, "count": "video"}));
    let set = &metrics["clip_sets"]["clips"];
    let videos = set["tested"].as_u64().unwrap();
    assert_eq!(metrics["models"]["model"]["clips"], videos);
    let clips = set["test_clips"].as_u64().unwrap();
    assert!(videos < clips, "{set}");
    let looked = events.lock().unwrap().iter().any(|event| {
        matches!(event, Event::Progress { task, total, .. } if task == "testing" && *total == 6 * clips)
    });
    assert!(looked, "each clip is looked at six times");
    let page = std::fs::read_to_string(job.output.join("index.html")).unwrap();
    assert!(page.contains("6 views of each clip") && page.contains("shares of videos"));
}

#[test]
fn a_mirrored_pair_of_unknown_classes_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let set = clips(&root.join("clips"), &SMALL);
    save(root, "model", &Model::Float(float(&set, 1)));
    let mut job = job(root, &["model"], &["clips"]);
    job.params["flip_pairs"] = json!([["Turn", "Turn left"]]);
    let error = run(&job, &Reporter::silent()).unwrap_err();
    assert!(error.invalid_input);
    assert!(error.message.contains("`Turn left`"), "{}", error.message);
}
