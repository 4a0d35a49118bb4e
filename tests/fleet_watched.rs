//! Setting a fleet up, looking at it and sending devices away, by the command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;
mod nats;
#[path = "../crates/fleet/tests/process/problem.rs"]
mod problem;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bench::{Bench, Ended};
use fedact_fleet::client::{Client, Ended as Left};
use fedact_fleet::coordinator::{Coordinator, Ended as Served, Settings};
use fedact_fleet::identity::Join;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{FleetError, Name, Stop};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const NUMBERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a fleet of three devices in it.
fn bench(port: u16) -> Bench {
    let bench = Bench::new("");
    let port = port.to_string();
    let made = bench.fedact(&[
        "fleet",
        "init",
        "--devices",
        "nano-1,nano-2,pi-3",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ]);
    made.done();
    bench
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.done().stdout).unwrap()
}

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
    let bench = bench(4222);
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
        revoked.contains("not every server runs on this machine"),
        "{revoked}"
    );
    let again = json(&bench.fedact(&["fleet", "revoke", "nano-2", "--json"]));
    assert_eq!(again["revoked_before"], true);
    assert_eq!(again["server_told"], false);
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

/// A coordinator in this process, of a run of so many tasks.
fn serve(
    runtime: &Runtime,
    folder: &Path,
    run: &str,
    tasks: u64,
    stop: &Stop,
) -> std::thread::JoinHandle<Served> {
    let fleet = Fleet::open(folder).unwrap();
    let settings = Settings {
        roster: Some(fleet.roster_path()),
        ..Settings::default()
    };
    let run = fleet.begin_run(run).unwrap();
    let mut coordinator = Coordinator::open(
        &run.path,
        fleet.roster().unwrap(),
        fleet.coordinator_key().unwrap(),
        problem::rules(3, NUMBERS, tasks),
        settings,
        || vec![0.0; NUMBERS],
    )
    .unwrap();
    let (stop, runtime) = (stop.clone(), runtime.handle().clone());
    std::thread::spawn(move || {
        let _run = run;
        runtime.block_on(coordinator.serve(&stop)).unwrap()
    })
}

/// A device in this process.
fn join(
    runtime: &Runtime,
    bench: &Bench,
    device: &str,
    stop: &Stop,
) -> JoinHandle<Result<Left, FleetError>> {
    let fleet = Fleet::open(&bench.path("fleet")).unwrap();
    let file = fleet.join_path(&Name::new(device).unwrap());
    let trainer = problem::Point {
        point: problem::point(device, NUMBERS),
        pause: Duration::from_millis(20),
    };
    let client = Client::new(Join::read(&file).unwrap(), bench.path(device), trainer);
    let stop = stop.clone();
    runtime.spawn(async move { client.take_part(&stop).await })
}

/// Looks until the status is as wanted.
fn status_when(bench: &Bench, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = json(&bench.fedact(&["fleet", "status", "--json"]));
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < LIMIT, "{status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_is_watched_from_its_first_device_to_its_end() {
    let Some(program) = nats::program() else {
        return;
    };
    let port = nats::free_port();
    let bench = bench(port);
    let _server = nats::Server::start(&program, &bench.path("fleet"), port);
    let runtime = Runtime::new().unwrap();

    // One device works; the others never came.
    let (stop, leave) = (Stop::new(), Stop::new());
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

#[test]
fn a_revoked_device_is_put_out_of_a_run_that_goes_on() {
    let Some(program) = nats::program() else {
        return;
    };
    let port = nats::free_port();
    let bench = bench(port);
    let _server = nats::Server::start(&program, &bench.path("fleet"), port);
    let runtime = Runtime::new().unwrap();
    let stop = Stop::new();
    let serving = serve(&runtime, &bench.path("fleet"), "long", 1_000_000, &stop);
    let good = join(&runtime, &bench, "nano-1", &stop);
    let bad = join(&runtime, &bench, "pi-3", &stop);
    status_when(&bench, |status| {
        [0, 2]
            .iter()
            .all(|place| status["devices"][place]["counted"].as_u64() > Some(0))
    });

    let told = json(&bench.fedact(&["fleet", "revoke", "pi-3", "--json"]));
    assert_eq!(told["server_told"], true);
    assert_eq!(told["revoked_before"], false);
    let left = runtime.block_on(bad).unwrap();
    assert!(matches!(left, Err(FleetError::NotLetIn { .. })), "{left:?}");
    let status = status_when(&bench, |status| status["devices"][2]["presence"] == "away");
    assert_eq!(status["devices"][2]["revoked"], true);
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(text.contains("\npi-3    revoked"), "{text}");

    // The others work on.
    let counted = |status: &Value| status["devices"][0]["counted"].as_u64();
    let before = counted(&status);
    status_when(&bench, |status| counted(status) > before);
    stop.set();
    assert_eq!(serving.join().unwrap(), Served::Stopped);
    assert_eq!(runtime.block_on(good).unwrap().unwrap(), Left::Stopped);
}
