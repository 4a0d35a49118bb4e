//! A step whose clients are devices of a fleet, over a real NATS server.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod bars;
#[path = "../../../tests/nats/mod.rs"]
mod nats;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bars::{FRAMES, SIDE, finished, inputs, job, params, weights};
use fedact_clips::{Clip, ClipSetWriter, Dataset, Split};
use fedact_federate::run;
use fedact_federate_params::fleet::Brief;
use fedact_federation::history::{Record, read_complete};
use fedact_fleet::client::{Client, Trainer, TrainerError, Work};
use fedact_fleet::setup::{Fleet, Setup};
use fedact_fleet::{Name, Stop};
use fedact_nets::quantize::QuantizedModel;
use fedact_stage::{Event, Job, Metrics, Reporter};
use serde_json::{Value, json};
use tch::Device;
use tokio::runtime::Runtime;

const DEVICES: usize = 3;
const CLIPS_OF_A_TASK: u64 = 10;

/// A device that learns something in no time: every number moves a little, each device's in a way of its own.
struct Quick {
    device: usize,
    pause: Duration,
    briefs: Arc<Mutex<Vec<Value>>>,
    /// Clips that it says it has.
    clips: Option<NonZeroU64>,
}

impl Trainer for Quick {
    fn clips(&self) -> Option<NonZeroU64> {
        self.clips
    }

    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        let mut briefs = self.briefs.lock().unwrap();
        briefs.push(work.description.settings.clone());
        drop(briefs);
        std::thread::sleep(self.pause);
        let moved = work.base.iter().enumerate().map(|(place, number)| {
            let step = ((place * 31 + self.device * 7 + work.nth as usize) % 11) as f32 - 5.0;
            number + 1e-4 * step
        });
        Ok(moved.collect())
    }
}

/// A fleet with a server and devices, until it is dropped.
struct World {
    fleet: Fleet,
    briefs: Arc<Mutex<Vec<Value>>>,
    stop: Stop,
    /// Clips that devices say they have.
    clips: [Option<u64>; DEVICES],
    _server: nats::Server,
    devices: Runtime,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.set();
    }
}

fn set_up(folder: &Path, port: u16) -> Fleet {
    let devices = (0..DEVICES).map(|nth| Name::new(format!("nano-{nth}")).unwrap());
    let setup = Setup::on_loopback(Name::new("lab").unwrap(), port, devices.collect());
    Fleet::init(&folder.join("fleet"), &setup).unwrap()
}

/// Nothing, said aloud, where there is no server to run.
fn world(folder: &Path, pause: Duration) -> Option<World> {
    // Where every task has one length it does not matter what they say.
    world_of(folder, pause, [Some(1000), Some(1), None])
}

fn world_of(folder: &Path, pause: Duration, clips: [Option<u64>; DEVICES]) -> Option<World> {
    let program = nats::program()?;
    let port = nats::free_port();
    let fleet = set_up(folder, port);
    let server = nats::Server::start(&program, fleet.folder(), port);
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    let world = World {
        fleet,
        briefs: Arc::default(),
        stop: Stop::new(),
        clips,
        _server: server,
        devices: runtime,
    };
    for device in 0..DEVICES {
        world.start(folder, device, pause);
    }
    Some(world)
}

impl World {
    /// Starts a device.
    fn start(&self, folder: &Path, device: usize, pause: Duration) {
        let name = Name::new(format!("nano-{device}")).unwrap();
        let join = fedact_fleet::identity::Join::read(&self.fleet.join_path(&name)).unwrap();
        let trainer = Quick {
            device,
            pause,
            briefs: Arc::clone(&self.briefs),
            clips: self
                .clips
                .get(device)
                .copied()
                .flatten()
                .and_then(NonZeroU64::new),
        };
        let client = Client::new(join, folder.join(name.to_string()), trainer);
        let stop = self.stop.clone();
        self.devices
            .spawn(async move { client.take_part(&stop).await.unwrap() });
    }
}

/// A job for the fleet.
fn served(folder: &Path, fleet: &Fleet, client_epochs: u64) -> Job {
    let mut params = params("fedasync");
    params["transport"] = json!("nats");
    params["fleet"] = json!({"clips_per_task": CLIPS_OF_A_TASK, "lease_seconds": 20});
    params["budget"] = json!({"client_epochs": client_epochs});
    let mut job = job(folder, params);
    job.fleet = Some(fleet.folder().to_owned());
    job
}

/// What holds for every run of so many tasks, each of one client-epoch.
fn is_complete(job: &Job, metrics: &Metrics, history: &[Record], tasks: u64) {
    assert_eq!(metrics["end"], "budget-spent");
    assert_eq!(metrics["transport"], "nats");
    assert_eq!(metrics["client_epochs"], tasks as f64);
    assert_eq!(metrics["samples"], tasks * CLIPS_OF_A_TASK);
    assert_eq!(metrics["updates"], tasks);
    assert!(metrics["seconds"].as_f64().unwrap() > 0.0);
    // Nobody has measured energy, and no time is virtual.
    assert!(!metrics.contains_key("joules") && !metrics.contains_key("virtual_seconds"));
    let Record::Start {
        clients,
        model_bytes,
        ..
    } = &history[0]
    else {
        panic!("{:?}", history[0]);
    };
    let names: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(names, ["nano-0", "nano-1", "nano-2"]);
    assert!(matches!(
        history[1],
        Record::Evaluation {
            time: 0.0,
            version: 0,
            samples: 0,
            ..
        }
    ));
    let (mut begun, mut decided, mut bytes) = (BTreeSet::new(), 0, [0, 0]);
    for record in history {
        match record {
            Record::Task {
                client,
                start,
                download_end,
                training_end,
                upload_end,
                samples,
                steps,
                bytes_down,
                bytes_up,
                joules,
                ..
            } => {
                assert!(begun.insert((client.clone(), start.to_bits())));
                assert!(start <= download_end && download_end <= training_end);
                assert!(training_end <= upload_end);
                assert_eq!((*samples, *steps, *joules), (CLIPS_OF_A_TASK, 2, 0.0));
                assert!(*bytes_up > 0);
                bytes[0] += bytes_up;
                bytes[1] += bytes_down;
            }
            Record::Update {
                refused, weight, ..
            } => {
                assert_eq!(*refused, None);
                assert!(*weight > 0.0);
                decided += 1;
            }
            _ => {}
        }
    }
    assert_eq!((begun.len() as u64, decided), (tasks, tasks));
    assert!(bytes[1] >= *model_bytes, "{bytes:?}");
    assert_eq!(metrics["bytes_up"], bytes[0]);
    assert_eq!(metrics["bytes_down"], bytes[1]);
    let Some(Record::End {
        top1,
        time,
        bytes_up,
        ..
    }) = history.last()
    else {
        panic!("{:?}", history.last());
    };
    assert_eq!(metrics["top1"], *top1);
    assert_eq!(metrics["seconds"], *time);
    assert_eq!(*bytes_up, bytes[0]);
    let model = QuantizedModel::load(&job.output, Device::Cpu).unwrap();
    assert_eq!(model.info.classes, ["right", "left", "still"]);
    assert_ne!(
        weights(job),
        std::fs::read(inputs().0.join("model.safetensors")).unwrap()
    );
}

#[test]
fn devices_of_a_fleet_fine_tune_the_model_and_leave_what_a_simulation_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let Some(world) = world(folder.path(), Duration::ZERO) else {
        return;
    };
    let job = served(folder.path(), &world.fleet, 24);
    let (metrics, history) = finished(&job);
    is_complete(&job, &metrics, &history, 24);
    let briefs = world.briefs.lock().unwrap();
    assert!(briefs.len() >= 24);
    for brief in briefs.iter() {
        let brief: Brief = serde_json::from_value(brief.clone()).unwrap();
        assert_eq!(brief.model["classes"], json!(["right", "left", "still"]));
        let cut = json!({"frames": FRAMES, "size": SIDE, "resize": SIDE});
        assert_eq!(brief.extract, cut);
        assert_eq!(brief.params, job.params().unwrap());
    }
}

#[test]
fn tasks_are_passes_over_the_clips_that_a_device_says_it_has_and_the_history_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    // The train split at the centre has 12 clips a person: so many are taken of the last one, which does not say.
    let clips = [Some(30), Some(1000), None];
    let Some(world) = world_of(folder.path(), Duration::from_millis(10), clips) else {
        return;
    };
    let mut job = served(folder.path(), &world.fleet, 96);
    job.params["local_epochs"] = json!(2);
    job.params["fleet"] = json!({"max_clips": 40, "lease_seconds": 20});
    let (metrics, history) = finished(&job);
    assert_eq!(metrics["end"], "budget-spent");
    // A budget of 96 passes over the 35 clips of a mean device, of those that have said so, and at most the last task beyond it.
    let samples = metrics["samples"].as_u64().unwrap();
    assert!((96 * 35..96 * 35 + 2 * 40).contains(&samples), "{samples}");
    let epochs = metrics["client_epochs"].as_f64().unwrap();
    assert!((96.0..99.0).contains(&epochs), "{epochs}");
    let tests = history
        .iter()
        .filter(|record| matches!(record, Record::Evaluation { .. }));
    let planned = 96 / job.params["evaluate_every"].as_u64().unwrap();
    let tests = tests.count() as u64;
    assert!(
        (planned / 2..=planned + 2).contains(&tests),
        "{tests} tests, {planned} were planned"
    );
    let Record::Start { clients, .. } = &history[0] else {
        panic!("{:?}", history[0]);
    };
    let said: Vec<u64> = clients.iter().map(|client| client.clips).collect();
    assert_eq!(said, [30, 40, 12]);
    let mut lengths: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for record in &history {
        if let Record::Task {
            client, samples, ..
        } = record
        {
            lengths.entry(client).or_default().insert(*samples);
        }
    }
    let expected = [("nano-0", 60), ("nano-1", 80), ("nano-2", 24)];
    let expected = expected.map(|(device, samples)| (device, BTreeSet::from([samples])));
    assert_eq!(lengths, BTreeMap::from(expected));
}

#[test]
fn a_step_that_is_killed_and_stopped_goes_on_and_does_every_task_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(world) = world(folder.path(), Duration::from_millis(100)) else {
        return;
    };
    let job = served(folder.path(), &world.fleet, 96);
    let reporter = Reporter::to_function(|event| {
        if let Event::Progress { done, .. } = event {
            assert!(*done < 10, "killed by the test");
        }
    });
    let killed = catch_unwind(AssertUnwindSafe(|| run(&job, &reporter)));
    assert!(killed.is_err(), "it was to be killed in its midst");

    let asked: Arc<Mutex<Option<Reporter>>> = Arc::default();
    let switch = Arc::clone(&asked);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Progress { done: 40.., .. } = event
            && let Some(reporter) = &*switch.lock().unwrap()
        {
            reporter.ask_to_stop();
        }
    });
    *asked.lock().unwrap() = Some(reporter.clone());
    let stopped = run(&job, &reporter).unwrap_err();
    assert!(stopped.stopped, "{stopped:?}");
    *asked.lock().unwrap() = None;

    let metrics = run(&job, &Reporter::silent()).unwrap();
    let history = read_complete(&job.output.join("history.jsonl")).unwrap();
    is_complete(&job, &metrics, &history, 96);
}

#[test]
fn a_step_goes_on_with_its_run_though_its_fleet_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let pause = Duration::from_millis(50);
    let Some(world) = world(folder.path(), pause) else {
        return;
    };
    let job = served(folder.path(), &world.fleet, 72);
    let asked: Arc<Mutex<Option<Reporter>>> = Arc::default();
    let switch = Arc::clone(&asked);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Progress { done: 10.., .. } = event
            && let Some(reporter) = &*switch.lock().unwrap()
        {
            reporter.ask_to_stop();
        }
    });
    *asked.lock().unwrap() = Some(reporter.clone());
    assert!(run(&job, &reporter).unwrap_err().stopped);
    *asked.lock().unwrap() = None;

    world.fleet.add(&[Name::new("nano-3").unwrap()]).unwrap();
    world.start(folder.path(), DEVICES, pause);
    let metrics = run(&job, &Reporter::silent()).unwrap();
    // The budget is that of the three devices that it began with.
    assert_eq!(metrics["client_epochs"], 72.0);
    let history = read_complete(&job.output.join("history.jsonl")).unwrap();
    assert!(matches!(&history[0], Record::Start { clients, .. } if clients.len() == 4));
    let newcomers = history.iter().filter(
        |record| matches!(record, Record::Update { client, refused: None, .. } if client == "nano-3"),
    );
    assert!(newcomers.count() > 0);
}

#[test]
fn a_step_without_a_fleet_says_how_to_serve_it() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = set_up(folder.path(), 4222);
    let mut job = served(folder.path(), &fleet, 24);
    job.fleet = None;
    let error = run(&job, &Reporter::silent()).unwrap_err();
    assert!(error.invalid_input);
    assert!(
        error.message.contains("step `async` has `transport: nats`"),
        "{error}"
    );
    let remedy = error.remedy.unwrap();
    assert!(
        remedy.contains("fedact fleet serve FOLDER -f FILE --step async"),
        "{remedy}"
    );
}

#[test]
fn what_a_fleet_cannot_do_is_refused_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = set_up(folder.path(), 4222);
    let refused = |job: &Job| {
        let error = run(job, &Reporter::silent()).unwrap_err();
        assert!(error.invalid_input, "{error:?}");
        error.message
    };
    let mut job = served(folder.path(), &fleet, 24);
    job.params["strategy"] = json!("fedavg");
    job.params["clients_per_round"] = json!(4);
    let message = refused(&job);
    assert!(message.contains("`clients_per_round` is 4"), "{message}");
    assert!(
        message.contains("at most 3, the devices of the fleet"),
        "{message}"
    );

    // A set that somebody else wrote, and says nothing of how.
    let clips = folder.path().join("clips");
    std::fs::create_dir(&clips).unwrap();
    let classes = ["right", "left", "still"].map(str::to_owned).to_vec();
    let dataset = Dataset::new(classes, FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(&clips, dataset).unwrap();
    let clip = Clip {
        id: "a".into(),
        video: "a".into(),
        video_digest: "0".repeat(64),
        label: 0,
        group: "g".into(),
        split: Split::Test,
        start_seconds: 0.0,
        end_seconds: 1.0,
        shard: 0,
        row: 0,
    };
    let pixels = vec![7; FRAMES * SIDE * SIDE * 3];
    writer.push(clip, &pixels).unwrap();
    writer.finish().unwrap();
    let mut job = served(folder.path(), &fleet, 24);
    job.inputs.get_mut("clips").unwrap()[0].path = clips;
    let message = refused(&job);
    assert!(
        message.contains("dataset.json does not say how its clips were cut"),
        "{message}"
    );
}
