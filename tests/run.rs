//! The command on real stages, at their smallest size: run, run again, stale, kill, look.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, TINY};
use serde_json::Value;

fn tiny() -> Bench {
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    ))
}

#[test]
fn run_then_nothing_then_only_what_changed() {
    let bench = tiny();
    let first = bench.fedact(&["run"]);
    assert!(
        first
            .done()
            .stdout
            .starts_with("ran 2 steps (videos, clips), in "),
        "{first:#?}"
    );
    for line in [
        "videos: synthesize on ",
        "videos: done in ",
        "clips: extract on ",
    ] {
        assert!(first.stderr.contains(line), "no {line:?} in {first:#?}");
    }
    assert!(bench.path("artifacts/clips/clips.jsonl").is_file());

    let began = Instant::now();
    let second = bench.fedact(&["run"]);
    let seconds = began.elapsed().as_secs_f64();
    assert!(
        second
            .done()
            .stdout
            .starts_with("nothing to do: 2 steps from the store"),
        "{second:#?}"
    );
    assert_eq!(
        second.stderr, "",
        "a run that does nothing says nothing else"
    );
    eprintln!("nothing to do took {seconds:.3} s");

    let dry = bench.fedact(&["run", "--dry-run", "--set", "clips.frames=3"]);
    assert!(
        dry.done()
            .stdout
            .contains("clips   extract     stale: param `frames` was 2 and is 3\n"),
        "{dry:#?}"
    );
    assert!(dry.stdout.contains("would run 1 of 2"), "{dry:#?}");
    let why = bench.fedact(&[
        "why",
        "clips",
        "--set",
        "clips.frames=3",
        "--set",
        "clips.seed=5",
    ]);
    assert_eq!(
        why.done().stdout.lines().next(),
        Some("clips: stale"),
        "{why:#?}"
    );
    assert!(
        why.stdout.contains("\n  param `frames` was 2 and is 3\n"),
        "{why:#?}"
    );
    let changed = bench.fedact(&["run", "--set", "clips.frames=3"]);
    assert!(
        changed
            .done()
            .stdout
            .starts_with("ran 1 step (clips); 1 step from the store"),
        "{changed:#?}"
    );
    assert!(
        bench
            .fedact(&["run"])
            .done()
            .stdout
            .starts_with("nothing to do")
    );
}

#[test]
fn machine_output_is_json_on_every_line() {
    let bench = tiny();
    let run = bench.fedact(&["run", "--json"]);
    let events: Vec<Value> = run
        .done()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "planned");
    assert_eq!(events[0]["plan"]["steps"][0]["state"], "never-run");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "ended");
    assert_eq!(last["ran"], serde_json::json!(["videos", "clips"]));
    let finished = events
        .iter()
        .find(|event| event["event"] == "finished")
        .unwrap();
    assert_eq!(finished["step"], "videos");
    assert_eq!(finished["key"].as_str().unwrap().len(), 64);
    assert!(
        events
            .iter()
            .any(|event| event["report"]["event"] == "progress")
    );

    let one = |arguments: &[&str]| -> Value {
        serde_json::from_str(&bench.fedact(arguments).done().stdout).unwrap()
    };
    assert_eq!(one(&["status", "--json"])["steps"][1]["state"], "fresh");
    assert_eq!(one(&["why", "clips", "--json"])["state"], "fresh");
    let shown = one(&["show", "clips", "--json"]);
    let upstream = shown["provenance"]["inputs"]["videos"][0]["key"]
        .as_str()
        .unwrap();
    assert_eq!(shown["sources"][upstream]["step"], "videos");
    assert_eq!(shown["preimage"]["params"]["frames"], 2);
    assert_eq!(shown["sources"].as_object().unwrap().len(), 1);
    assert_eq!(
        one(&["graph", "--json"])["steps"][1]["inputs"][0]["sources"][0]["step"],
        "videos"
    );
    assert_eq!(one(&["verify", "--json"])["whole"], true);
    assert_eq!(
        one(&["gc", "--dry-run", "--json"])["doomed"],
        serde_json::json!([])
    );
    assert!(one(&["schema", "extract"])["properties"]["frames"]["description"].is_string());
    assert_eq!(one(&["schema"]).as_object().unwrap().len(), 7);
}

#[test]
fn people_get_words() {
    let bench = tiny();
    bench.fedact(&["run"]).done();
    let graph = bench.fedact(&["graph"]);
    assert_eq!(
        graph.done().stdout,
        "videos  synthesize -> videos\nclips   extract (videos: videos) -> clips\n"
    );
    let mermaid = bench.fedact(&["graph", "--format", "mermaid"]);
    assert!(
        mermaid.done().stdout.contains("n0 -->|videos| n1"),
        "{mermaid:#?}"
    );
    let shown = bench.fedact(&["show", "clips"]);
    for words in [
        "clips (stage extract)\n",
        "  frames: 2\n",
        "sources\n  videos: videos ",
    ] {
        assert!(
            shown.done().stdout.contains(words),
            "no {words:?} in {shown:#?}"
        );
    }
    assert!(
        bench
            .fedact(&["verify"])
            .done()
            .stdout
            .ends_with(": all whole\n")
    );
    let script = bench.fedact(&["completions", "bash"]);
    assert!(script.done().stdout.contains("fedact"));
}

#[test]
fn gc_removes_what_the_pipeline_no_longer_reaches_and_verify_finds_damage() {
    let bench = tiny();
    bench.fedact(&["run", "--set", "clips.frames=3"]).done();
    bench.fedact(&["run"]).done();
    let listed = bench.fedact(&["gc", "--dry-run"]);
    assert!(
        listed.done().stdout.contains("result of step clips"),
        "{listed:#?}"
    );
    assert!(bench.fedact(&["gc"]).done().stdout.contains("removed "));
    assert!(
        bench
            .fedact(&["run"])
            .done()
            .stdout
            .starts_with("nothing to do")
    );

    let objects = bench.path("artifacts/store/objects");
    let object = walk(&objects).into_iter().next().unwrap();
    std::fs::remove_file(&object).unwrap();
    let found = bench.fedact(&["verify"]);
    assert_eq!(found.code, 4, "{found:#?}");
    assert!(
        found.stdout.contains("damaged result of step "),
        "{found:#?}"
    );
    let mended = bench.fedact(&["run"]);
    assert!(mended.done().stdout.starts_with("ran "), "{mended:#?}");
    assert_eq!(bench.fedact(&["verify"]).code, 0);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn a_stage_runs_alone_and_its_output_appears_when_complete() {
    let bench = Bench::new("");
    let set = [
        "actions=[Walk, Squat]",
        "subjects=2",
        "clips=1",
        "seconds=0.5",
        "fps=8",
        "width=64",
        "height=64",
    ];
    let mut arguments = vec!["synthesize", "--output", "made/videos"];
    for text in &set {
        arguments.extend(["--set", text]);
    }
    bench.fedact(&arguments).done();
    assert!(
        bench
            .path("made/videos/ucfTrainTestlist/classInd.txt")
            .is_file()
    );
    assert!(!bench.path("made/.videos.fedact").exists());
    bench
        .fedact(&[
            "extract",
            "--input",
            "videos=made/videos",
            "--set",
            "frames=2",
            "--set",
            "size=16",
            "--set",
            "resize=16",
            "--output",
            "clips",
        ])
        .done();
    assert!(bench.path("clips/clips.jsonl").is_file());
    // A second time only with --force, which replaces.
    std::fs::write(bench.path("clips/old"), "old").unwrap();
    bench
        .fedact(&[
            "extract",
            "--input",
            "videos=made/videos",
            "--set",
            "frames=2",
            "--set",
            "size=16",
            "--set",
            "resize=16",
            "--output",
            "clips",
            "--force",
        ])
        .done();
    assert!(!bench.path("clips/old").exists());
}

/// A pipeline whose first step is quick and whose second takes long enough to be killed in.
fn slow() -> Bench {
    Bench::new(&format!(
        "  quick: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: quick}}, params: {{frames: 2, size: 16, resize: 16}}}}\n  slow: {{stage: distill, inputs: {{clips: clips}}, params: {{threads: 1, epochs: 100, batch_size: 2, model: {{depth: 10, width: 4}}}}}}\n"
    ))
}

#[test]
fn killing_the_runner_leaves_no_orphan_and_finished_steps_are_not_redone() {
    let bench = slow();
    let mut runner = Command::new(env!("CARGO_BIN_EXE_fedact"))
        .current_dir(bench.path(""))
        .arg("run")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the slow step runs", || {
        children_of(runner.id(), "slow").len() == 1
    });
    let children = children_of(runner.id(), "slow");
    // SIGKILL: the runner has no chance to clean up.
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_until("the step's process is gone", || {
        children.iter().all(|pid| is_gone(*pid))
    });
    assert!(
        !bench.path("artifacts/slow").exists(),
        "a half output was delivered"
    );
    let again = bench.fedact(&["run", "clips"]);
    assert!(
        again.done().stdout.starts_with("nothing to do: 2 steps"),
        "{again:#?}"
    );
    let status = bench.fedact(&["status"]);
    assert!(
        status
            .done()
            .stdout
            .contains("slow   distill     never run\n"),
        "{status:#?}"
    );
}

/// The command in the background.
fn start(bench: &Bench, arguments: &[&str]) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_fedact"))
        .current_dir(bench.path(""))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn an_interrupted_training_stops_at_a_checkpoint_and_ends_with_the_same_model() {
    let bench = slow();
    let runner = start(&bench, &["run", "slow"]);
    wait_until("the slow step runs", || {
        children_of(runner.id(), "slow").len() == 1
    });
    let children = children_of(runner.id(), "slow");
    signal(runner.id(), "-INT");
    let ended = bench::Ended::of(runner.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(
        ended
            .stderr
            .contains("stopping after the next checkpoint of slow, in 30 s at most; Ctrl-C again"),
        "{ended:#?}"
    );
    assert!(ended.stderr.contains("slow: interrupted\n"), "{ended:#?}");
    assert!(ended.stdout.contains("run again to go on"), "{ended:#?}");
    assert!(children.iter().all(|pid| is_gone(*pid)));

    let again = bench.fedact(&["run", "slow"]);
    assert!(
        again.done().stderr.contains("going on from checkpoints"),
        "{again:#?}"
    );
    let resumed = std::fs::read(bench.path("artifacts/slow/model.safetensors")).unwrap();
    let whole = slow();
    whole.fedact(&["run", "slow"]).done();
    let model = std::fs::read(whole.path("artifacts/slow/model.safetensors")).unwrap();
    assert!(resumed == model, "the interruption shows in the model");
}

#[test]
fn a_second_interrupt_ends_everything_at_once() {
    let bench = slow();
    let mut runner = start(&bench, &["run"]);
    wait_until("the slow step runs", || {
        children_of(runner.id(), "slow").len() == 1
    });
    let children = children_of(runner.id(), "slow");
    // Stopped, it cannot come to a checkpoint.
    signal(children[0], "-STOP");
    signal(runner.id(), "-INT");
    // Two signals at once may arrive as one.
    let mut lines = BufReader::new(runner.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let heard = |line: &String| line.starts_with("stopping after the next checkpoint of slow");
    assert!(lines.any(|line| heard(&line)));
    assert!(!is_gone(children[0]), "the first interrupt must not kill");
    let began = Instant::now();
    signal(runner.id(), "-INT");
    assert!(lines.any(|line| line == "slow: interrupted"));
    let ended = bench::Ended::of(runner.wait_with_output().unwrap());
    // Long before the 30 seconds that the first one leaves.
    assert!(began.elapsed() < Duration::from_secs(20), "{ended:#?}");
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(children.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn a_stage_alone_goes_on_where_it_was_interrupted() {
    let bench = slow();
    bench.fedact(&["run", "clips"]).done();
    let arguments = |output| {
        let mut arguments = vec!["distill", "--input", "clips=artifacts/clips"];
        for set in [
            "threads=1",
            // Seconds of training, so that it is not over before the interrupt arrives.
            "epochs=100",
            "batch_size=2",
            "model={depth: 10, width: 4}",
        ] {
            arguments.extend(["--set", set]);
        }
        arguments.extend(["--output", output]);
        arguments
    };
    let runner = start(&bench, &arguments("model"));
    let index = bench.path(".model.fedact/checkpoints/training.json");
    wait_until("an epoch is over", || index.is_file());
    signal(runner.id(), "-INT");
    let ended = bench::Ended::of(runner.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(ended.stderr.contains("again to go on"), "{ended:#?}");
    assert!(!bench.path("model").exists(), "a half output was delivered");

    let again = bench.fedact(&arguments("model"));
    assert!(
        again.done().stderr.contains("going on from checkpoints"),
        "{again:#?}"
    );
    let whole = bench.fedact(&arguments("whole"));
    assert!(!whole.done().stderr.contains("going on"), "{whole:#?}");
    let model = |folder| std::fs::read(bench.path(folder).join("model.safetensors")).unwrap();
    assert!(model("model") == model("whole"));
    assert!(!bench.path(".model.fedact").exists());
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes that a runner started and whose output goes into the log of a step.
fn children_of(runner: u32, step: &str) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let of_runner = status.contains(&format!("\nPPid:\t{runner}\n"));
        let log = std::fs::read_link(entry.path().join("fd/2")).unwrap_or_default();
        if of_runner && log.to_string_lossy().contains(&format!("/logs/{step}-")) {
            children.push(pid);
        }
    }
    children
}

fn is_gone(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with('Z')
    })
}
