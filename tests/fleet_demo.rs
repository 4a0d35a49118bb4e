//! `fedact fleet demo`: a server, a coordinator and devices on this machine, from videos to the report, and nothing of them left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;
#[allow(dead_code)]
mod nats;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::Bench;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A simulated fleet and a real one, of two devices each.
fn two_fleets(client_epochs: u32) -> Bench {
    let videos = "{actions: [Walk, Squat], subjects: 6, clips: 2, seconds: 0.5, fps: 8, width: 64, height: 64}";
    let work = format!(
        "clients: 2, devices: [jetson-agx-xavier, jetson-xavier-nx], budget: {{client_epochs: {client_epochs}}}, \
         local_epochs: 1, batch_size: 4, evaluate_every: 4, threads: 1"
    );
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {videos}}}\n  \
           clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n  \
           student: {{stage: distill, inputs: {{clips: clips}}, params: {{threads: 1, epochs: 1, warmup_epochs: 0, \
             batch_size: 2, model: {{depth: 10, width: 4}}}}}}\n  \
           quantized: {{stage: quantize, inputs: {{model: student, calibration: clips}}, params: {{clips: 4}}}}\n  \
           simulated: {{stage: federate, inputs: {{model: quantized, clips: clips}}, params: {{{work}}}}}\n  \
           fleet: {{stage: federate, inputs: {{model: quantized, clips: clips}}, params: {{{work}, transport: nats}}}}\n  \
           report: {{stage: evaluate, inputs: {{models: [simulated, fleet], clips: [clips]}}}}\n"
    ))
}

fn metrics(bench: &Bench, step: &str) -> Value {
    let path = bench.path(format!("artifacts/{step}/metrics.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Processes of this machine that have a folder on their command line.
fn about(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap_or(folder.to_owned());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines
        .filter(|line| line.contains(&*folder.to_string_lossy()))
        .collect()
}

#[test]
fn a_demo_ends_with_the_simulated_fleet_and_the_real_one_side_by_side() {
    if nats::program().is_none() {
        return;
    }
    let bench = two_fleets(8);
    let folder = bench.path("demo");
    let demo = ["fleet", "demo", "-f", "pipeline.yaml", "--folder", "demo"];
    let ended = bench.fedact(&demo);
    let ended = ended.done();
    for words in [
        "$ fedact run quantized clips videos -f pipeline.yaml",
        "jetson-agx-xavier-1: ",
        "jetson-xavier-nx-2: ",
        "/demo/fleet --step fleet",
    ] {
        assert!(ended.stderr.contains(words), "no {words:?} in {ended:#?}");
    }
    assert!(
        ended.stdout.contains("artifacts/report/index.html"),
        "{ended:#?}"
    );
    let (simulated, real) = (metrics(&bench, "simulated"), metrics(&bench, "fleet"));
    assert_eq!(real["end"], "budget-spent");
    assert_eq!(real["refused"], simulated["refused"]);
    assert!(real["updates"].as_u64() >= Some(8), "{real:#}");
    // The devices hold what the simulation's clients hold, and say so: the same budget is the same work.
    assert_eq!(real["samples"], simulated["samples"], "{real:#}");
    let report = std::fs::read_to_string(bench.path("artifacts/report/index.html")).unwrap();
    assert!(report.contains("simulated") && report.contains("fleet"));
    // Every device has its own persons' videos of the train split, and nobody another's.
    let mut persons = Vec::new();
    for device in ["jetson-agx-xavier-1", "jetson-xavier-nx-2"] {
        let mut own: Vec<String> = ["Walk", "Squat"]
            .iter()
            .flat_map(|class| {
                let videos = folder
                    .join("devices")
                    .join(device)
                    .join("videos")
                    .join(class);
                std::fs::read_dir(videos).unwrap().flatten()
            })
            .map(|entry| entry.file_name().into_string().unwrap())
            .map(|name| {
                name.split('_')
                    .find(|part| part.starts_with('g'))
                    .unwrap()
                    .to_owned()
            })
            .collect();
        own.sort();
        own.dedup();
        assert!(!own.is_empty());
        persons.extend(own);
    }
    let all = persons.len();
    persons.sort();
    persons.dedup();
    assert_eq!(persons.len(), all, "{persons:?}");
    assert_eq!(about(&folder), [""; 0], "processes are left");

    // What is there is not done again, unless that is asked for; and not into a folder that is in use.
    let again = bench.fedact(&["fleet", "demo", "-f", "pipeline.yaml"]);
    assert!(
        again
            .done()
            .stderr
            .contains("no device was asked; --force asks them"),
        "{again:#?}"
    );
    bench
        .fedact(&demo)
        .refused(2, &["is not empty", "--folder"]);
}

#[test]
fn an_interrupted_demo_leaves_no_process_behind_and_neither_does_one_that_is_killed() {
    if nats::program().is_none() {
        return;
    }
    // More work than it is given time for.
    let bench = two_fleets(100_000);
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let folder = bench.path(format!("demo-{}", signal.as_raw()));
        let mut demo = Command::new(env!("CARGO_BIN_EXE_fedact"))
            .current_dir(bench.path(""))
            .args(["fleet", "demo", "-f", "pipeline.yaml", "--folder"])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let counts = |status: &Value| {
            let devices = status["devices"].as_array().unwrap();
            devices
                .iter()
                .all(|device| device["counted"].as_u64() > Some(0))
        };
        let status = || -> Option<Value> {
            let text = std::fs::read(folder.join("fleet/run/status.json")).ok()?;
            serde_json::from_slice(&text).ok()
        };
        while !status().is_some_and(|status| counts(&status)) {
            assert!(
                began.elapsed() < Duration::from_secs(180),
                "{:#?}",
                status()
            );
            assert!(
                demo.try_wait().unwrap().is_none(),
                "the demo is over already"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        kill_process(Pid::from_child(&demo), signal).unwrap();
        assert_eq!(demo.wait().unwrap().code(), code);
        let began = Instant::now();
        while !about(&folder).is_empty() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{:#?}",
                about(&folder)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_pipeline_without_a_step_for_a_fleet_says_how_to_get_one() {
    let bench = two_fleets(8);
    let demo = |arguments: &[&str]| {
        bench.fedact(&[&["fleet", "demo", "-f", "pipeline.yaml"], arguments].concat())
    };
    demo(&["--step", "simulated"]).refused(
        2,
        &[
            "`simulated` is not for a fleet",
            "--set simulated.transport=nats",
        ],
    );
    demo(&["--set", "fleet.transport=simulation"])
        .refused(2, &["no step of this pipeline is for a fleet"]);
    demo(&["--set", "simulated.transport=nats"]).refused(
        2,
        &["several steps are for a fleet: simulated, fleet", "--step"],
    );
}
