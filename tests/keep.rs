//! What `gc` takes and what it keeps: pipelines, pinned results, and whom it keeps waiting.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::fs::File;
use std::time::Duration;

use bench::{Bench, TINY};
use serde_json::Value;

const CLIPS: &str = "  clips: {stage: extract, inputs: {videos: videos}, params: {frames: 2, size: 16, resize: 16}}\n";

fn tiny() -> Bench {
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n{CLIPS}"
    ))
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&bench.fedact(&arguments).done().stdout).unwrap()
}

#[track_caller]
fn nothing_to_do(bench: &Bench, arguments: &[&str]) {
    let run = bench.fedact(&[&["run"], arguments].concat());
    assert!(
        run.done().stdout.starts_with("nothing to do: 2 steps"),
        "{run:#?}"
    );
}

#[test]
fn a_pinned_result_stays_with_all_that_it_was_made_from_until_it_is_let_go() {
    let bench = tiny();
    let other = ["--set", "videos.seed=9"];
    bench.fedact(&[&["run"], &other[..]].concat()).done();
    let because = ["--because", "figure 3 of the paper"];
    let pinned = bench.fedact(&[&["pin", "clips"], &other[..], &because[..]].concat());
    assert!(
        pinned.done().stdout.contains("  clips, pinned ")
            && pinned.stdout.ends_with(": figure 3 of the paper\n"),
        "{pinned:#?}"
    );
    bench.fedact(&["run"]).done();
    let listed = json(&bench, &["pin"])["pinned"].clone();
    let key = listed[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["whole"], true);
    let shown = bench.fedact(&[&["show", "clips"], &other[..]].concat());
    assert!(
        shown.done().stdout.contains(": figure 3 of the paper\n"),
        "{shown:#?}"
    );

    let first = bench.fedact(&["gc"]);
    assert!(
        first.done().stdout.ends_with("removed 0, freed 0 B\n"),
        "{first:#?}"
    );
    nothing_to_do(&bench, &other);
    nothing_to_do(&bench, &[]);

    let unknown = bench.fedact(&["unpin", "videos"]);
    unknown.refused(2, &["no result is pinned for `videos`", "`fedact pin`"]);
    let gone = bench.fedact(&["unpin", &key[..8]]);
    assert!(
        gone.done().stdout.ends_with(" is no longer pinned\n"),
        "{gone:#?}"
    );
    assert_eq!(bench.fedact(&["pin"]).done().stdout, "nothing is pinned\n");
    let second = bench.fedact(&["gc"]);
    for step in ["videos", "clips"] {
        let words = format!("result of step {step} (");
        assert!(second.done().stdout.contains(&words), "{second:#?}");
    }
    nothing_to_do(&bench, &[]);
    let again = bench.fedact(&[&["run", "--dry-run"], &other[..]].concat());
    assert!(again.done().stdout.contains("would run 1 of 2"));
}

#[test]
fn what_cannot_be_pinned_is_refused_with_the_way_out() {
    let bench = tiny();
    bench
        .fedact(&["pin", "clips"])
        .refused(1, &["step `clips` has no result yet", "fedact run clips"]);
    bench
        .fedact(&["pin", "clisp"])
        .refused(2, &["no step `clisp` (did you mean `clips`?)"]);
    bench
        .fedact(&["pin", "0123abcd"])
        .refused(2, &["no result in the store has a key that begins with"]);
}

#[test]
fn the_results_of_another_pipeline_file_stay_only_where_it_is_named() {
    let bench = tiny();
    let text = std::fs::read_to_string(bench.path("pipeline.yaml")).unwrap();
    std::fs::write(
        bench.path("other.yaml"),
        text.replace("frames: 2", "frames: 3"),
    )
    .unwrap();
    bench.fedact(&["run", "-f", "other.yaml"]).done();
    bench.fedact(&["run"]).done();
    // Both used the step's name: the other file's result is not the latest one.
    bench.fedact(&["gc", "--keep", "other.yaml"]).done();
    nothing_to_do(&bench, &["-f", "other.yaml"]);
    bench.fedact(&["run"]).done();
    let gone = bench.fedact(&["gc"]);
    assert!(gone.done().stdout.contains("result of step clips ("));
    // The log of its run goes with it, and no other.
    assert!(gone.stdout.contains("log "), "{gone:#?}");
    let logs = std::fs::read_dir(bench.path("artifacts/store/logs")).unwrap();
    assert_eq!(logs.count(), 2);
    let dry = bench.fedact(&["run", "--dry-run", "-f", "other.yaml"]);
    assert!(dry.done().stdout.contains("would run 1 of 2"), "{dry:#?}");
}

#[test]
fn those_who_only_look_never_wait_for_a_collection() {
    let bench = tiny();
    bench.fedact(&["run"]).done();
    // As the collector holds it while it deletes.
    let collector = File::options()
        .write(true)
        .open(bench.path("artifacts/store/locks/collect"))
        .unwrap();
    collector.lock().unwrap();
    for arguments in [
        &["status"][..],
        &["why", "clips"],
        &["show", "clips"],
        &["graph"],
        &["run", "--dry-run"],
        &["diff", "clips", "clips"],
        &["verify"],
        &["pin"],
    ] {
        let mut command = bench.command(arguments);
        command.timeout(Duration::from_secs(120));
        let ended = bench::Ended::of(command.output().unwrap());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:#?}");
    }
}

#[test]
fn the_machine_output_of_gc_and_pins_is_as_documented() {
    let bench = tiny();
    bench.fedact(&["run", "--set", "clips.frames=3"]).done();
    bench.fedact(&["run"]).done();
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let check = |command: &str, object: &Value| {
        let start = format!("| `{command}` | ");
        let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
        let documented = row[start.len()..].split('`').skip(1).step_by(2);
        let mut documented: Vec<&str> = documented
            .filter(|word| !word.starts_with("--") && !word.starts_with('{'))
            .collect();
        let mut found = Vec::new();
        names(object, &mut found);
        documented.sort_unstable();
        found.sort_unstable();
        found.dedup();
        assert_eq!(documented, found, "{command}");
    };
    check("gc", &json(&bench, &["gc", "--dry-run"]));
    check("pin", &json(&bench, &["pin", "clips"]));
    check("unpin", &json(&bench, &["unpin", "clips"]));
    check("gc", &json(&bench, &["gc"]));
}

/// All names of fields in a value.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                found.push(name.clone());
                names(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}
