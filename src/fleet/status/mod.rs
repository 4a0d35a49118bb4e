//! `fedact fleet status`.

mod place;
mod table;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fedact_fleet::setup::Fleet;
use serde_json::json;

use super::standing::{Coordinator, Standing};
use crate::exit::{Code, Refusal};
use crate::output;
use place::Place;

/// The pace that `--watch` shows is that of so much of the run's time.
const WINDOW_SECONDS: f64 = 60.0;

/// `fedact fleet status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the fleet, on the coordinator's machine.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// Again and again, every so many seconds, until the run is over [default: 1 on a terminal, else 10].
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "0",
        value_parser = clap::value_parser!(u32).range(..86_400))]
    watch: Option<u32>,
    /// Print JSON; with --watch a line each time.
    #[arg(long)]
    json: bool,
}

/// Says how a fleet stands.
///
/// # Errors
/// There is no fleet in the folder, or a file of it cannot be read.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let fleet = super::open(&arguments.folder)?;
    let Some(seconds) = arguments.watch else {
        let standing = Standing::read(&fleet)?;
        show(arguments, &fleet, standing.as_ref(), None)?;
        return Ok(Code::Done);
    };
    let in_place = !arguments.json && std::io::stdout().is_terminal();
    let pause = match (seconds, in_place) {
        (0, true) => 1,
        (0, false) => 10,
        (seconds, _) => seconds,
    };
    let mut place = Place::new();
    let mut earlier: VecDeque<Standing> = VecDeque::new();
    loop {
        let standing = Standing::read(&fleet)?;
        let before = earlier.front();
        let watched = if in_place {
            place.show(&text(arguments, &fleet, standing.as_ref(), before)?)?
        } else {
            show(arguments, &fleet, standing.as_ref(), before)?
        };
        let over = |standing: &Standing| standing.status.finished.is_some();
        if !watched || standing.as_ref().is_some_and(over) {
            return Ok(Code::Done);
        }
        if let Some(standing) = standing {
            remember(&mut earlier, standing);
        }
        std::thread::sleep(Duration::from_secs(pause.into()));
    }
}

/// Keeps what a pace is taken from.
fn remember(earlier: &mut VecDeque<Standing>, standing: Standing) {
    let (run, seconds) = (&standing.status.run, standing.status.seconds);
    while earlier.front().is_some_and(|first| {
        first.status.run != *run || seconds - first.status.seconds > WINDOW_SECONDS
    }) {
        earlier.pop_front();
    }
    earlier.push_back(standing);
}

/// Prints how the fleet stands. Says whether anybody still reads it.
fn show(
    arguments: &Arguments,
    fleet: &Fleet,
    standing: Option<&Standing>,
    earlier: Option<&Standing>,
) -> Result<bool, Refusal> {
    if !arguments.json {
        let mut text = text(arguments, fleet, standing, earlier)?;
        if arguments.watch.is_some() {
            text.push('\n');
        }
        return output::text_while_read(&text);
    }
    let value = match standing {
        Some(standing) => {
            let pace = standing.pace(earlier);
            let mut value = serde_json::to_value(standing)
                .map_err(|error| Refusal::failed("write JSON", &error))?;
            value["updates_per_second"] = json!(pace.map(|pace| pace.updates_per_second));
            value["seconds_left"] = json!(pace.and_then(|pace| pace.seconds_left));
            value
        }
        None => {
            let roster = fleet.roster()?;
            let devices = roster.devices.iter();
            let devices =
                devices.map(|device| json!({"name": device.name, "revoked": device.revoked}));
            json!({
                "coordinator": Coordinator::NotRunning,
                "fleet": roster.fleet,
                "run": null,
                "devices": devices.collect::<Vec<_>>(),
            })
        }
    };
    output::text_while_read(&format!("{value}\n"))
}

/// The same for people.
fn text(
    arguments: &Arguments,
    fleet: &Fleet,
    standing: Option<&Standing>,
    earlier: Option<&Standing>,
) -> Result<String, Refusal> {
    let folder = arguments.folder.display();
    Ok(match standing {
        Some(standing) => table::of_run(standing, standing.pace(earlier), &folder.to_string()),
        None => table::without_run(&fleet.roster()?, &folder.to_string()),
    })
}
