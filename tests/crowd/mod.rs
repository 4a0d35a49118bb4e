//! A run of a fleet with its coordinator and devices in this process, and the command beside it.

#[path = "../../crates/fleet/tests/process/problem.rs"]
mod problem;

use std::path::Path;
use std::time::{Duration, Instant};

use fedact_fleet::client::{Client, Ended as Left};
use fedact_fleet::coordinator::{Coordinator, Ended as Served, Settings};
use fedact_fleet::identity::Join;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{FleetError, Name, Stop};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::bench::{Bench, Ended};
use crate::nats;

const NUMBERS: usize = 64;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a fleet of three devices in it.
pub fn bench(port: u16) -> Bench {
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

/// Such a folder with its server, and what a coordinator and devices in this process need. Nothing without a `nats-server`.
pub fn scene() -> Option<(Bench, nats::Server, Runtime, Stop)> {
    let program = nats::program()?;
    let port = nats::free_port();
    let bench = bench(port);
    let server = nats::Server::start(&program, &bench.path("fleet"), port);
    Some((bench, server, Runtime::new().unwrap(), Stop::new()))
}

/// What a command printed.
pub fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.done().stdout).unwrap()
}

/// A coordinator in this process, of a run of so many tasks.
pub fn serve(
    runtime: &Runtime,
    folder: &Path,
    run: &str,
    tasks: u64,
    stop: &Stop,
) -> std::thread::JoinHandle<Served> {
    let fleet = Fleet::open(folder).unwrap();
    let settings = Settings {
        roster: Some(fleet.roster_path()),
        newcomers: Some(problem::SAMPLES),
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
pub fn join(
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
    let client = Client::new(Join::read(&file).unwrap(), bench.path(device), trainer).for_one_run();
    let stop = stop.clone();
    runtime.spawn(async move { client.take_part(&stop).await })
}

/// Looks until the status is as wanted.
pub fn status_when(bench: &Bench, wanted: impl Fn(&Value) -> bool) -> Value {
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
