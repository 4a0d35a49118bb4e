//! What an update costs, without training: a NATS server, a coordinator and so many devices on loopback, over TLS.
//!
//! ```text
//! load run DEVICES NUMBERS TASKS DOWN     prints a line of JSON; the model has so many f32, and goes down `whole`, or to devices that
//!                                         have one by differences, `exact` or in `int8`
//! load devices FOLDER DEVICES             all devices in one process; started by the first
//! ```
//!
//! The coordinator is this process. Its processor time is that of serving, the server's and the devices' is that of their
//! processes from beginning to end.
#![allow(clippy::print_stdout)] // a program

use std::error::Error;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fedact_federation::aggregator::Config;
use fedact_federation::layout::Layout;
use fedact_federation::message::{Codec, Numbers};
use fedact_federation::strategy::{AlphaDecay, FedAsync, Mixing, Strategy};
use fedact_fleet::client::{Client, Trainer, TrainerError, Work};
use fedact_fleet::coordinator::{Coordinator, Settings};
use fedact_fleet::identity::Join;
use fedact_fleet::setup::{Fleet, Setup};
use fedact_fleet::{Name, Stop};

type Done<T> = Result<T, Box<dyn Error>>;

/// Ticks a second of the times in `/proc`.
const TICKS: f64 = 100.0;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match arguments[..] {
        ["run", devices, numbers, tasks, down] => {
            let sizes = (devices.parse()?, numbers.parse()?, tasks.parse()?);
            println!("{}", run(&runtime, sizes, differences(down)?)?);
            Ok(())
        }
        ["devices", folder, devices] => {
            runtime.block_on(take_part(Path::new(folder), devices.parse()?))?;
            let own = std::process::id();
            println!("{} {}", processor_seconds(own)?, peak_megabytes(own)?);
            Ok(())
        }
        _ => Err("load run DEVICES NUMBERS TASKS whole|exact|int8".into()),
    }
}

/// How differences are encoded.
fn differences(down: &str) -> Done<Option<Codec>> {
    match down {
        "whole" => Ok(None),
        "exact" => Ok(Some(Codec::exact())),
        "int8" => Ok(Some(Codec {
            numbers: Numbers::Int8,
            ..Codec::exact()
        })),
        _ => Err("models go down whole, exact or int8".into()),
    }
}

/// Learns nothing, at once, and leaves no two numbers equal.
struct Nudge;

impl Trainer for Nudge {
    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        let nudged = work.base.iter().enumerate();
        Ok(nudged
            .map(|(nth, number)| number + 1e-3 * ((nth as u64 * 31 + work.task) % 1000) as f32)
            .collect())
    }
}

async fn take_part(folder: &Path, devices: usize) -> Done<()> {
    let mut all = Vec::new();
    for device in 0..devices {
        let join = Join::read(&folder.join(format!("fleet/join/device-{device}.join")))?;
        let client =
            Client::new(join, folder.join(format!("device-{device}")), Nudge).for_one_run();
        all.push(tokio::spawn(
            async move { client.take_part(&Stop::new()).await },
        ));
    }
    for device in all {
        device.await??;
    }
    Ok(())
}

/// A process that ends with the run.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(
    runtime: &tokio::runtime::Runtime,
    (devices, numbers, tasks): (usize, usize, u64),
    differences: Option<Codec>,
) -> Done<serde_json::Value> {
    let folder = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let names = (0..devices)
        .map(|device| Name::new(format!("device-{device}")))
        .collect::<Result<_, _>>()?;
    let setup = Setup {
        tls_on_loopback: true,
        store_bytes: 16 << 30,
        ..Setup::on_loopback(Name::new("load")?, port, names)
    };
    let fleet = Fleet::init(&folder.path().join("fleet"), &setup)?;
    let program = ["/usr/sbin/nats-server", "nats-server"];
    let program = if Path::new(program[0]).exists() {
        program[0]
    } else {
        program[1]
    };
    let server = Command::new(program)
        .arg("-c")
        .arg(fleet.server_configuration())
        .stderr(Stdio::null())
        .spawn()?;
    let server = Process(server);
    while TcpStream::connect(("127.0.0.1", setup.port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut coordinator = open(&fleet, (devices, numbers, tasks), differences)?;
    let clients = Command::new(std::env::current_exe()?)
        .arg("devices")
        .arg(folder.path())
        .arg(devices.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut clients = Process(clients);
    let own = std::process::id();
    let (before, began) = (processor_seconds(own)?, Instant::now());
    runtime.block_on(coordinator.serve(&Stop::new()))?;
    let seconds = began.elapsed().as_secs_f64();
    let coordinator_seconds = processor_seconds(own)? - before;
    let status = coordinator.status();
    let counted: u64 = status.devices.iter().map(|device| device.counted).sum();
    let (server_seconds, server_peak) = (
        processor_seconds(server.0.id())?,
        peak_megabytes(server.0.id())?,
    );
    let mut said = String::new();
    if let Some(mut said_there) = clients.0.stdout.take() {
        said_there.read_to_string(&mut said)?;
    }
    let (devices_seconds, devices_peak) = said.trim().split_once(' ').ok_or("a device failed")?;
    let (devices_seconds, devices_peak): (f64, f64) =
        (devices_seconds.parse()?, devices_peak.parse()?);
    let each = |seconds: f64| seconds / counted as f64;
    Ok(serde_json::json!({
        "devices": devices,
        "update_bytes": status.bytes_up / counted.max(1),
        "fetched_bytes": status.bytes_down / counted.max(1),
        "updates": counted,
        "seconds": seconds,
        "updates_a_second": counted as f64 / seconds,
        "megabytes_a_second": (status.bytes_up + status.bytes_down) as f64 / 1e6 / seconds,
        "coordinator_seconds_an_update": each(coordinator_seconds),
        "server_seconds_an_update": each(server_seconds),
        "devices_seconds_an_update": each(devices_seconds),
        "coordinator_peak_mb": peak_megabytes(own)?,
        "server_peak_mb": server_peak,
        "devices_peak_mb": devices_peak,
    }))
}

fn open(
    fleet: &Fleet,
    (devices, numbers, tasks): (usize, usize, u64),
    differences: Option<Codec>,
) -> Done<Coordinator> {
    let strategy = Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    });
    let config = Config {
        max_refusals_in_a_row: 1000,
        seed: 5,
        ..Config::unbounded(strategy, vec![1; devices], Layout::vector(numbers), tasks)
    };
    let settings = Settings {
        authority: fleet.authority()?,
        codec: Codec {
            zstd: None,
            ..Codec::default()
        },
        differences,
        lease: Duration::from_secs(600),
        ..Settings::default()
    };
    Ok(Coordinator::open(
        &fleet.run_folder(),
        fleet.roster()?,
        fleet.coordinator_key()?,
        config,
        settings,
        || vec![0.0; numbers],
    )?)
}

/// Seconds that a process had of processors so far, its own and the system's for it.
fn processor_seconds(process: u32) -> Done<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || Ok::<f64, Box<dyn Error>>(fields.next().ok_or("no such field")?.parse()?);
    Ok((next()? + next()?) / TICKS)
}

/// The most memory that a process had so far.
fn peak_megabytes(process: u32) -> Done<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("it has no memory")?.parse::<f64>()? * 1024.0 / 1e6)
}
