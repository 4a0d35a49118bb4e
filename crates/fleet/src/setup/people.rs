//! A fleet that changes: devices are added and sent away, certificates renewed.
//!
//! What is written last makes a change whole: who is interrupted before repeats the same command.

use super::certificates::Certificates;
use super::taken::{Change, Server};
use super::{Fleet, first_twice, server};
use crate::files::{self, Locked};
use crate::identity::{Device, Join, Key, Roster};
use crate::{FleetError, Name};

/// What renewing certificates came to.
#[derive(Debug)]
pub struct Renewed {
    /// The day after which they are not believed, as in `2036-12-31`.
    pub until: String,
    /// What the servers go by.
    pub servers: Vec<Server>,
}

impl Fleet {
    /// Adds devices, whose join files are written, and has the servers read that they may come in. A coordinator that runs
    /// sees the roster change, and takes them in if its run allows for it.
    ///
    /// # Errors
    /// A name is there twice, or is or was a device's; a file cannot be written.
    pub fn add(&self, names: &[Name]) -> Result<Vec<Server>, FleetError> {
        let _alone = self.alone()?;
        let mut roster = self.roster()?;
        if let Some(name) = first_twice(names) {
            return Err(FleetError::Twice { name: name.clone() });
        }
        let authority = self.authority()?;
        files::folder(&self.folder().join("join"))?;
        for name in names {
            if let Some(place) = roster.place(name.as_str()) {
                return Err(FleetError::NameTaken {
                    name: name.clone(),
                    revoked: roster.devices[place].revoked,
                });
            }
        }
        for name in names {
            let (device, join) = admission(&roster, name, authority.as_deref());
            join.write(&self.join_path(name))?;
            roster.devices.push(device);
        }
        let change = Change::write(self, &roster)?;
        roster.write(&self.roster_path())?;
        change.tell()
    }

    /// Sends a device away: the servers are told to know it no longer, and the coordinator gives its task up. Says what the servers
    /// go by.
    ///
    /// # Errors
    /// The fleet has no such device, or a file cannot be written.
    pub fn revoke(&self, device: &str) -> Result<Vec<Server>, FleetError> {
        let _alone = self.alone()?;
        let path = self.roster_path();
        let mut roster = self.roster()?;
        let place = roster.place(device).ok_or_else(|| FleetError::Invalid {
            reason: format!("there is no device `{device}`"),
            path: path.clone(),
        })?;
        roster.devices[place].revoked = true;
        let change = Change::write(self, &roster)?;
        roster.write(&path)?;
        change.tell()
    }

    /// Renews the certificates of the authority and of the servers, for ten years, with the keys that they have, so that no device
    /// needs to be told; and has the servers read them.
    ///
    /// # Errors
    /// The fleet has none, a key is not there, or a file cannot be written.
    pub fn renew(&self) -> Result<Renewed, FleetError> {
        let _alone = self.alone()?;
        let roster = self.roster()?;
        let addresses = roster.addresses();
        if !addresses
            .iter()
            .any(|address| address.starts_with("tls://"))
        {
            return Err(FleetError::NoCertificates {
                fleet: roster.fleet.clone(),
            });
        }
        let hosts = addresses.iter().map(|address| server::host_of(address));
        let hosts: Vec<String> = hosts.map(str::to_owned).collect();
        let own = self.folder().join("tls");
        let certificates = Certificates::renew(&roster.fleet, &hosts, &own)?;
        certificates.hand_out(self.folder(), &roster)?;
        let servers = Change::write(self, &roster)?.tell()?;
        Ok(Renewed {
            until: certificates.until,
            servers,
        })
    }

    /// Lets nobody else change the fleet meanwhile: of two who do at once, one would not know what the other has written.
    fn alone(&self) -> Result<Locked, FleetError> {
        Locked::wait_for(&self.folder().join("changes.lock"))
    }
}

/// What makes a device one of a fleet: its entry in the roster, and its join file.
pub(super) fn admission(roster: &Roster, name: &Name, authority: Option<&str>) -> (Device, Join) {
    let key = Key::generate();
    let device = Device {
        name: name.clone(),
        key: key.public(),
        revoked: false,
    };
    let join = Join {
        fleet: roster.fleet.clone(),
        device: name.clone(),
        address: roster.address.clone(),
        others: roster.others.clone(),
        authority: authority.map(str::to_owned),
        coordinator: roster.coordinator.clone(),
        key,
    };
    (device, join)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Setup;
    use super::super::taken::Taken;
    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn fleet(folder: &tempfile::TempDir, host: &str) -> Fleet {
        let setup = Setup {
            host: host.into(),
            ..Setup::on_loopback(name("lab"), free_port(), vec![name("nano-1"), name("pi-3")])
        };
        Fleet::init(&folder.path().join("fleet"), &setup).unwrap()
    }

    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    fn configuration(fleet: &Fleet) -> String {
        std::fs::read_to_string(fleet.server_configuration()).unwrap()
    }

    #[test]
    fn an_added_device_has_what_the_others_have_and_their_keys_stay() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet(&folder, "localhost");
        let before = fleet.roster().unwrap();
        // No server runs here.
        let servers = fleet.add(&[name("pi-4"), name("pi-5")]).unwrap();
        assert_eq!(servers[0].taken, Taken::Away);
        let roster = fleet.roster().unwrap();
        assert_eq!(roster.devices[..2], before.devices);
        assert_eq!(roster.place("pi-5"), Some(3));
        let path = fleet.join_path(&name("pi-4"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (new, old) = (
            Join::read(&path).unwrap(),
            Join::read(&fleet.join_path(&name("pi-3"))).unwrap(),
        );
        assert_eq!(new.key.public(), roster.devices[2].key);
        assert_eq!(new.addresses(), old.addresses());
        assert_eq!(new.coordinator, old.coordinator);
        let text = configuration(&fleet);
        for device in &roster.devices {
            assert!(text.contains(device.key.as_str()), "{}", device.name);
        }
        // Whoever has the folder of join files emptied, or has taken it away, gets new ones all the same.
        std::fs::remove_dir_all(fleet.folder().join("join")).unwrap();
        fleet.add(&[name("pi-6")]).unwrap();
        assert!(fleet.join_path(&name("pi-6")).is_file());
    }

    #[test]
    fn a_name_is_given_once_even_if_its_device_was_sent_away_and_nothing_is_written_in_vain() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet(&folder, "localhost");
        fleet.revoke("pi-3").unwrap();
        let before = (fleet.roster().unwrap(), configuration(&fleet));
        for (names, words) in [
            (["pi-4", "nano-1"], "has a device `nano-1`; give"),
            (["pi-4", "pi-3"], "has sent away a device `pi-3`; give"),
            (["pi-4", "pi-4"], "`pi-4` is named twice"),
        ] {
            let error = fleet.add(&names.map(name)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!((fleet.roster().unwrap(), configuration(&fleet)), before);
        assert!(!fleet.join_path(&name("pi-4")).exists());
    }

    #[test]
    fn a_revoked_device_is_in_the_roster_and_no_longer_in_the_servers_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet(&folder, "::1");
        let key = fleet.roster().unwrap().devices[0].key.clone();
        assert!(configuration(&fleet).contains(key.as_str()));
        // No server runs here, so none was told.
        let servers = fleet.revoke("nano-1").unwrap();
        assert_eq!(servers[0].taken, Taken::Away);
        assert!(!configuration(&fleet).contains(key.as_str()));
        let roster = fleet.roster().unwrap();
        assert_eq!(roster.place("nano-1"), Some(0));
        assert!(roster.devices[0].revoked && !roster.devices[1].revoked);
    }

    #[test]
    fn changes_made_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet(&folder, "localhost");
        std::thread::scope(|scope| {
            for nth in 0..4 {
                let fleet = &fleet;
                scope.spawn(move || fleet.add(&[name(&format!("pi-1{nth}"))]).unwrap());
            }
            scope.spawn(|| fleet.revoke("nano-1").unwrap());
        });
        let roster = fleet.roster().unwrap();
        assert_eq!(roster.devices.len(), 6);
        assert!(roster.devices[0].revoked);
        let text = configuration(&fleet);
        assert!(
            roster.devices[1..]
                .iter()
                .all(|device| text.contains(device.key.as_str()))
        );
    }

    #[test]
    fn where_there_are_no_certificates_none_are_renewed_and_keys_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let error = fleet(&folder, "localhost").renew().unwrap_err().to_string();
        assert!(error.contains("has no certificates"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let fleet = fleet(&folder, "fl.invalid");
        let read =
            |name: &str| std::fs::read_to_string(fleet.folder().join("tls").join(name)).unwrap();
        let before = ["authority.key", "server.key", "authority.pem", "server.pem"].map(&read);
        let renewed = fleet.renew().unwrap();
        let after = ["authority.key", "server.key", "authority.pem", "server.pem"].map(&read);
        assert_eq!(before[..2], after[..2]);
        assert!(before[2] != after[2] && before[3] != after[3]);
        assert!(renewed.until.ends_with("-12-31"), "{}", renewed.until);
    }
}
