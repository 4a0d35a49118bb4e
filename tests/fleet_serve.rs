//! A step of a pipeline whose clients are a fleet's devices, by the command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;
mod nats;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::Bench;
use fedact_fleet::client::{Client, Trainer, TrainerError, Work};
use fedact_fleet::coordinator::Status;
use fedact_fleet::identity::Join;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{Name, Stop};
use serde_json::Value;

/// Eight videos, of which four are for training.
const VIDEOS: &str =
    "{actions: [Walk, Squat], subjects: 2, clips: 2, seconds: 0.5, fps: 8, width: 64, height: 64}";

const LIMIT: Duration = Duration::from_secs(120);

/// A pipeline with a simulated step, one for a fleet, and a report on both.
fn pipeline() -> Bench {
    let tuned = "clients: 2, local_epochs: 1, batch_size: 2, budget: {client_epochs: 40}, evaluate_every: 10, \
                 threads: 1";
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {VIDEOS}}}\n  \
           clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n  \
           student: {{stage: distill, inputs: {{clips: clips}}, params: {{threads: 1, epochs: 1, warmup_epochs: 0, \
             batch_size: 2, model: {{depth: 10, width: 4}}}}}}\n  \
           quantized: {{stage: quantize, inputs: {{model: student, calibration: clips}}, params: {{clips: 4}}}}\n  \
           simulated: {{stage: federate, inputs: {{model: quantized, clips: clips}}, params: {{{tuned}}}}}\n  \
           tuned: {{stage: federate, inputs: {{model: quantized, clips: clips}}, params: {{{tuned}, transport: nats}}}}\n  \
           report: {{stage: evaluate, inputs: {{models: [simulated, tuned], clips: [clips]}}, params: {{threads: 1}}}}\n"
    ))
}

/// The same with a fleet of two devices.
fn with_fleet(port: u16) -> Bench {
    let bench = pipeline();
    let port = port.to_string();
    let init = [
        "fleet",
        "init",
        "--devices",
        "nano-1,pi-3",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ];
    bench.fedact(&init).done();
    bench
}

/// A device that learns something in no time.
struct Quick(Duration);

impl Trainer for Quick {
    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        std::thread::sleep(self.0);
        let moved = work.base.iter().enumerate().map(|(place, number)| {
            number + 1e-4 * ((place as u64 * 31 + work.nth) % 11) as f32 - 5e-4
        });
        Ok(moved.collect())
    }
}

#[test]
fn steps_that_no_fleet_can_work_for_are_refused_with_the_way_out() {
    let bench = pipeline();
    bench
        .fedact(&["fleet", "serve", "--step", "tuned"])
        .refused(
            2,
            &[
                "there is no fleet in fleet",
                "fedact fleet init fleet --devices",
            ],
        );
    let bench = with_fleet(4222);
    let serve = |step: &str| bench.fedact(&["fleet", "serve", "--step", step]);
    serve("simulated").refused(
        2,
        &[
            "the clients of step `simulated` are simulated",
            "--set simulated.transport=nats",
        ],
    );
    serve("clips").refused(
        2,
        &[
            "step `clips`, of the stage extract",
            "name one of simulated, tuned",
        ],
    );
    serve("tund").refused(2, &["tund", "tuned"]);
    let set = ["--set", "tuned.strategy=central"];
    let central = bench.fedact(&[&["fleet", "serve", "--step", "tuned"][..], &set].concat());
    central.refused(
        3,
        &[
            "`transport` is nats",
            "`simulation` under the strategy `central`",
        ],
    );
}

#[test]
fn a_fleets_step_is_served_interrupted_gone_on_with_and_reported_like_any_other() {
    let Some(program) = nats::program() else {
        return;
    };
    let port = nats::free_port();
    let bench = with_fleet(port);
    let fleet = Fleet::open(&bench.path("fleet")).unwrap();
    let _server = nats::Server::start(&program, fleet.folder(), port);
    // Without a fleet the step fails, and says how it is served.
    let alone = bench.fedact(&["run", "tuned"]);
    assert_eq!(alone.code, 3, "{alone:#?}");
    assert!(
        alone
            .stderr
            .contains("fedact fleet serve FOLDER -f FILE --step tuned"),
        "{alone:#?}"
    );

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = Stop::new();
    for device in ["nano-1", "pi-3"] {
        let join = fleet.join_path(&Name::new(device).unwrap());
        let join = Join::read(&join).unwrap();
        let client = Client::new(join, bench.path(device), Quick(Duration::from_millis(200)));
        let stop = stop.clone();
        runtime.spawn(async move { client.take_part(&stop).await.unwrap() });
    }
    let mut serving = Command::new(env!("CARGO_BIN_EXE_fedact"))
        .current_dir(bench.path(""))
        .args(["fleet", "serve", "--step", "tuned"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let version = || Status::read(&fleet.run_folder()).map_or(0, |status| status.version);
    while version() < 3 {
        assert!(serving.try_wait().unwrap().is_none(), "it is over already");
        assert!(began.elapsed() < LIMIT, "nothing is learned");
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Command::new("kill")
        .args(["-INT", &serving.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(serving.wait().unwrap().code(), Some(130));

    let serve = ["fleet", "serve", "--step", "tuned", "--json"];
    let served = bench.fedact(&serve);
    let lines = served.done().stdout.lines();
    let events: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["ran"], serde_json::json!(["tuned"]), "{last:#}");
    let metrics = std::fs::read_to_string(bench.path("artifacts/tuned/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics["client_epochs"], 40.0);
    assert_eq!(metrics["updates"], 40);

    let again = bench.fedact(&["fleet", "serve", "--step", "tuned"]);
    let text = &again.done().stdout;
    assert!(
        text.contains("the result of `tuned` was there already, and no device was asked"),
        "{text}"
    );
    bench.fedact(&["run", "report"]).done();
    let page = std::fs::read_to_string(bench.path("artifacts/report/index.html")).unwrap();
    assert!(
        page.contains("on real devices"),
        "the report does not say whose time is real"
    );
    let metrics = std::fs::read_to_string(bench.path("artifacts/report/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    let (real, simulated) = (
        &metrics["federated"]["tuned"],
        &metrics["federated"]["simulated"],
    );
    assert_eq!(real["joules"], Value::Null);
    assert_eq!(real["virtual_seconds"], Value::Null);
    assert!(real["seconds"].as_f64() > Some(0.0), "{real:#}");
    assert!(simulated["joules"].as_f64() > Some(0.0), "{simulated:#}");
    assert_eq!(real["clients"], 2);
    stop.set();
}
