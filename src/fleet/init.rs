//! `fedact fleet init`.

use std::path::PathBuf;

use clap::Args;
use fedact_fleet::Name;
use fedact_fleet::setup::{Fleet, Host, Setup};
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact fleet init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder to make; it will hold secrets.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// Names of the devices, with commas between: 1 to 32 of a-z, 0-9 and -.
    #[arg(long, value_name = "NAME,...", required = true, value_delimiter = ',', value_parser = name)]
    devices: Vec<Name>,
    /// The name or address at which devices find the NATS server, as in `fl.example` or `192.168.1.5`. Three or five of
    /// them, with commas between, make a cluster, which goes on while a majority of its servers does.
    #[arg(long, value_name = "HOST,...", required = true, value_delimiter = ',')]
    host: Vec<String>,
    /// The port of each of them; those of a cluster talk to each other on the one 2000 beyond.
    #[arg(long, value_name = "PORT", default_value_t = 4222, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The fleet's name, part of all subjects; two fleets on one server need two.
    #[arg(long, value_name = "NAME", default_value = "fleet", value_parser = name)]
    name: Name,
    /// How much of its disk the server may use.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size)]
    store: u64,
    /// TLS on loopback as well; elsewhere there is always TLS.
    #[arg(long)]
    tls: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Sets a fleet up and says what to do with it.
///
/// # Errors
/// There is a fleet already; a device is named twice; a file cannot be written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let port = arguments.port;
    let others = arguments.host.iter().skip(1).cloned();
    let setup = Setup {
        fleet: arguments.name.clone(),
        host: arguments.host.first().cloned().unwrap_or_default(),
        port: arguments.port,
        others: others.map(|host| Host { host, port }).collect(),
        devices: arguments.devices.clone(),
        tls_on_loopback: arguments.tls,
        store_bytes: arguments.store,
    };
    let fleet = Fleet::init(&arguments.folder, &setup)?;
    let roster = fleet.roster()?;
    let joins: Vec<PathBuf> = setup
        .devices
        .iter()
        .map(|name| fleet.join_path(name))
        .collect();
    let configurations = fleet.server_configurations()?;
    if arguments.json {
        output::json(&json!({
            "fleet": setup.fleet,
            "folder": arguments.folder,
            "addresses": roster.addresses(),
            "server_configurations": configurations,
            "join_files": joins,
        }))?;
        return Ok(Code::Done);
    }
    let folder = arguments.folder.display();
    let starts: String = match configurations.as_slice() {
        [_] => format!("start the server:       nats-server -c {folder}/nats.conf\n"),
        several => (1..=several.len())
            .map(|nth| {
                format!(
                    "start server {nth}:         nats-server -c {folder}/server-{nth}/nats.conf\n"
                )
            })
            .collect(),
    };
    let mut text = format!(
        "fleet `{}` in {folder}: {} for {}\n\
{starts}\
         start the coordinator:  fedact fleet serve {folder} -f pipeline.yaml --step STEP\n\
         on each device:         fedact fleet join FILE --videos FOLDER\n\
         how it goes:            fedact fleet status {folder} --watch\n\
         each of these files is a device's secret; move it there, and leave no copy:\n",
        setup.fleet,
        output::count(joins.len(), "join file"),
        roster.addresses().join(", "),
    );
    for path in &joins {
        text.push_str(&format!("  {}\n", path.display()));
    }
    output::text(&text)?;
    Ok(Code::Done)
}

/// A name on the command line.
pub fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// Room for a few versions of the smallest models.
const LEAST_STORE: u64 = 64 << 20;

fn size(text: &str) -> Result<u64, String> {
    fedact_pipeline::parse_bytes(text)
        .filter(|bytes| *bytes >= LEAST_STORE)
        .ok_or_else(|| "write an amount of 64MiB or more, as in `4GiB` or `500MB`".to_owned())
}
