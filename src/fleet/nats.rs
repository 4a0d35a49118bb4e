//! The NATS server's program on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::exit::{Code, Refusal};

/// Debian puts it where the path of ordinary users does not lead.
const PLACES: [&str; 3] = [
    "nats-server",
    "/usr/sbin/nats-server",
    "/usr/local/sbin/nats-server",
];

/// Where it is.
///
/// # Errors
/// There is none.
pub fn program() -> Result<PathBuf, Refusal> {
    let runs = |place: &str| {
        let tried = Command::new(place)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    let found = PLACES.into_iter().find(|place| runs(place));
    found.map(PathBuf::from).ok_or_else(|| {
        Refusal::new(
            Code::Failed,
            "there is no nats-server on this machine",
            "install it (Debian and Ubuntu: apt install nats-server; others: https://nats.io/download), version 2.9 or newer",
        )
    })
}
