//! `fedact fleet join`: this machine as a device of a fleet.
//!
//! This process keeps the connection and has neither libtorch nor FFmpeg, so that a device that waits takes little memory. What needs
//! them is done by processes that end when it is done: one cuts the videos, one each trains for a task. What they exchange are files
//! in the device's folder:
//!
//! ```text
//! nano-1.state/
//!   lock, count, update,           of the connection: see `fedact_fleet::client`
//!   model-*, fetching-*
//!   clips/                         the videos as clips
//!   clips.json                     what they were cut from; cut again when that is another
//!   task/                          of the task under way: the parameters before and after, the log of its process
//! ```

mod hands;
mod run;
mod shown;
mod videos;

use std::future::pending;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fedact_federation::device::Catalogue;
use fedact_fleet::client::{Client, Ended};
use fedact_fleet::identity::Join;
use fedact_fleet::{FleetError, Stop};

use crate::exit::{Code, Refusal};
use crate::fleet::log;
use crate::{launch, output, run as pipeline, signals, stage};
use hands::{Ending, Hands, Means};
use shown::Shown;
use videos::Videos;

/// How often this process looks whether it is to end.
const PULSE: Duration = Duration::from_millis(100);

/// `fedact fleet join`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// This device's join file, which `fedact fleet init` made.
    #[arg(value_name = "FILE.join")]
    file: PathBuf,
    /// The device's videos, a folder for each class, as in FOLDER/walk/clip1.mp4. They are read and never sent.
    #[arg(long, value_name = "FOLDER")]
    videos: PathBuf,
    /// What this device keeps: its clips, a model, an update [default: the join file's name, ending in `.state`].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Cores to use [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Log what happens on standard error, in the place of a bar.
    #[arg(long, value_name = "FORMAT")]
    log: Option<log::Format>,
    /// Print what happens as lines of JSON.
    #[arg(long)]
    json: bool,
    /// To try a fleet out: let no task take less time than training would on a device of this built-in profile, by waiting when it is
    /// done. Nothing else of that device is imitated.
    #[arg(long, value_name = "PROFILE")]
    as_slow_as: Option<String>,
}

/// Takes part until the run is over.
///
/// # Errors
/// A join file or a folder of videos that cannot be used; a server that does not let this device in; videos that the run has no use for;
/// tasks that fail again and again.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let join = Join::read(&arguments.file).map_err(|error| no_join_file(&arguments.file, error))?;
    if let Some(profile) = &arguments.as_slow_as {
        let known = Catalogue::built_in();
        known.profile(profile).map_err(|error| {
            let help = "name one of these; `fedact fleet join --help` says what it does";
            Refusal::new(Code::Usage, format!("--as-slow-as: {error}"), help)
        })?;
    }
    let videos = Videos::find(&arguments.videos)?;
    let state = state_folder(arguments, &videos)?;
    let shown = Shown::new(&join, arguments.json, arguments.log.is_some());
    let ending = Ending::default();
    let stop = signals::stop()?;
    let cores = arguments.threads.map(usize::from);
    let hands = Hands::with(Means {
        state: state.clone(),
        videos,
        launcher: launch::launcher()?,
        threads: cores.unwrap_or_else(pipeline::all_cores),
        stop: stop.clone(),
        shown: shown.clone(),
        as_slow_as: arguments.as_slow_as.clone(),
        ending: ending.clone(),
    });
    let ear = shown.clone();
    let client = Client::new(join, state, hands).telling(move |told| ear.told(told));
    // One thread for the network; a task blocks another one, and both are idle while nothing happens.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal::failed("wait for the network", &error))?;
    let switch = Stop::new();
    let ended = runtime.block_on(async {
        let passing_on = async {
            while !stop.asked() && !ending.is_set() {
                tokio::time::sleep(PULSE).await;
            }
            switch.set();
            pending::<()>().await;
        };
        tokio::select! {
            ended = client.take_part(&switch) => Some(ended),
            () = passing_on => None,
        }
    });
    shown.close();
    if let Some(refusal) = ending.take() {
        return Err(refusal);
    }
    match ended.transpose().map_err(not_taking_part)? {
        Some(Ended::Finished(reason)) => {
            shown.ended(&reason)?;
            Ok(Code::Done)
        }
        Some(Ended::Stopped) | None => {
            output::aside("interrupted; run the same command again to go on\n");
            Ok(Code::Interrupted)
        }
    }
}

fn no_join_file(path: &Path, error: FleetError) -> Refusal {
    match error {
        FleetError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Refusal::new(
                Code::Invalid,
                format!("there is no join file {}", path.display()),
                "`fedact fleet init` makes one for each device; copy this device's here",
            )
        }
        error => error.into(),
    }
}

fn not_taking_part(error: FleetError) -> Refusal {
    let help = match &error {
        FleetError::NotLetIn { .. } => {
            Some("ask whoever runs the fleet; a fleet that was set up anew has new join files")
        }
        FleetError::Served { .. } => Some("or give this one a folder of its own with --state DIR"),
        _ => None,
    };
    Refusal {
        help: help.map(str::to_owned),
        ..error.into()
    }
}

/// The device's folder, which nobody else may read: clips of its videos are in it.
fn state_folder(arguments: &Arguments, videos: &Videos) -> Result<PathBuf, Refusal> {
    let given = match &arguments.state {
        Some(folder) => folder.clone(),
        None => arguments.file.with_extension("state"),
    };
    let failed = |error| Refusal::failed(&format!("use the folder {}", given.display()), &error);
    let state = stage::true_path(&given).map_err(failed)?;
    if state.starts_with(videos.folder()) || videos.folder().starts_with(&state) {
        return Err(Refusal::new(
            Code::Usage,
            format!(
                "the folder of this device, {}, and that of its videos overlap",
                given.display()
            ),
            "give another one with --state DIR",
        ));
    }
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true).mode(0o700);
    folders.create(&state).map_err(failed)?;
    Ok(state)
}
