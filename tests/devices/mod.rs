//! A coordinator of the library that asks the devices of a fleet to train a model.

pub mod wire;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fedact_federate_params::fleet::Brief;
use fedact_federation::aggregator::Config;
use fedact_federation::layout::{Layout, TensorLayout};
use fedact_federation::strategy::{FedAsync, Strategy};
use fedact_fleet::Stop;
use fedact_fleet::coordinator::{Coordinator, Ended, Settings, Status};
use fedact_fleet::setup::{Fleet, RunFolder};
use fedact_recipe::Architecture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::nats::free_port;

/// A quantized model as a coordinator must know it.
pub struct Model {
    pub description: Value,
    pub layout: Layout,
    pub parameters: Vec<f32>,
}

impl Model {
    /// That in a folder.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read(folder.join("model.json")).unwrap();
        let description: Value = serde_json::from_slice(&text).unwrap();
        let architecture = Architecture::deserialize(&description["architecture"]).unwrap();
        let layout = architecture.layout().unwrap();
        let convolutions = layout.convolutions();
        let layers = convolutions.iter().map(|layer| layer.conv.as_str());
        // A safetensors file: the length of a header in JSON, the header, the numbers.
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        let mut parameters = Vec::new();
        let mut tensors = Vec::new();
        for layer in layers.chain(["fc"]) {
            for part in ["weight", "bias"] {
                let name = format!("{layer}.{part}");
                let place = |key: usize| {
                    let offset = &header[&name]["data_offsets"][key];
                    8 + length + offset.as_u64().unwrap() as usize
                };
                let (numbers, _) = file[place(0)..place(1)].as_chunks::<4>();
                parameters.extend(numbers.iter().map(|one| f32::from_le_bytes(*one)));
                let shape = Vec::deserialize(&header[&name]["shape"]).unwrap();
                tensors.push(TensorLayout { name, shape });
            }
        }
        Self {
            description,
            layout: Layout::new(tensors),
            parameters,
        }
    }
}

/// What the devices are asked to do.
pub fn brief(model: &Model, extract: Value) -> Brief {
    let given = json!({"batch_size": 4, "learning_rate": 0.01, "threads": 1});
    let params = (fedact_federate_params::DEFINITION.resolve)(&given).unwrap();
    Brief {
        model: model.description.clone(),
        extract,
        params: serde_json::from_value(params).unwrap(),
    }
}

/// A coordinator that serves a run on a thread of its own.
pub struct Serving {
    pub run: u64,
    folder: RunFolder,
    stop: Stop,
    thread: JoinHandle<(Ended, Vec<f32>)>,
}

/// Serves a run of this name, of so many tasks of so many clips, to the devices of a fleet.
pub fn serve(
    fleet: &Fleet,
    name: &str,
    model: &Model,
    brief: &Brief,
    (samples, tasks): (u64, u64),
) -> Serving {
    let roster = fleet.roster().unwrap();
    let strategy = Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: Default::default(),
        mixing: Default::default(),
        max_staleness: None,
    });
    let each = vec![samples; roster.devices.len()];
    let config = Config {
        max_refusals_in_a_row: 100,
        seed: 5,
        ..Config::unbounded(strategy, each, model.layout.clone(), samples * tasks)
    };
    let settings = Settings {
        authority: fleet.authority().unwrap(),
        roster: Some(fleet.roster_path()),
        lease: Duration::from_secs(20),
        trainer: serde_json::to_value(brief).unwrap(),
        ..Settings::default()
    };
    let key = fleet.coordinator_key().unwrap();
    let parameters = model.parameters.clone();
    let folder = fleet.begin_run(name).unwrap();
    let opened = Coordinator::open(&folder.path, roster, key, config, settings, || parameters);
    let mut coordinator = opened.unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let switch = stop.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ended = runtime.block_on(coordinator.serve(&switch)).unwrap();
        let parameters = coordinator.engine().aggregator().parameters().to_vec();
        (ended, parameters)
    });
    Serving {
        run,
        folder,
        stop,
        thread,
    }
}

impl Serving {
    /// Waits until devices can know of the run.
    pub fn published(self) -> Self {
        let limit = Instant::now() + Duration::from_secs(20);
        // It says that it looks for the server until it has found it.
        let found = |status: Status| status.trouble.is_none();
        while !Status::read(&self.folder.path).is_ok_and(found) {
            assert!(Instant::now() < limit, "the coordinator says nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    pub fn status(&self) -> Status {
        Status::read(&self.folder.path).unwrap()
    }

    /// How the run ended, and its model then.
    pub fn ended(self) -> (Ended, Vec<f32>) {
        self.thread.join().unwrap()
    }

    /// Stops it where it is.
    pub fn stop(self) -> (Ended, Vec<f32>) {
        self.stop.set();
        self.ended()
    }
}

/// `fedact fleet init` in the folder of a bench: the fleet and its port.
pub fn init(bench: &Bench, devices: &str) -> (Fleet, u16) {
    let port = free_port();
    let number = port.to_string();
    let _ = std::fs::remove_dir_all(bench.path("fleet"));
    let arguments = [
        "fleet",
        "init",
        "fleet",
        "--devices",
        devices,
        "--host",
        "127.0.0.1",
        "--port",
        &number,
        "--name",
        "lab",
    ];
    bench.fedact(&arguments).done();
    (Fleet::open(&bench.path("fleet")).unwrap(), port)
}
