//! `fedact fleet renew`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::servers;
use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact fleet renew`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the fleet.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Renews the certificates of a fleet.
///
/// # Errors
/// There is no such fleet, or it has no certificates; a file cannot be read or written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let fleet = super::open(&arguments.folder)?;
    let renewed = fleet.renew()?;
    if arguments.json {
        output::json(&json!({
            "until": renewed.until,
            "servers": servers::json(&renewed.servers),
        }))?;
    } else {
        let words = servers::words(&fleet, &renewed.servers, "its certificate is the new one")?;
        let cluster = if renewed.servers.len() > 1 {
            "the folder `tls` beside a server's `nats.conf` belongs to it: copy both\n"
        } else {
            ""
        };
        output::text(&format!(
            "the certificates are good until {}; no device needs to be told\n{words}{cluster}",
            renewed.until
        ))?;
    }
    Ok(servers::code(&renewed.servers))
}
