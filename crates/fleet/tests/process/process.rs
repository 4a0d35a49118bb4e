//! A coordinator or a device in a process of its own, for the tests that kill them.
//!
//! ```text
//! fedact-fleet-process coordinator FLEET NUMBERS TASKS
//! fedact-fleet-process device JOIN FOLDER NUMBERS PAUSE_MS
//! ```
//!
//! A device writes a line into `FOLDER/decided` for every outcome that it is told.

mod problem;

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fedact_federation::message::{Codec, Numbers};
use fedact_federation::task_length::TaskLength;
use fedact_fleet::client::{Client, Told, Trainer, TrainerError, Work};
use fedact_fleet::coordinator::{Coordinator, OwnClips, Settings};
use fedact_fleet::identity::Join;
use fedact_fleet::setup::Fleet;
use fedact_fleet::{FleetError, Stop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match arguments[..] {
        ["coordinator", fleet, numbers, tasks] => {
            let serving = coordinator(Path::new(fleet), numbers.parse()?, tasks.parse()?);
            runtime.block_on(serving)?;
        }
        ["device", join, folder, numbers, pause] => {
            let pause = Duration::from_millis(pause.parse()?);
            let taking_part = device(
                Path::new(join),
                PathBuf::from(folder),
                numbers.parse()?,
                pause,
            );
            runtime.block_on(taking_part)?;
        }
        _ => return Err("neither a coordinator nor a device".into()),
    }
    Ok(())
}

async fn coordinator(folder: &Path, numbers: usize, tasks: u64) -> Result<(), FleetError> {
    let fleet = Fleet::open(folder)?;
    let roster = fleet.roster()?;
    let settings = Settings {
        authority: fleet.authority()?,
        roster: Some(fleet.roster_path()),
        lease: Duration::from_secs(3),
        differences: Some(Codec {
            numbers: Numbers::Int8,
            ..Codec::exact()
        }),
        own_clips: Some(OwnClips {
            length: TaskLength {
                passes: 1.0,
                batch_size: 1,
            },
            most: problem::SAMPLES,
            tasks,
        }),
        checkpoint_every: 16,
        keep_updates: true,
        ..Settings::default()
    };
    let rules = problem::rules(roster.devices.len(), numbers, tasks);
    let mut coordinator = Coordinator::open(
        &fleet.run_folder(),
        roster,
        fleet.coordinator_key()?,
        rules,
        settings,
        || vec![0.0; numbers],
    )?;
    coordinator.serve(&Stop::new()).await?;
    Ok(())
}

async fn device(
    join: &Path,
    folder: PathBuf,
    numbers: usize,
    pause: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let join = Join::read(join)?;
    let trainer = Holder(problem::Point {
        point: problem::point(join.device.as_str(), numbers),
        pause,
    });
    std::fs::create_dir_all(&folder)?;
    let mut decided = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("decided"))?;
    let client = Client::new(join, folder, trainer).for_one_run();
    let client = client.telling(move |told| {
        if let Told::Decided(verdict) = told {
            let outcome = verdict.refused.as_deref().unwrap_or("counts");
            let line = format!("{} {outcome}\n", verdict.task);
            // A line that is not written is an outcome that nobody was told.
            let _ = decided.write_all(line.as_bytes());
        }
    });
    client.take_part(&Stop::new()).await?;
    Ok(())
}

/// A device of the problem that says how many clips it has: more than are counted, and as many as are taken of one that does not.
struct Holder(problem::Point);

impl Trainer for Holder {
    fn clips(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(1000)
    }

    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        self.0.train(work)
    }
}
