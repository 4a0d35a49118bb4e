//! The whole pipeline, videos to report: the default file at its smallest size, and the file for folders
//! on real videos where they are at hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::path::{Path, PathBuf};

use bench::{Bench, Ended};
use serde_json::Value;

/// Makes `pipeline.yaml` (or `folders.yaml`) a matter of seconds: every step stays what it is.
const SMALL: &[&str] = &[
    "teacher.epochs=1",
    "teacher.warmup_epochs=0",
    "teacher.model.width=4",
    "assistant.epochs=1",
    "assistant.warmup_epochs=0",
    "assistant.model.width=3",
    "student.epochs=1",
    "student.warmup_epochs=0",
    "student.model.width=2",
    "scratch.epochs=1",
    "scratch.warmup_epochs=0",
    "scratch.model.width=2",
    "quantized.clips=16",
    "async.budget.client_epochs=16",
    "sync.budget.client_epochs=16",
    "central.budget.client_epochs=16",
    "report.repeats=1",
];

fn run(bench: &Bench, file: &Path, more: &[&str]) -> Ended {
    let mut arguments = vec!["run", "-f", file.to_str().unwrap()];
    for override_ in SMALL.iter().chain(more) {
        arguments.extend(["--set", override_]);
    }
    let artifacts = bench.path("artifacts");
    arguments.extend(["--artifacts", artifacts.to_str().unwrap()]);
    bench.fedact(&arguments)
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metrics(bench: &Bench) -> Value {
    let text = std::fs::read(bench.path("artifacts/report/metrics.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[track_caller]
fn number(metrics: &Value, pointer: &str) -> f64 {
    metrics
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {metrics:#}"))
}

/// Every figure that the report promises is there and possible.
#[track_caller]
fn assert_complete(metrics: &Value) {
    for model in [
        "teacher",
        "assistant",
        "student",
        "scratch",
        "quantized",
        "async",
        "sync",
        "central",
    ] {
        for accuracy in ["top1", "top5", "mean_class_accuracy"] {
            let value = number(metrics, &format!("/models/{model}/{accuracy}"));
            assert!(
                (0.0..=1.0).contains(&value),
                "{model}.{accuracy} is {value}"
            );
        }
        for amount in ["parameters", "bytes", "ms_per_clip"] {
            let value = number(metrics, &format!("/models/{model}/{amount}"));
            assert!(value > 0.0, "{model}.{amount} is {value}");
        }
    }
    let bytes = |model: &str| number(metrics, &format!("/models/{model}/bytes"));
    assert!(bytes("quantized") < bytes("student"));
    assert!(bytes("student") < bytes("assistant"));
    assert!(bytes("assistant") < bytes("teacher"));
    for run in ["async", "sync", "central"] {
        for amount in ["virtual_seconds", "client_epochs", "bytes_up"] {
            let value = number(metrics, &format!("/federated/{run}/{amount}"));
            assert!(value > 0.0, "{run}.{amount} is {value}");
        }
        let tested = number(metrics, &format!("/federated/{run}/top1"));
        let at_the_end = number(metrics, &format!("/models/{run}/top1"));
        assert!(
            (tested - at_the_end).abs() < 0.03,
            "{run}: {tested}, {at_the_end}"
        );
    }
    let work = |run: &str| number(metrics, &format!("/federated/{run}/client_epochs"));
    assert!((work("sync") - work("central")).abs() < 1e-6);
    assert!((work("sync") - work("async")).abs() <= 2.0);
    assert!(
        number(metrics, "/federated/async/virtual_seconds")
            < number(metrics, "/federated/sync/virtual_seconds"),
        "asynchronous work waits for nobody, so the same work takes less time"
    );
    assert!(metrics.pointer("/async_vs_sync").is_some());
}

/// `fedact show` counts the same parameters as the stages that made the models.
#[track_caller]
fn assert_models_are_shown(bench: &Bench, file: &Path, more: &[&str]) {
    for (step, quantized) in [("teacher", false), ("quantized", true), ("async", true)] {
        let artifacts = bench.path("artifacts");
        let mut arguments = vec!["show", step, "--json", "-f", file.to_str().unwrap()];
        for override_ in SMALL.iter().chain(more) {
            arguments.extend(["--set", override_]);
        }
        arguments.extend(["--artifacts", artifacts.to_str().unwrap()]);
        let shown: Value = serde_json::from_str(&bench.fedact(&arguments).done().stdout).unwrap();
        let model = &shown["model"];
        assert_eq!(model["quantized"], quantized, "{step}: {model}");
        assert!(number(model, "/pace/milliseconds") > 0.0);
        let told = number(&metrics(bench), &format!("/models/{step}/parameters"));
        assert_eq!(number(model, "/parameters"), told, "{step}");
    }
}

#[test]
fn the_default_pipeline_at_its_smallest_size() {
    let bench = Bench::new("");
    let small_data = [
        "large-videos.subjects=3",
        "large-videos.clips=1",
        "large-videos.seconds=1",
        "small-videos.subjects=6",
        "small-videos.clips=1",
        "small-videos.seconds=1",
        "large-clips.size=16",
        "large-clips.resize=16",
        "small-clips.size=16",
        "small-clips.resize=16",
        "momentum.budget.client_epochs=16",
    ];
    let file = repository().join("pipeline.yaml");
    let first = run(&bench, &file, &small_data);
    assert!(
        first.done().stdout.starts_with("ran 14 steps"),
        "{first:#?}"
    );
    assert!(first.stdout.contains("report/index.html"), "{first:#?}");
    let told = metrics(&bench);
    assert_complete(&told);
    assert_eq!(told["async_vs_sync"]["async_step"], "async");
    assert_eq!(told["federated"]["momentum"]["strategy"], "fedavg");
    assert_models_are_shown(&bench, &file, &small_data);
    let page = std::fs::read_to_string(bench.path("artifacts/report/index.html")).unwrap();
    for text in [
        "<svg",
        "Walk",
        "PickUp",
        "raspberry-pi-4",
        "data:image/",
        "What the bound says of",
    ] {
        assert!(page.contains(text), "no {text} on the page");
    }

    let again = run(&bench, &file, &small_data);
    assert!(
        again.done().stdout.starts_with("nothing to do"),
        "{again:#?}"
    );

    // A second machine would come to the very same outputs: training, quantizing and federating again
    // change no byte, and so nothing downstream.
    let again = [
        "scratch",
        "student",
        "quantized",
        "async",
        "sync",
        "central",
        "momentum",
    ];
    let mut arguments = vec!["run", "--json", "-f", file.to_str().unwrap()];
    for step in again {
        arguments.extend(["--force", step]);
    }
    for override_ in SMALL.iter().chain(&small_data) {
        arguments.extend(["--set", override_]);
    }
    let artifacts = bench.path("artifacts");
    arguments.extend(["--artifacts", artifacts.to_str().unwrap()]);
    let events = bench.fedact(&arguments);
    let events: Vec<Value> = events
        .done()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = |event: &str| -> Vec<&Value> {
        let of_this_name = |value: &&Value| value["event"] == event;
        events.iter().filter(of_this_name).collect()
    };
    let finished = named("finished");
    assert_eq!(finished.len(), again.len());
    for event in finished {
        assert_eq!(event["unchanged"], true, "{event}");
    }
    assert!(
        named("from-store")
            .iter()
            .any(|event| event["step"] == "report")
    );
}

#[test]
fn folders_of_real_videos() {
    let shared = repository().join("../shared/videos");
    if !shared.is_dir() {
        eprintln!("skipped: there are no real videos at {}", shared.display());
        return;
    }
    let bench = Bench::new("");
    std::fs::create_dir(bench.path("pipelines")).unwrap();
    std::fs::create_dir(bench.path("data")).unwrap();
    let file = bench.path("pipelines/folders.yaml");
    std::fs::copy(repository().join("pipelines/folders.yaml"), &file).unwrap();
    for set in ["large", "small"] {
        let folder = shared.join(set).canonicalize().unwrap();
        std::os::unix::fs::symlink(folder, bench.path(format!("data/{set}"))).unwrap();
    }
    let small_data = [
        "large-clips.size=16",
        "large-clips.resize=16",
        "large-clips.include=[Punch, PushUps]",
        "small-clips.size=16",
        "small-clips.resize=16",
        // Several rounds in the small budget: over a single one nobody waits, so nothing is saved.
        "async.local_epochs=1",
        "sync.local_epochs=1",
        "central.local_epochs=1",
    ];
    let ended = run(&bench, &file, &small_data);
    assert!(
        ended.done().stdout.starts_with("ran 11 steps"),
        "{ended:#?}"
    );
    assert_complete(&metrics(&bench));
    let clips = std::fs::read_to_string(bench.path("artifacts/small-clips/clips.jsonl")).unwrap();
    let mut sides = std::collections::BTreeMap::new();
    for line in clips.lines() {
        let clip: Value = serde_json::from_str(line).unwrap();
        let person = clip["group"].as_str().unwrap().to_owned();
        assert!(person.starts_with("person"), "{person}");
        let side = clip["split"].as_str().unwrap().to_owned();
        let known = sides.entry(person.clone()).or_insert_with(|| side.clone());
        assert_eq!(*known, side, "{person} is on both sides of the split");
    }
    assert_eq!(sides.len(), 9, "{sides:?}");
}
