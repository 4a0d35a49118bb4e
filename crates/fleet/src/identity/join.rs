//! The file that lets a device join.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Key, PublicKey};
use crate::{FleetError, Name, files};

/// What a device must know and hold to join its fleet, in one TOML file with mode 0600.
///
/// It names no run: a fleet outlives its runs, and the signed [`Description`](crate::wire::Description) says
/// which one is under way.
pub struct Join {
    /// The fleet.
    pub fleet: Name,
    /// The name of this device in it.
    pub device: Name,
    /// Where the NATS server is, as in `tls://fl.example:4222`.
    pub address: String,
    /// Where the other servers of a cluster are.
    pub others: Vec<String>,
    /// The certificate authority of the server, in PEM; none on loopback.
    pub authority: Option<String>,
    /// Whose orders to believe.
    pub coordinator: PublicKey,
    /// The device's own key.
    pub key: Key,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    fleet: Name,
    device: Name,
    address: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    coordinator: PublicKey,
    seed: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
}

impl Join {
    /// Reads a join file.
    ///
    /// # Errors
    /// It is not there, others can read it, or it is no join file.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let text = files::read_secret(path)?;
        let text: Text = toml::from_str(&text).map_err(|error| FleetError::Invalid {
            path: path.to_owned(),
            // The error's own text quotes the line, which may hold the seed.
            reason: format!(
                "it is no join file: {}; ask for a new one from `fedact fleet init`",
                error.message()
            ),
        })?;
        let key = Key::from_seed(&text.seed, &format!("the seed in {}", path.display()))?;
        Ok(Self {
            fleet: text.fleet,
            device: text.device,
            address: text.address,
            others: text.others,
            authority: text.authority,
            coordinator: text.coordinator,
            key,
        })
    }

    /// Where the servers are.
    pub fn addresses(&self) -> Vec<&str> {
        super::addresses(&self.address, &self.others)
    }

    /// Writes it, for its owner's eyes alone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FleetError> {
        let text = Text {
            fleet: self.fleet.clone(),
            device: self.device.clone(),
            address: self.address.clone(),
            others: self.others.clone(),
            coordinator: self.coordinator.clone(),
            seed: self.key.seed()?,
            authority: self.authority.clone(),
        };
        let text = toml::to_string(&text).map_err(|error| FleetError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        files::write_secret(path, text.as_bytes())
    }
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join")
            .field("fleet", &self.fleet)
            .field("device", &self.device)
            .field("address", &self.address)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn join() -> Join {
        Join {
            fleet: Name::new("lab").unwrap(),
            device: Name::new("nano-1").unwrap(),
            address: "nats://127.0.0.1:4222".into(),
            others: vec!["nats://127.0.0.1:4223".into()],
            authority: Some("-----BEGIN CERTIFICATE-----\n".into()),
            coordinator: Key::generate().public(),
            key: Key::generate(),
        }
    }

    #[test]
    fn a_join_file_comes_back_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nano-1.join");
        let written = join();
        written.write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Join::read(&path).unwrap();
        assert_eq!(read.key.public(), written.key.public());
        assert_eq!(read.device, written.device);
        assert_eq!(read.addresses(), written.addresses());
        assert_eq!(read.coordinator, written.coordinator);
        assert_eq!(read.authority, written.authority);
        let seed = written.key.seed().unwrap();
        assert!(!format!("{read:?}").contains(&seed));
    }

    #[test]
    fn a_join_file_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nano-1.join");
        join().write(&path).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Join::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_broken_join_file_is_refused_without_showing_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nano-1.join");
        let written = join();
        written.write(&path).unwrap();
        let seed = written.key.seed().unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in [
            good.replace("nano-1", "nano 1"),
            good.replace("seed = ", "seed = 7, "),
            good.replace("fleet = ", "herd = "),
            good.replace(&seed, &seed[..20]),
        ] {
            files::write_secret(&path, bad.as_bytes()).unwrap();
            let error = Join::read(&path).unwrap_err().to_string();
            assert!(!error.contains(&seed[..20]), "{error}");
        }
    }
}
