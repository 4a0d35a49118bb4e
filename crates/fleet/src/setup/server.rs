//! `nats.conf`: a server for one fleet, which lets each device do what it must and nothing else.

use std::fmt::Write;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::files::{self, Lasting};
use crate::identity::{PublicKey, Roster};
use crate::wire::Subjects;
use crate::{FleetError, Name};

pub(super) const NAME: &str = "nats.conf";
const PID: &str = "nats.pid";

/// Where a generated configuration says how much the server may keep.
const STORE: &str = "max_file_store: ";

/// Writes the configuration.
pub(super) fn write(folder: &Path, roster: &Roster, store_bytes: u64) -> Result<(), FleetError> {
    let text = configuration(folder, roster, store_bytes);
    // It has no secrets in it: the server knows public keys alone.
    let path = folder.join(NAME);
    files::write(&path, &[text.as_bytes()], Lasting::Synced)
}

/// Writes it again for another roster.
pub(super) fn rewrite(folder: &Path, roster: &Roster) -> Result<(), FleetError> {
    let path = folder.join(NAME);
    let text = std::fs::read_to_string(&path).map_err(FleetError::file(&path))?;
    let mut lines = text.lines();
    let store = lines.find_map(|line| line.trim().strip_prefix(STORE)?.parse().ok());
    let store = store.ok_or_else(|| FleetError::Invalid {
        path: path.clone(),
        reason: format!("it has no line `{STORE}BYTES`; it was not written by this program"),
    })?;
    write(folder, roster, store)
}

/// Has the server read it again. Says whether there is one.
pub(super) fn reload(folder: &Path) -> Result<bool, FleetError> {
    let Some(bytes) = files::read_if_there(&folder.join(PID))? else {
        return Ok(false);
    };
    let text = String::from_utf8_lossy(&bytes);
    let number: Option<i32> = text.trim().parse().ok();
    let Some(pid) = number.and_then(Pid::from_raw) else {
        return Ok(false);
    };
    // The file of a server that was killed may name another process by now.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", text.trim()));
    let is_server = name.is_ok_and(|name| name.trim() == "nats-server");
    Ok(is_server && kill_process(pid, Signal::HUP).is_ok())
}

fn configuration(folder: &Path, roster: &Roster, store_bytes: u64) -> String {
    let subjects = Subjects::new(&roster.fleet);
    let tls = roster.address.starts_with("tls://");
    let port = roster.address.rsplit(':').next().unwrap_or("4222");
    let host = if roster.address.contains("//[::1]:") {
        "[::1]"
    } else if names_loopback(&roster.address) {
        "127.0.0.1"
    } else {
        "0.0.0.0"
    };
    let path = |name: &str| quoted(&folder.join(name).display().to_string());
    let mut text = String::from(
        "# Written by `fedact fleet init`, and again by `fedact fleet revoke`; not for editing.\n",
    );
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "server_name: \"{fleet}\"\n\
         listen: \"{host}:{port}\"\n\
         pid_file: {pid}\n\
         max_payload: 1048576\n\
         max_control_line: 4096\n\
         write_deadline: \"10s\"\n\
         jetstream {{\n  \
           store_dir: {store}\n  \
           max_memory_store: 16777216\n  \
           {STORE}{store_bytes}\n\
         }}\n",
        fleet = roster.fleet,
        pid = path(PID),
        store = path("jetstream"),
    );
    if tls {
        let _ = write!(
            text,
            "tls {{\n  cert_file: {}\n  key_file: {}\n  timeout: 5\n}}\n",
            path("tls/server.pem"),
            path("tls/server.key"),
        );
    }
    text.push_str("accounts {\n  FLEET: {\n    jetstream: enabled\n    users: [\n");
    user(
        &mut text,
        "the coordinator",
        &roster.coordinator,
        &[subjects.all(), "$JS.API.>".into(), "$JS.ACK.>".into()],
        &[subjects.all(), format!("_INBOX.{}.>", roster.fleet)],
    );
    for device in roster.devices.iter().filter(|device| !device.revoked) {
        let name: &Name = &device.name;
        user(
            &mut text,
            name.as_str(),
            &device.key,
            &subjects.device_may_publish(name),
            &subjects.device_may_subscribe(name),
        );
    }
    text.push_str("    ]\n  }\n}\n");
    text
}

fn user(text: &mut String, name: &str, key: &PublicKey, publish: &[String], subscribe: &[String]) {
    let list = |subjects: &[String]| {
        let quoted: Vec<String> = subjects.iter().map(|subject| quoted(subject)).collect();
        quoted.join(", ")
    };
    let _ = write!(
        text,
        "      # {name}\n      \
               {{nkey: {key}, permissions: {{\n        \
                 publish: {{allow: [{}]}}\n        \
                 subscribe: {{allow: [{}]}}\n      \
               }}}}\n",
        list(publish),
        list(subscribe),
    );
}

fn names_loopback(address: &str) -> bool {
    ["//localhost:", "//127."]
        .iter()
        .any(|name| address.contains(name))
}

/// A text as the configuration's strings are written.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
