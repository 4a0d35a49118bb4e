//! Setting a fleet up: keys, certificates, the server's configuration, a join file for every device.
//!
//! ```text
//! fleet.toml               who belongs to it                                   (identity::Roster)
//! coordinator.seed         the coordinator's key                               0600
//! nats.conf                for: nats-server -c nats.conf                       (server.rs)
//! tls/authority.pem        the fleet's own certificate authority               (certificates.rs)
//! tls/authority.key        its key, needed to renew the server's certificate   0600
//! tls/server.pem, .key     the server's certificate; its key                   0600
//! join/DEVICE.join         what a device needs; move it there and delete it    0600
//! jetstream/               the server's streams
//! server-N/                instead of nats.conf and jetstream/, where a cluster of servers is: what the Nth one needs
//! cluster.secret           what the servers of a cluster know each other by    0600
//! runs/NAME/               the coordinator's folder of a run                   (engine)
//! runs/opened              how often a coordinator opened one                  (coordinator)
//! changes.lock             held by whoever adds or revokes a device, or renews certificates
//! run                      leads to the run that is served, or was last
//! lock                     held by the process that serves one
//! ```

mod certificates;
mod people;
mod server;
mod taken;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::files::{self, Locked};
use crate::identity::{Key, Roster};
use crate::{FleetError, Name};

use certificates::Certificates;
use people::admission;

pub use people::Renewed;
pub use taken::{Server, Taken};

/// What a fleet is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its name.
    pub fleet: Name,
    /// The host that devices find the server at: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The other servers, where a cluster is to hold every message three- or fivefold: two or four.
    pub others: Vec<Host>,
    /// The devices.
    pub devices: Vec<Name>,
    /// TLS on loopback, too. Elsewhere there is always TLS.
    pub tls_on_loopback: bool,
    /// Bytes that the server may keep on its disk for the fleet.
    pub store_bytes: u64,
}

impl Setup {
    /// A fleet on one machine: one server on loopback, without TLS, that may keep a gigabyte.
    pub fn on_loopback(fleet: Name, port: u16, devices: Vec<Name>) -> Self {
        Self {
            fleet,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            others: Vec::new(),
            devices,
            tls_on_loopback: false,
            store_bytes: 1 << 30,
        }
    }

    /// What is wrong with it is found before anything is written.
    fn check(&self) -> Result<(), FleetError> {
        if let Some(name) = first_twice(&self.devices) {
            return Err(FleetError::Twice { name: name.clone() });
        }
        let servers = self.servers();
        if ![1, 3, 5].contains(&servers.len()) {
            let count = servers.len();
            return Err(FleetError::Servers { count });
        }
        match servers.into_iter().find(|server| !is_host(&server.host)) {
            Some(Host { host, .. }) => Err(FleetError::Host { host }),
            None => Ok(()),
        }
    }

    fn servers(&self) -> Vec<Host> {
        let first = Host {
            host: self.host.clone(),
            port: self.port,
        };
        std::iter::once(first).chain(self.others.clone()).collect()
    }
}

/// The first name that stands before in the list.
fn first_twice(names: &[Name]) -> Option<&Name> {
    let mut names_and_places = names.iter().enumerate();
    let twice = names_and_places.find(|(nth, name)| names[..*nth].contains(name));
    twice.map(|(_, name)| name)
}

/// An address, or labels of letters, digits, - and _ with dots between (RFC 1123, and the _ that containers have).
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

/// What a fleet has in its folder before its roster is written.
const FOLDERS: [&str; 4] = ["tls", "join", "jetstream", RUNS];

/// Whether a fleet can be set up here.
fn is_free(folder: &Path) -> Result<(), FleetError> {
    let occupied = |reason: String| FleetError::Occupied {
        folder: folder.to_owned(),
        reason,
    };
    if folder.join("fleet.toml").exists() {
        return Err(occupied(
            "holds a fleet already, to which `fedact fleet add` adds devices".into(),
        ));
    }
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FleetError::file(folder))?,
    };
    let unfinished = |name: &str| {
        let name = name.strip_suffix(".new").unwrap_or(name);
        let of_a_server = |number: &str| number.parse::<u8>().is_ok();
        name.strip_prefix("server-").is_some_and(of_a_server)
            || FOLDERS.contains(&name)
            || [
                "coordinator.seed",
                "cluster.secret",
                server::NAME,
                "fleet.toml",
            ]
            .contains(&name)
    };
    for entry in entries {
        let name = entry.map_err(FleetError::file(folder))?.file_name();
        let name = name.to_string_lossy();
        if !unfinished(&name) {
            return Err(occupied(format!("is not empty: it has `{name}`")));
        }
    }
    Ok(())
}

const RUNS: &str = "runs";

/// The folder of a run. While this is there, no other process serves a run with the fleet.
#[derive(Debug)]
pub struct RunFolder {
    /// Where it is.
    pub path: PathBuf,
    _lock: Locked,
}

/// Where a server of a cluster is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an address.
    pub host: String,
    /// Its port; the one to which the other servers connect is [`ROUTE`] beyond.
    pub port: u16,
}

/// So far beyond a server's port is the one to which the other servers of its cluster connect.
pub const ROUTE: u16 = 2000;

/// The folder of a fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    folder: PathBuf,
}

impl Fleet {
    /// Sets up a fleet in a folder that is empty or not there, or in which this was once interrupted.
    ///
    /// # Errors
    /// Something else is there, the host is none, two devices have one name, or something cannot be written.
    pub fn init(folder: &Path, setup: &Setup) -> Result<Self, FleetError> {
        setup.check()?;
        is_free(folder)?;
        for part in FOLDERS {
            files::folder(&folder.join(part))?;
        }
        let folder = std::fs::canonicalize(folder).map_err(FleetError::file(folder))?;
        let fleet = Self { folder };
        let servers = setup.servers();
        let hosts: Vec<String> = servers.iter().map(|server| server.host.clone()).collect();
        let tls = setup.tls_on_loopback || !hosts.iter().all(|host| is_loopback(host));
        let certificates = if tls {
            Some(Certificates::make(&setup.fleet, &hosts)?)
        } else {
            None
        };
        let coordinator = Key::generate();
        files::write_secret(&fleet.seed_path(), coordinator.seed()?.as_bytes())?;
        let mut addresses = servers.iter().map(|server| address(server, tls));
        let mut roster = Roster {
            fleet: setup.fleet.clone(),
            address: addresses.next().unwrap_or_default(),
            others: addresses.collect(),
            coordinator: coordinator.public(),
            devices: Vec::new(),
        };
        for name in &setup.devices {
            let authority = certificates.as_ref().map(|made| made.authority.as_str());
            let (device, join) = admission(&roster, name, authority);
            roster.devices.push(device);
            join.write(&fleet.join_path(name))?;
        }
        if let Some(certificates) = certificates {
            certificates.hand_out(&fleet.folder, &roster)?;
        }
        let reader = Key::generate().public();
        server::write(&fleet.folder, &roster, setup.store_bytes, &reader)?;
        // The roster comes last: without it, the folder is none of a fleet and can be set up again.
        roster.write(&fleet.roster_path())?;
        Ok(fleet)
    }

    /// The fleet of a folder.
    ///
    /// # Errors
    /// There is none.
    pub fn open(folder: &Path) -> Result<Self, FleetError> {
        let folder = std::fs::canonicalize(folder).map_err(FleetError::file(folder))?;
        let fleet = Self { folder };
        fleet.roster()?;
        Ok(fleet)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who belongs to it.
    ///
    /// # Errors
    /// `fleet.toml` cannot be read.
    pub fn roster(&self) -> Result<Roster, FleetError> {
        Roster::read(&self.roster_path())
    }

    /// The coordinator's key.
    ///
    /// # Errors
    /// It is not there, others can read it, or it is no key.
    pub fn coordinator_key(&self) -> Result<Key, FleetError> {
        let path = self.seed_path();
        Key::from_seed(&files::read_secret(&path)?, &path.display().to_string())
    }

    /// The certificate authority, in PEM; none for a fleet without TLS.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn authority(&self) -> Result<Option<String>, FleetError> {
        let path = self.folder.join("tls/authority.pem");
        let bytes = files::read_if_there(&path)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Where the run is that is served, or was last: a link to one of `runs`. Nothing is there before the first one.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The folder of the run of this name; from now on, [`run_folder`](Self::run_folder) leads there. A fleet serves one run at a
    /// time.
    ///
    /// # Errors
    /// Another process serves a run, the name cannot be that of a folder, or the folder cannot be made.
    pub fn begin_run(&self, name: &str) -> Result<RunFolder, FleetError> {
        let lock = Locked::take(&self.folder)?;
        let path = self.runs_folder().join(name);
        let plain = Path::new(name).components().count() == 1 && name != "." && name != "..";
        if !plain || name.contains('/') {
            return Err(FleetError::Invalid {
                path,
                reason: "it is no name for the folder of a run".into(),
            });
        }
        files::folder(&path)?;
        let link = self.run_folder();
        let unfinished = self.folder.join("run.new");
        files::remove(&unfinished)?;
        std::os::unix::fs::symlink(Path::new(RUNS).join(name), &unfinished)
            .and_then(|()| std::fs::rename(&unfinished, &link))
            .map_err(FleetError::file(&link))?;
        files::sync_folder_of(&link)?;
        Ok(RunFolder { path, _lock: lock })
    }

    /// Where the runs are.
    pub fn runs_folder(&self) -> PathBuf {
        self.folder.join(RUNS)
    }

    /// `fleet.toml`.
    pub fn roster_path(&self) -> PathBuf {
        self.folder.join("fleet.toml")
    }

    /// The servers' configurations. Those of a cluster are for servers that are started in the folders where they lie.
    ///
    /// # Errors
    /// `fleet.toml` cannot be read.
    pub fn server_configurations(&self) -> Result<Vec<PathBuf>, FleetError> {
        let roster = self.roster()?;
        let places = server::places(&self.folder, &roster).into_iter();
        Ok(places
            .map(|place| place.folder.join(server::NAME))
            .collect())
    }

    /// The configuration of a fleet's only server.
    pub fn server_configuration(&self) -> PathBuf {
        self.folder.join(server::NAME)
    }

    /// The join file of a device.
    pub fn join_path(&self, device: &Name) -> PathBuf {
        self.folder.join("join").join(format!("{device}.join"))
    }

    fn seed_path(&self) -> PathBuf {
        self.folder.join("coordinator.seed")
    }
}

fn address(server: &Host, tls: bool) -> String {
    let scheme = if tls { "tls" } else { "nats" };
    let host = match server.host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => server.host.clone(),
    };
    format!("{scheme}://{host}:{}", server.port)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::identity::Join;

    fn setup(host: &str) -> Setup {
        let devices = ["nano-1", "pi-3"].map(|name| Name::new(name).unwrap());
        Setup {
            host: host.into(),
            ..Setup::on_loopback(Name::new("lab").unwrap(), 4222, devices.into())
        }
    }

    #[test]
    fn secrets_are_their_owners_alone_and_in_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::init(&folder.path().join("fleet"), &setup("fl.example")).unwrap();
        let secret = [
            "coordinator.seed",
            "join/nano-1.join",
            "join/pi-3.join",
            "tls/authority.key",
            "tls/server.key",
        ];
        for name in secret {
            let metadata = std::fs::metadata(fleet.folder.join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
        let join = Join::read(&fleet.join_path(&Name::new("pi-3").unwrap())).unwrap();
        let seeds = [
            fleet.coordinator_key().unwrap().seed().unwrap(),
            join.key.seed().unwrap(),
        ];
        for name in [
            "fleet.toml",
            "nats.conf",
            "tls/authority.pem",
            "tls/server.pem",
        ] {
            let text = std::fs::read_to_string(fleet.folder.join(name)).unwrap();
            assert!(seeds.iter().all(|seed| !text.contains(seed)), "{name}");
            assert!(!text.contains("PRIVATE KEY"), "{name}");
        }
        assert_eq!(join.address, "tls://fl.example:4222");
        assert_eq!(join.authority, fleet.authority().unwrap());
        assert_eq!(join.coordinator, fleet.roster().unwrap().coordinator);
    }

    #[test]
    fn a_fleet_is_not_set_up_over_another_and_its_devices_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut twice = setup("127.0.0.1");
        twice.devices.push(Name::new("pi-3").unwrap());
        let error = Fleet::init(folder.path(), &twice).unwrap_err().to_string();
        assert!(error.contains("`pi-3` is named twice"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let fleet = Fleet::init(folder.path(), &setup("127.0.0.1")).unwrap();
        assert_eq!(fleet.authority().unwrap(), None);
        assert_eq!(fleet.roster().unwrap().address, "nats://127.0.0.1:4222");
        let error = Fleet::init(folder.path(), &setup("127.0.0.1")).unwrap_err();
        assert!(
            error.to_string().contains("holds a fleet already"),
            "{error}"
        );
    }

    #[test]
    fn a_fleet_is_set_up_where_that_was_interrupted_and_not_among_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet");
        let fleet = Fleet::init(&path, &setup("127.0.0.1")).unwrap();
        std::fs::remove_file(fleet.roster_path()).unwrap();
        Fleet::init(&path, &setup("127.0.0.1")).unwrap();
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("thesis.tex"), "").unwrap();
        let error = Fleet::init(&other, &setup("127.0.0.1")).unwrap_err();
        assert!(error.to_string().contains("it has `thesis.tex`"), "{error}");
        assert!(!other.join("tls").exists());
    }

    #[test]
    fn hosts_are_names_or_addresses_and_nothing_around_them() {
        for good in [
            "fl.example",
            "localhost",
            "10.0.0.7",
            "::1",
            "nats_1",
            "xn--bcher-kva",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "tls://fl.example",
            "fl.example:4222",
            "[::1]",
            "a b",
            "a..b",
            "-a",
            "fl.example.",
            "bücher",
        ] {
            assert!(!is_host(bad), "{bad}");
            let folder = tempfile::tempdir().unwrap();
            let error = Fleet::init(folder.path(), &setup(bad)).unwrap_err();
            assert!(error.to_string().contains("is no host"), "{error}");
        }
    }

    #[test]
    fn a_fleet_serves_one_run_at_a_time_and_says_which_was_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::init(folder.path(), &setup("127.0.0.1")).unwrap();
        assert!(!fleet.run_folder().exists());
        let first = fleet.begin_run("0badc0de").unwrap();
        let error = fleet.begin_run("other").unwrap_err().to_string();
        assert!(error.contains("served by another process"), "{error}");
        std::fs::write(first.path.join("journal"), "first").unwrap();
        drop(first);
        let second = fleet.begin_run("other").unwrap();
        let leads_to = std::fs::canonicalize(fleet.run_folder()).unwrap();
        assert_eq!(leads_to, second.path);
        drop(second);
        let again = fleet.begin_run("0badc0de").unwrap();
        let kept = std::fs::read_to_string(fleet.run_folder().join("journal"));
        assert_eq!(kept.unwrap(), "first");
        drop(again);
        for none in ["", ".", "..", "a/b", "/a", "a/"] {
            let error = fleet.begin_run(none).unwrap_err().to_string();
            assert!(error.contains("no name"), "{none}: {error}");
        }
    }

    #[test]
    fn servers_of_a_cluster_have_a_folder_each_and_know_each_other_by_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let other = |host: &str, port| Host {
            host: host.into(),
            port,
        };
        let mut setup = setup("one.example");
        setup.others = vec![other("two.example", 4222), other("three.example", 4300)];
        let fleet = Fleet::init(&folder.path().join("fleet"), &setup).unwrap();
        let secret = std::fs::read_to_string(fleet.folder.join("cluster.secret")).unwrap();
        let configurations = fleet.server_configurations().unwrap();
        assert_eq!(configurations.len(), 3);
        for (nth, path) in configurations.iter().enumerate() {
            let text = std::fs::read_to_string(path).unwrap();
            let own = ["//one", "two", "three"][nth];
            let route = |host: &str| text.contains(&format!("@{host}.example:"));
            assert!(!route(own.trim_start_matches('/')), "{text}");
            assert_eq!(
                ["one", "two", "three"]
                    .iter()
                    .filter(|host| route(host))
                    .count(),
                2
            );
            assert!(text.contains(&secret), "{text}");
            let place = path.parent().unwrap();
            for private in [path.clone(), place.join("tls/server.key")] {
                let mode = std::fs::metadata(private).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            assert!(!place.join("tls/authority.key").exists());
        }
        assert!(configurations[2].parent().unwrap().ends_with("server-3"));
        let join = Join::read(&fleet.join_path(&Name::new("pi-3").unwrap())).unwrap();
        assert_eq!(
            join.addresses(),
            [
                "tls://one.example:4222",
                "tls://two.example:4222",
                "tls://three.example:4300"
            ]
        );
        // The secret outlives a revocation, without which the servers would part.
        fleet.revoke("nano-1").unwrap();
        let text = std::fs::read_to_string(&configurations[0]).unwrap();
        assert!(text.contains(&secret), "{text}");
        setup.others.pop();
        let error = Fleet::init(&folder.path().join("two"), &setup).unwrap_err();
        assert!(error.to_string().contains("2 servers"), "{error}");
    }
}
