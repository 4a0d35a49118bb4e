//! `nats.conf`: a server for one fleet, which lets each device do what it must and nothing else.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::ROUTE;
use crate::files::{self, Lasting};
use crate::identity::{PublicKey, Roster};
use crate::wire::Subjects;
use crate::{FleetError, Name};

pub(super) const NAME: &str = "nats.conf";
const PID: &str = "nats.pid";

/// Where a generated configuration says how much the server may keep.
const STORE: &str = "max_file_store: ";

/// A server of a fleet.
pub(super) struct Place<'roster> {
    /// Where its configuration and its streams lie.
    pub folder: PathBuf,
    nth: usize,
    pub address: &'roster str,
    /// Where the other servers of its cluster are.
    others: Vec<&'roster str>,
}

/// The servers of a fleet: one in the fleet's own folder, or those of a cluster in a folder each.
pub(super) fn places<'roster>(folder: &Path, roster: &'roster Roster) -> Vec<Place<'roster>> {
    let addresses = roster.addresses();
    let place = |nth: usize| Place {
        folder: match addresses.len() {
            1 => folder.to_owned(),
            _ => folder.join(format!("server-{}", nth + 1)),
        },
        nth,
        address: addresses[nth],
        others: [&addresses[..nth], &addresses[nth + 1..]].concat(),
    };
    (0..addresses.len()).map(place).collect()
}

/// Writes the configurations. Whoever has the key is let in by servers that go by them, and may do nothing there.
pub(super) fn write(
    folder: &Path,
    roster: &Roster,
    store_bytes: u64,
    reader: &PublicKey,
) -> Result<(), FleetError> {
    for place in places(folder, roster) {
        files::folder(&place.folder)?;
        let path = place.folder.join(NAME);
        if place.others.is_empty() {
            // It has no secrets in it: the server knows public keys alone.
            let text = configuration(&place, roster, store_bytes, "", reader);
            files::write(&path, &[text.as_bytes()], Lasting::Synced)?;
        } else {
            let secret = cluster_secret(folder)?;
            let text = configuration(&place, roster, store_bytes, &secret, reader);
            files::write_secret(&path, text.as_bytes())?;
        }
    }
    Ok(())
}

/// What the servers of a cluster know each other by; drawn when it is asked for first.
fn cluster_secret(folder: &Path) -> Result<String, FleetError> {
    let path = folder.join("cluster.secret");
    if path.exists() {
        return files::read_secret(&path);
    }
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| FleetError::Key {
        what: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    files::write_secret(&path, secret.as_bytes())?;
    Ok(secret)
}

/// Writes them again for another roster, with another key to see by whether they were read.
pub(super) fn rewrite(
    folder: &Path,
    roster: &Roster,
    reader: &PublicKey,
) -> Result<(), FleetError> {
    let first = places(folder, roster).remove(0);
    let path = first.folder.join(NAME);
    let text = std::fs::read_to_string(&path).map_err(FleetError::file(&path))?;
    let mut lines = text.lines();
    let store = lines.find_map(|line| line.trim().strip_prefix(STORE)?.parse().ok());
    let store = store.ok_or_else(|| FleetError::Invalid {
        path: path.clone(),
        reason: format!("it has no line `{STORE}BYTES`; it was not written by this program"),
    })?;
    write(folder, roster, store, reader)
}

/// Has the server of a folder read its configuration again. Says whether one runs here and was told.
pub(super) fn tell_to_reload(folder: &Path) -> Result<bool, FleetError> {
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

/// Host and port of an address.
fn found_at(address: &str) -> (&str, u16) {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, ""));
    (host, port.parse().unwrap_or(4222))
}

/// The host of an address, as in certificates.
pub(super) fn host_of(address: &str) -> &str {
    found_at(address).0.trim_matches(['[', ']'])
}

fn configuration(
    place: &Place<'_>,
    roster: &Roster,
    store_bytes: u64,
    secret: &str,
    reader: &PublicKey,
) -> String {
    let subjects = Subjects::new(&roster.fleet);
    let tls = place.address.starts_with("tls://");
    let (_, port) = found_at(place.address);
    let host = if place.address.contains("//[::1]:") {
        "[::1]"
    } else if names_loopback(place.address) {
        "127.0.0.1"
    } else {
        "0.0.0.0"
    };
    let clustered = !place.others.is_empty();
    let path = |name: &str| match clustered {
        // Where the server is started; the folder may be on another machine.
        true => quoted(name),
        false => quoted(&place.folder.join(name).display().to_string()),
    };
    let mut text = String::from(
        "# Written by `fedact fleet init`, and again by `add`, `revoke` and `renew`; not for editing, but for max_file_store.\n",
    );
    let name = match clustered {
        true => format!("{}-{}", roster.fleet, place.nth + 1),
        false => roster.fleet.to_string(),
    };
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "server_name: \"{name}\"\n\
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
        pid = path(PID),
        store = path("jetstream"),
    );
    let certificate = format!(
        "cert_file: {}\n  key_file: {}\n  timeout: 5\n",
        path("tls/server.pem"),
        path("tls/server.key"),
    );
    if tls {
        let _ = write!(text, "tls {{\n  {certificate}}}\n");
    }
    if clustered {
        let routes = place.others.iter().map(|address| {
            let (host, port) = found_at(address);
            let port = port.saturating_add(ROUTE);
            format!("\"nats-route://fleet:{secret}@{host}:{port}\"")
        });
        let _ = write!(
            text,
            "cluster {{\n  \
               name: \"{fleet}\"\n  \
               listen: \"{host}:{port}\"\n  \
               no_advertise: true\n  \
               authorization {{user: fleet, password: \"{secret}\", timeout: 5}}\n  \
               routes: [{routes}]\n",
            fleet = roster.fleet,
            port = port.saturating_add(ROUTE),
            routes = routes.collect::<Vec<_>>().join(", "),
        );
        if tls {
            let authority = path("tls/authority.pem");
            let _ = write!(
                text,
                "  tls {{\n  ca_file: {authority}\n  verify: true\n  {certificate}  }}\n"
            );
        }
        text.push_str("}\n");
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
    let _ = write!(
        text,
        "      # by whom it is seen that this file was read\n      \
               {{nkey: {reader}, permissions: {{publish: {{deny: \">\"}}, subscribe: {{deny: \">\"}}}}}}\n",
    );
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
