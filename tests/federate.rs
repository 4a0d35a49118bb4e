//! A federated run whose process is killed, again and again: the model and the history of one that was left alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::Bench;

/// Eight videos, of which four are for training.
const VIDEOS: &str =
    "{actions: [Walk, Squat], subjects: 2, clips: 2, seconds: 0.5, fps: 8, width: 64, height: 64}";

/// A step that keeps a checkpoint after every update and goes on for some seconds.
fn federation() -> Bench {
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {VIDEOS}}}\n  \
           clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n  \
           student: {{stage: distill, inputs: {{clips: clips}}, params: {{threads: 1, epochs: 1, warmup_epochs: 0, \
             batch_size: 2, model: {{depth: 10, width: 4}}}}}}\n  \
           quantized: {{stage: quantize, inputs: {{model: student, calibration: clips}}, params: {{clips: 4}}}}\n  \
           tuned: {{stage: federate, inputs: {{model: quantized, clips: clips}}, params: {{clients: 2, \
             partition: {{by: even}}, strategy: fedbuff, buffer_size: 2, codec: {{numbers: int8, keep: 0.5}}, \
             budget: {{client_epochs: 240}}, local_epochs: 1, batch_size: 1, evaluate_every: 100, \
             checkpoint_every: 1, threads: 1, workers: 2}}}}\n"
    ))
}

/// The command in the background, silent.
fn start(bench: &Bench) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fedact"))
        .current_dir(bench.path(""))
        .args(["run", "tuned"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The checkpoint of the step, once there is one.
fn checkpoint(bench: &Bench) -> Option<PathBuf> {
    let folders = std::fs::read_dir(bench.path("artifacts/store/checkpoints")).ok()?;
    let mut files = folders
        .flatten()
        .map(|folder| folder.path().join("federate.checkpoint"));
    files.find(|file| file.is_file())
}

/// How many bytes of history are there beside the checkpoint.
fn history(bench: &Bench) -> u64 {
    checkpoint(bench)
        .and_then(|file| std::fs::metadata(file.with_file_name("history.jsonl")).ok())
        .map_or(0, |metadata| metadata.len())
}

#[test]
fn a_run_that_is_killed_five_times_leaves_what_one_leaves_that_was_left_alone() {
    let whole = federation();
    whole.fedact(&["run", "tuned"]).done();

    let bench = federation();
    bench.fedact(&["run", "quantized"]).done();
    for kill in 1..=5 {
        let before = history(&bench);
        let mut runner = start(&bench);
        let began = Instant::now();
        // On each time by some twenty tasks, and then anywhere within the next.
        while history(&bench) < before + 12_000 {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "kill {kill}: nothing is learned"
            );
            assert!(
                runner.try_wait().unwrap().is_none(),
                "kill {kill}: it is over already"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL: neither the runner nor the step, which dies with it, can clean up.
        runner.kill().unwrap();
        runner.wait().unwrap();
    }
    let ended = bench.fedact(&["run", "tuned"]);
    assert!(
        ended.done().stderr.contains("going on from checkpoints"),
        "{ended:#?}"
    );
    for file in ["model.safetensors", "history.jsonl", "metrics.json"] {
        let of = |bench: &Bench| std::fs::read(bench.path("artifacts/tuned").join(file)).unwrap();
        assert!(of(&bench) == of(&whole), "the kills show in {file}");
    }
}
