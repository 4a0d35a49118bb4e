//! `fedact fleet demo`: a fleet on one machine, with everything that a real one has.
//!
//! It runs the commands that a person would on a server and its devices, and says which: a NATS server, a coordinator, and a process
//! for each device that is slowed to its profile and holds the videos that the simulation's client of the same number holds. Whatever
//! happens to the demo, its processes end with it (`herd.rs`).

mod cast;
mod herd;
mod hold;

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use fedact_clips::ClipSet;
use fedact_fleet::Name;
use fedact_fleet::setup::{Fleet, Setup};
use fedact_pipeline::{State, Stop};
use tempfile::TempDir;

use super::nats;
use crate::exit::{Code, Refusal};
use crate::session::{self, Session};
use crate::{output, signals};
use cast::Cast;
use herd::Herd;

/// What the server may keep: some versions of any model that one machine trains.
const STORE_BYTES: u64 = 4 << 30;

/// `fedact fleet demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "pipelines/fleet.yaml"
    )]
    file: PathBuf,
    /// The step that the devices do [default: the one with `transport: nats`].
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Override one value of a step's params; the value is YAML. May be given several times.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the store and the outputs.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// How many devices [default: the step's `clients`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    devices: Option<u16>,
    /// Do it although the store has the result.
    #[arg(long)]
    force: bool,
    /// Keep the fleet, the devices' folders and all logs here, in a folder that is empty or not there [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Where it is played, and by which program.
struct Stage<'a> {
    arguments: &'a Arguments,
    stop: &'a Stop,
    program: PathBuf,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl<'a> Stage<'a> {
    fn new(arguments: &'a Arguments, stop: &'a Stop) -> Result<Self, Refusal> {
        let failed = |what: &str, error| Refusal::failed(what, &error);
        let program = std::env::current_exe()
            .map_err(|error| failed("find the program of this process", error))?;
        let (folder, temporary) = match &arguments.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("fedact-demo-").tempdir();
                let made = made.map_err(|error| failed("make a temporary folder", error))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let folder_failed = |error| failed(&format!("use the folder {}", folder.display()), error);
        std::fs::create_dir_all(&folder).map_err(folder_failed)?;
        if std::fs::read_dir(&folder)
            .map_err(folder_failed)?
            .next()
            .is_some()
        {
            return Err(Refusal::new(
                Code::Usage,
                format!("{} is not empty", folder.display()),
                "give a new folder with --folder, or none",
            ));
        }
        let folder = std::fs::canonicalize(&folder).map_err(folder_failed)?;
        Ok(Self {
            arguments,
            stop,
            program,
            folder,
            _temporary: temporary,
        })
    }

    /// A command line of `fedact` about this pipeline and its store.
    fn command(&self, words: &[&str], more: &[OsString]) -> Command {
        let arguments = self.arguments;
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .args(more)
            .arg("-f")
            .arg(&arguments.file);
        for set in &arguments.set {
            command.arg("--set").arg(set);
        }
        command.arg("--artifacts").arg(&arguments.artifacts);
        let shown = command.get_args().map(|word| word.to_string_lossy());
        output::aside(&format!(
            "$ fedact {}\n",
            shown.collect::<Vec<_>>().join(" ")
        ));
        command
    }

    /// Runs steps.
    fn run(&self, steps: &[OsString]) -> Result<Code, Refusal> {
        herd::run(self.command(&["run"], steps), 0, self.stop, || {})
    }
}

/// Does on one machine what a fleet does on many.
///
/// # Errors
/// There is no NATS server; the pipeline has no step for a fleet; a process cannot be started.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&session::Arguments {
        file: arguments.file.clone(),
        set: arguments.set.clone(),
        artifacts: arguments.artifacts.clone(),
    })?;
    let cast = Cast::of(&session, arguments.step.as_deref(), arguments.devices)?;
    let server = nats::program()?;
    let stop = signals::stop()?;
    let stage = Stage::new(arguments, &stop)?;
    let mut code = stage.run(&cast.needs)?;
    if code == Code::Done && (arguments.force || !is_made(&session, &cast.step)?) {
        code = play(&stage, &session, &cast, &server)?;
    }
    if code == Code::Done {
        code = stage.run(&[])?;
    }
    if let Some(folder) = &arguments.folder {
        output::aside(&format!("fleet, devices and logs: {}\n", folder.display()));
    }
    Ok(code)
}

/// Whether the store has the result already, and then nothing is left to show.
fn is_made(session: &Session, step: &str) -> Result<bool, Refusal> {
    let graph = session.graph.only(&[step.to_owned()])?;
    let store = session.store()?;
    let (_, plan, _) = session.look(&graph, &store, None)?;
    let planned = plan.steps.iter().find(|planned| planned.step == step);
    let made = planned.is_some_and(|planned| planned.state == State::Fresh);
    if made {
        output::aside(&format!(
            "the result of `{step}` was there already, and no device was asked; --force asks them\n"
        ));
    }
    Ok(made)
}

/// The devices do the step.
fn play(stage: &Stage<'_>, session: &Session, cast: &Cast, server: &Path) -> Result<Code, Refusal> {
    let clips = session.artifacts.join(&cast.clips);
    let clips = ClipSet::open(&clips).map_err(|error| Refusal::failed("read the clips", &error))?;
    let videos = cast.videos(session);
    let devices = hold::hand_out(&clips, &videos, cast, &stage.folder.join("devices"))?;
    for device in &devices {
        output::aside(&format!("{}\n", device.words()));
    }
    let fleet = stage.folder.join("fleet");
    let port = free_port()?;
    let names = devices.iter().map(|device| device.name.clone()).collect();
    let setup = Setup {
        store_bytes: STORE_BYTES,
        ..Setup::on_loopback(Name::new("demo")?, port, names)
    };
    let set_up = Fleet::init(&fleet, &setup)?;
    let configuration = ["-c".into(), set_up.server_configuration().into_os_string()];
    let mut herd = Herd::begin(server, &configuration, &stage.folder.join("server.log"))?;
    herd.wait_for_port(port, stage.stop)?;
    for device in &devices {
        let arguments = device.arguments(&set_up.join_path(&device.name));
        herd.add(
            device.name.as_str(),
            stage.program.as_os_str(),
            &arguments,
            &device.log,
        )?;
    }
    let mut served = vec![
        fleet.into_os_string(),
        "--step".into(),
        cast.step.clone().into(),
    ];
    if stage.arguments.force {
        served.push("--force".into());
    }
    let serve = stage.command(&["fleet", "serve"], &served);
    let code = herd.watch(serve, stage.stop)?;
    herd.end(code == Code::Done);
    Ok(code)
}

/// A port that nobody listens at just now.
fn free_port() -> Result<u16, Refusal> {
    let found =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = found.map_err(|error| Refusal::failed("find a free port", &error))?;
    Ok(address.port())
}
