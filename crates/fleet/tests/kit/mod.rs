//! A fleet with a real NATS server, in a temporary folder.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)] // each test program uses a part; helpers are outside of test functions

pub mod hand;
#[path = "../process/problem.rs"]
pub mod problem;

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fedact_federation::aggregator::Config;
use fedact_fleet::client::{Client, Ended as Left, Told};
use fedact_fleet::coordinator::{Coordinator, Ended, Settings};
use fedact_fleet::engine::{Replayed, replay};
use fedact_fleet::identity::Join;
use fedact_fleet::setup::{Fleet, Host, Setup};
use fedact_fleet::{FleetError, Name, Stop};

/// A fleet, its folder and its server.
pub struct World {
    pub fleet: Fleet,
    pub devices: Vec<Name>,
    pub ports: Vec<u16>,
    servers: Vec<Option<Child>>,
    folder: tempfile::TempDir,
}

pub fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// A fleet of so many devices whose server runs. Nothing, said aloud, where there is no server to run.
pub fn world(devices: usize) -> Option<World> {
    world_with(devices, false)
}

pub fn world_with(devices: usize, tls: bool) -> Option<World> {
    world_of(devices, tls, 1, 1 << 30)
}

/// The same with a cluster of so many servers, which keep so many bytes each.
pub fn world_of(devices: usize, tls: bool, servers: usize, store_bytes: u64) -> Option<World> {
    if server_program().is_none() {
        eprintln!("SKIPPED: there is no nats-server; install Debian's package of that name");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect();
    let devices: Vec<Name> = (0..devices)
        .map(|nth| name(&format!("nano-{nth}")))
        .collect();
    let setup = Setup {
        others: ports[1..]
            .iter()
            .map(|port| Host {
                host: "127.0.0.1".into(),
                port: *port,
            })
            .collect(),
        tls_on_loopback: tls,
        store_bytes,
        ..Setup::on_loopback(name("lab"), ports[0], devices.clone())
    };
    let fleet = Fleet::init(&folder.path().join("fleet"), &setup).unwrap();
    fleet.begin_run("test").unwrap();
    let mut world = World {
        fleet,
        devices,
        servers: ports.iter().map(|_| None).collect(),
        ports,
        folder,
    };
    for nth in 0..servers {
        world.start_server_at(nth);
    }
    Some(world)
}

/// Debian puts it where the path of users does not lead.
fn server_program() -> Option<&'static str> {
    let mut places = ["nats-server", "/usr/sbin/nats-server"].into_iter();
    places.find(|place| {
        let mut command = Command::new(place);
        let tried = command.arg("--version").stdout(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl World {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start_server(&mut self) {
        self.start_server_at(0);
    }

    pub fn start_server_at(&mut self, nth: usize) {
        let configuration = self.fleet.server_configurations().unwrap().remove(nth);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("server.log"))
            .unwrap();
        let server = Command::new(server_program().unwrap())
            .arg("-c")
            .arg(&configuration)
            .current_dir(configuration.parent().unwrap())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.servers[nth] = Some(server);
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.ports[nth])).is_err() {
            assert!(Instant::now() < limit, "{}", self.server_log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Kills the server where it stands.
    pub fn kill_server(&mut self) {
        self.kill_server_at(0);
    }

    pub fn kill_server_at(&mut self, nth: usize) {
        if let Some(mut server) = self.servers[nth].take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Kills the server and takes all its streams away.
    pub fn wipe_server(&mut self) {
        self.kill_server();
        std::fs::remove_dir_all(self.path("fleet/jetstream")).unwrap();
    }

    pub fn join(&self, device: usize) -> Join {
        Join::read(&self.fleet.join_path(&self.devices[device])).unwrap()
    }

    pub fn coordinator(
        &self,
        config: Config,
        settings: Settings,
    ) -> Result<Coordinator, FleetError> {
        let settings = Settings {
            keep_updates: true,
            ..settings
        };
        self.forgetful_coordinator(config, settings)
    }

    /// One that keeps only the updates that it is told to keep.
    pub fn forgetful_coordinator(
        &self,
        config: Config,
        settings: Settings,
    ) -> Result<Coordinator, FleetError> {
        let numbers = config.layout.len();
        let settings = Settings {
            authority: self.fleet.authority().unwrap(),
            roster: Some(self.fleet.roster_path()),
            ..settings
        };
        Coordinator::open(
            &self.fleet.run_folder(),
            self.fleet.roster().unwrap(),
            self.fleet.coordinator_key().unwrap(),
            config,
            settings,
            || vec![0.0; numbers],
        )
    }

    /// A device of the problem, on this runtime.
    pub fn device(
        &self,
        device: usize,
        numbers: usize,
        pause: Duration,
        stop: &Stop,
    ) -> tokio::task::JoinHandle<Result<Left, FleetError>> {
        self.device_telling(device, numbers, pause, stop, |_| {})
    }

    pub fn device_telling(
        &self,
        device: usize,
        numbers: usize,
        pause: Duration,
        stop: &Stop,
        told: impl FnMut(&Told) + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<Left, FleetError>> {
        let join = self.join(device);
        let trainer = problem::Point {
            point: problem::point(join.device.as_str(), numbers),
            pause,
        };
        let folder = self.path(&format!("device-{device}"));
        let client = Client::new(join, folder, trainer)
            .for_one_run()
            .telling(told);
        let stop = stop.clone();
        tokio::spawn(async move { client.take_part(&stop).await })
    }

    /// A connection that may do what the coordinator's may.
    pub async fn wire(&self, who: &str) -> async_nats::Client {
        let roster = self.fleet.roster().unwrap();
        let mut options = async_nats::ConnectOptions::new()
            .nkey(self.fleet.coordinator_key().unwrap().seed().unwrap())
            .custom_inbox_prefix(format!("_INBOX.lab.{who}"))
            .request_timeout(Some(Duration::from_secs(2)));
        if self.fleet.authority().unwrap().is_some() {
            options = options
                .require_tls(true)
                .add_root_certificates(self.path("fleet/tls/authority.pem"));
        }
        let addresses: Vec<async_nats::ServerAddr> = roster
            .addresses()
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        options.connect(addresses).await.unwrap()
    }

    /// Returns when the journal has so many bytes.
    pub async fn journal_grown_to(&self, bytes: u64) {
        let journal = self.fleet.run_folder().join("journal");
        while std::fs::metadata(&journal).map_or(0, |metadata| metadata.len()) < bytes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn replay(&self, config: Config) -> Replayed {
        replay(&self.fleet.run_folder(), config, &self.path("scratch")).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Serves a run to its end, or fails with how it stood.
pub async fn serve(coordinator: &mut Coordinator, stop: &Stop, most: Duration) -> Ended {
    match tokio::time::timeout(most, coordinator.serve(stop)).await {
        Ok(ended) => ended.unwrap(),
        Err(_) => panic!("not over in {most:?}: {:#?}", coordinator.status()),
    }
}

pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The mean of what the devices want.
pub fn optimum(devices: &[Name], numbers: usize) -> Vec<f32> {
    let mut mean = vec![0.0; numbers];
    for device in devices {
        for (sum, number) in mean
            .iter_mut()
            .zip(problem::point(device.as_str(), numbers))
        {
            *sum += number / devices.len() as f32;
        }
    }
    mean
}

/// How far a model is from what the devices want: from their mean, or, where one of them did nearly all the work, from its
/// own point.
pub fn distance_from_wishes(model: &[f32], devices: &[Name]) -> f32 {
    let points = devices
        .iter()
        .map(|device| problem::point(device.as_str(), model.len()));
    points
        .chain([optimum(devices, model.len())])
        .map(|point| distance(model, &point))
        .fold(f32::INFINITY, f32::min)
}

pub fn distance(one: &[f32], other: &[f32]) -> f32 {
    let squares = one
        .iter()
        .zip(other)
        .map(|(one, other)| (one - other).powi(2));
    squares.sum::<f32>().sqrt()
}
