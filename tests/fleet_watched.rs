//! Setting a fleet up and looking at it, by the command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;
mod crowd;
mod nats;

use std::os::unix::fs::PermissionsExt;

use bench::Bench;
use crowd::{bench, join, json, scene, serve, status_when};
use fedact_fleet::Stop;
use fedact_fleet::client::Ended as Left;
use fedact_fleet::coordinator::Ended as Served;
use serde_json::Value;

#[test]
fn a_new_fleet_says_what_to_do_with_it_and_keeps_its_secrets() {
    let bench = Bench::new("");
    let made = bench.fedact(&[
        "fleet",
        "init",
        "lab",
        "--devices",
        "nano-1,pi-3",
        "--host",
        "fl.example",
        "--name",
        "lab",
    ]);
    let text = &made.done().stdout;
    for words in [
        "2 join files for tls://fl.example:4222",
        "nats-server -c lab/nats.conf",
        "fedact fleet serve lab",
        "lab/join/pi-3.join",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    for secret in ["join/nano-1.join", "coordinator.seed", "tls/authority.key"] {
        let path = bench.path("lab").join(secret);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let seed = std::fs::read_to_string(bench.path("lab/coordinator.seed")).unwrap();
    assert!(!text.contains(seed.trim()), "{text}");

    let again = [
        "fleet",
        "init",
        "lab",
        "--devices",
        "a",
        "--host",
        "fl.example",
    ];
    bench
        .fedact(&again)
        .refused(2, &["lab holds a fleet already", "take a new folder"]);
    let other = [
        "fleet",
        "init",
        "other",
        "--devices",
        "a",
        "--host",
        "10.0.0.7",
        "--json",
    ];
    let other = json(&bench.fedact(&other));
    assert_eq!(other["addresses"][0], "tls://10.0.0.7:4222");
    assert_eq!(other["join_files"].as_array().unwrap().len(), 1);
}

#[test]
fn three_hosts_make_a_cluster_and_two_do_not() {
    let bench = Bench::new("");
    let init =
        |hosts: &str| bench.fedact(&["fleet", "init", "lab", "--devices", "a", "--host", hosts]);
    init("a.example,b.example").refused(2, &["2 servers", "take 1, or 3 or 5"]);
    assert!(!bench.path("lab").exists());
    let text = init("a.example,b.example,c.example").done().stdout.clone();
    assert!(text.contains("tls://c.example:4222"), "{text}");
    for nth in 1..=3 {
        let start = format!("nats-server -c lab/server-{nth}/nats.conf");
        assert!(text.contains(&start), "{text}");
        assert!(
            bench
                .path("lab")
                .join(format!("server-{nth}/nats.conf"))
                .is_file()
        );
    }
}

#[test]
fn what_cannot_be_a_fleet_is_refused_before_anything_is_written() {
    let bench = Bench::new("");
    let init = |arguments: &[&str]| bench.fedact(&[&["fleet", "init"], arguments].concat());
    init(&["--devices", "a,b,a", "--host", "h"]).refused(2, &["device `a` is named twice"]);
    init(&["--devices", "a", "--host", "nats://h"])
        .refused(2, &["`nats://h` is no host", "fl.example"]);
    init(&["--devices", "Nano 1", "--host", "h"]).refused(2, &["`Nano 1` is no name", "a-z"]);
    init(&["--devices", "a", "--host", "h", "--store", "1MB"]).refused(2, &["64MiB or more"]);
    init(&["--devices", "a", "--host", "h", "--port", "0"]).refused(2, &["--port"]);
    assert!(!bench.path("fleet").exists());
    init(&[".", "--devices", "a", "--host", "h"]).refused(
        2,
        &["is not empty: it has `pipeline.yaml`", "take a new folder"],
    );
}

#[test]
fn where_there_is_no_fleet_the_way_to_one_is_said() {
    let bench = Bench::new("");
    for command in [
        &["fleet", "status"][..],
        &["fleet", "status", "--watch"],
        &["fleet", "revoke", "nano-1"],
    ] {
        let ended = bench.fedact(command);
        ended.refused(
            2,
            &[
                "there is no fleet in fleet",
                "fedact fleet init fleet --devices",
            ],
        );
    }
}

#[test]
fn a_fleet_without_a_run_has_devices_and_a_way_to_begin() {
    let bench = bench(nats::free_port());
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(text.contains("no run has begun"), "{text}");
    assert!(
        text.contains("`fedact fleet serve fleet -f FILE --step STEP`"),
        "{text}"
    );
    assert!(text.contains("\nnano-2  away\n"), "{text}");

    let revoked = bench
        .fedact(&["fleet", "revoke", "nano-2"])
        .done()
        .stdout
        .clone();
    assert!(revoked.starts_with("`nano-2` is revoked"), "{revoked}");
    assert!(
        revoked.contains("cannot be reached: it goes by it when it is started with"),
        "{revoked}"
    );
    let again = json(&bench.fedact(&["fleet", "revoke", "nano-2", "--json"]));
    assert_eq!(again["revoked_before"], true);
    assert_eq!(again["server_told"], false);
    assert_eq!(again["servers"][0]["configuration"], "away");
    bench.fedact(&["fleet", "revoke", "nano-9"]).refused(
        2,
        &[
            "has no device `nano-9`",
            "its devices are nano-1, nano-2, pi-3",
        ],
    );

    let status = json(&bench.fedact(&["fleet", "status", "--json"]));
    assert_eq!(status["run"], Value::Null);
    assert_eq!(status["coordinator"], "not-running");
    assert_eq!(status["devices"][1]["revoked"], true);
    assert_eq!(status["devices"][2]["revoked"], false);
}

#[test]
fn a_run_is_watched_from_its_first_device_to_its_end() {
    let Some((bench, _server, runtime, stop)) = scene() else {
        return;
    };

    // One device works; the others never came.
    let leave = Stop::new();
    let serving = serve(&runtime, &bench.path("fleet"), "long", 1_000_000, &stop);
    let device = join(&runtime, &bench, "nano-2", &leave);
    let status = status_when(&bench, |status| {
        status["devices"][1]["counted"].as_u64() > Some(2)
    });
    assert_eq!(status["coordinator"], "running");
    assert_eq!(status["fleet"], "fleet");
    assert_eq!(status["devices"][0]["presence"], "away");
    assert!(status["bytes_up"].as_u64() > Some(0), "{status:#}");
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(text.contains("coordinator  running\n"), "{text}");
    assert!(text.contains("of 3000000 samples"), "{text}");

    // A coordinator that was stopped is not there, and what it said last still is.
    stop.set();
    assert_eq!(serving.join().unwrap(), Served::Stopped);
    let status = status_when(&bench, |status| status["coordinator"] == "not-running");
    assert!(status["version"].as_u64() > Some(2), "{status:#}");
    assert_eq!(status["seconds_left"], Value::Null);
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(
        text.contains("coordinator  not running: all this is "),
        "{text}"
    );

    // The next run is short, and a watch ends with it.
    leave.set();
    runtime.block_on(device).unwrap().unwrap();
    let stop = Stop::new();
    let serving = serve(&runtime, &bench.path("fleet"), "short", 100, &stop);
    let device = join(&runtime, &bench, "pi-3", &stop);
    let watched = bench.fedact(&["fleet", "status", "--watch=1", "--json"]);
    let lines: Vec<Value> = watched
        .done()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(last["finished"], "budget-spent");
    assert_eq!(last["samples"], 300);
    assert_eq!(last["devices"][2]["counted"], 100);
    serving.join().unwrap();
    let left = runtime.block_on(device).unwrap().unwrap();
    assert_eq!(left, Left::Finished("budget-spent".into()));
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(text.contains("the run is over: budget-spent"), "{text}");
}
