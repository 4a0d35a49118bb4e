//! `fedact fleet`: the federation on real machines.

mod add;
mod changes;
mod demo;
mod init;
mod join;
mod log;
mod metrics;
mod nats;
mod renew;
mod revoke;
mod serve;
mod servers;
mod standing;
mod status;

use std::path::Path;

use clap::{Args, Subcommand};
use fedact_federate_params::{DEFINITION, FederateParams, Transport};
use fedact_fleet::FleetError;
use fedact_fleet::setup::Fleet;
use fedact_pipeline::Node;

use crate::exit::{Code, Refusal};

/// `fedact fleet`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do with a fleet.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make the keys, the certificates, the NATS server's configuration, and a join file for each device.
    Init(init::Arguments),
    /// Run a step whose clients are a fleet's devices: the coordinator.
    Serve(serve::Arguments),
    /// Take part as a device: train on the videos of this machine, and send what was learned.
    Join(join::Arguments),
    /// Say who is there, what each device does, and how far the run is.
    Status(status::Arguments),
    /// Add devices: a join file for each, and the server lets them in.
    Add(add::Arguments),
    /// Send a device away: the server lets it in no more.
    Revoke(revoke::Arguments),
    /// Renew the certificates, before or after they have ended. No device needs to be told.
    Renew(renew::Arguments),
    /// Try a fleet on this machine: a server, a coordinator and devices that are slowed to their profiles.
    Demo(demo::Arguments),
}

/// Does what is asked with a fleet.
///
/// # Errors
/// Those of what is asked.
pub fn command(arguments: Arguments) -> Result<Code, Refusal> {
    match arguments.command {
        Command::Init(arguments) => init::command(&arguments),
        Command::Serve(arguments) => serve::command(arguments),
        Command::Join(arguments) => join::command(&arguments),
        Command::Status(arguments) => status::command(&arguments),
        Command::Add(arguments) => add::command(&arguments),
        Command::Revoke(arguments) => revoke::command(&arguments),
        Command::Renew(arguments) => renew::command(&arguments),
        Command::Demo(arguments) => demo::command(&arguments),
    }
}

/// The fleet of a folder that the command line names.
fn open(folder: &Path) -> Result<Fleet, Refusal> {
    if folder.join("fleet.toml").exists() {
        return Ok(Fleet::open(folder)?);
    }
    Err(Refusal::new(
        Code::Usage,
        format!("there is no fleet in {}", folder.display()),
        format!(
            "name the folder that `fedact fleet init` made, or make one: fedact fleet init {} --devices NAME,... --host HOST",
            folder.display()
        ),
    ))
}

/// The params of a step that a fleet does the work of; nothing for any other step.
fn params_for_a_fleet(node: &Node) -> Option<FederateParams> {
    let federates = node.definition().name == DEFINITION.name;
    let params = serde_json::from_value(node.params.clone()).ok();
    params.filter(|params: &FederateParams| federates && params.transport == Transport::Nats)
}

impl From<FleetError> for Refusal {
    fn from(error: FleetError) -> Self {
        let code = match &error {
            FleetError::Name { .. }
            | FleetError::Host { .. }
            | FleetError::Servers { .. }
            | FleetError::Twice { .. }
            | FleetError::NameTaken { .. }
            | FleetError::NoCertificates { .. }
            | FleetError::Occupied { .. } => Code::Usage,
            error if error.invalid_input() => Code::Invalid,
            _ => Code::Failed,
        };
        Self {
            code,
            message: error.to_string(),
            help: None,
            others: Vec::new(),
        }
    }
}
