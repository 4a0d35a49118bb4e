//! `fedact fleet`: the federation on real machines.

mod init;
mod join;

use clap::{Args, Subcommand};
use fedact_fleet::FleetError;

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
    /// Take part as a device: train on the videos of this machine, and send what was learned.
    Join(join::Arguments),
}

/// Does what is asked with a fleet.
///
/// # Errors
/// Those of what is asked.
pub fn command(arguments: Arguments) -> Result<Code, Refusal> {
    match arguments.command {
        Command::Init(arguments) => init::command(&arguments),
        Command::Join(arguments) => join::command(&arguments),
    }
}

impl From<FleetError> for Refusal {
    fn from(error: FleetError) -> Self {
        let code = match &error {
            FleetError::Name { .. } => Code::Usage,
            FleetError::OpenToOthers { .. }
            | FleetError::Invalid { .. }
            | FleetError::Key { .. }
            | FleetError::OtherRules { .. }
            | FleetError::Damaged { .. } => Code::Invalid,
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
