//! `fedact fleet add`.

use std::path::PathBuf;

use clap::Args;
use fedact_fleet::Name;
use fedact_fleet::coordinator::is_served;
use fedact_fleet::setup::Fleet;
use serde_json::json;

use super::init::name;
use super::servers;
use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact fleet add`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Names of the new devices, with commas between: 1 to 32 of a-z, 0-9 and -. That of a device that was sent away is not
    /// given again.
    #[arg(value_name = "NAME,...", value_parser = names)]
    devices: Names,
    /// The folder of the fleet.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Names with commas between, as one argument: what comes after it is the folder.
#[derive(Debug, Clone)]
struct Names(Vec<Name>);

fn names(text: &str) -> Result<Names, String> {
    text.split(',')
        .map(name)
        .collect::<Result<_, _>>()
        .map(Names)
}

/// Adds devices to a fleet that is there.
///
/// # Errors
/// There is no such fleet; a name is taken; a file cannot be written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let fleet = super::open(&arguments.folder)?;
    let Names(names) = &arguments.devices;
    let told = fleet.add(names)?;
    let joins: Vec<PathBuf> = names.iter().map(|name| fleet.join_path(name)).collect();
    let served = is_served(&fleet.run_folder());
    if arguments.json {
        output::json(&json!({
            "devices": names,
            "join_files": joins,
            "run_under_way": served,
            "servers": servers::json(&told),
        }))?;
    } else {
        let words = words(&fleet, names, &joins, served)?;
        let of_servers = servers::words(&fleet, &told, "it lets them in")?;
        output::text(&(words + &of_servers))?;
    }
    Ok(servers::code(&told))
}

fn words(
    fleet: &Fleet,
    names: &[Name],
    joins: &[PathBuf],
    served: bool,
) -> Result<String, Refusal> {
    let mut text = format!(
        "fleet `{}` has {} more\n\
         each of these files is a device's secret; move it there, and leave no copy:\n",
        fleet.roster()?.fleet,
        output::count(names.len(), "device"),
    );
    for path in joins {
        text.push_str(&format!("  {}\n", path.display()));
    }
    if served {
        text.push_str(
            "a run is under way: its coordinator takes them in within a second, unless its strategy counts on the devices that it \
             began with; then they take part from the next run on, and `fedact fleet status` says so\n",
        );
    }
    Ok(text)
}
