//! `fedact fleet revoke`.

use std::path::PathBuf;

use clap::Args;
use fedact_fleet::setup::Taken;
use serde_json::json;

use super::servers;
use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact fleet revoke`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The device to send away. It cannot come back; its place in the fleet stays empty.
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The folder of the fleet.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Sends a device away.
///
/// # Errors
/// There is no such fleet or device; a file cannot be written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let fleet = super::open(&arguments.folder)?;
    let device = &arguments.device;
    let roster = fleet.roster()?;
    let place = roster.place(device).ok_or_else(|| {
        let names = roster.devices.iter().map(|device| device.name.as_str());
        Refusal::new(
            Code::Usage,
            format!("the fleet `{}` has no device `{device}`", roster.fleet),
            format!("its devices are {}", names.collect::<Vec<_>>().join(", ")),
        )
    })?;
    let before = roster.devices[place].revoked;
    let told = fleet.revoke(device)?;
    let all_read = told.iter().all(|server| server.taken == Taken::Read);
    if arguments.json {
        output::json(&json!({
            "device": device,
            "revoked_before": before,
            "server_told": all_read,
            "servers": servers::json(&told),
        }))?;
    } else {
        let first = if before {
            format!("`{device}` was revoked before\n")
        } else {
            format!(
                "`{device}` is revoked; a coordinator that runs gives its task up and believes it no more\n"
            )
        };
        let read = "it has ended the device's connection and lets it in no more";
        let of_servers = servers::words(&fleet, &told, read)?;
        output::text(&(first + &of_servers))?;
    }
    Ok(servers::code(&told))
}
