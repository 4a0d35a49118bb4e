//! Who belongs to a fleet: `fleet.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PublicKey;
use crate::{FleetError, Name, files};

/// A fleet: what is public of it. The order of its devices is the order of the aggregator's clients, so devices
/// are never removed from it, only revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Its name.
    pub fleet: Name,
    /// Where devices find the NATS server, as in `tls://fl.example:4222`.
    pub address: String,
    /// Where the other servers of a cluster are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The coordinator's key.
    pub coordinator: PublicKey,
    /// The devices.
    #[serde(default, rename = "device")]
    pub devices: Vec<Device>,
}

/// A device of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: Name,
    /// Its key.
    pub key: PublicKey,
    /// Whether it was sent away.
    #[serde(default)]
    pub revoked: bool,
}

impl Roster {
    /// Reads `fleet.toml`.
    ///
    /// # Errors
    /// It is not there, or says something else.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let text = std::fs::read_to_string(path).map_err(FleetError::file(path))?;
        let invalid = |reason: String| FleetError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let roster: Self = toml::from_str(&text)
            .map_err(|error| invalid(format!("it describes no fleet: {}", error.message())))?;
        roster.check(path)?;
        Ok(roster)
    }

    /// Whether every device has a name of its own; `path` is for the error.
    fn check(&self, path: &Path) -> Result<(), FleetError> {
        let mut names: Vec<&Name> = self.devices.iter().map(|device| &device.name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(FleetError::Invalid {
                path: path.to_owned(),
                reason: format!(
                    "`{}` is there twice; give every device a name of its own",
                    pair[0]
                ),
            }),
            None => Ok(()),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FleetError> {
        let text = toml::to_string(self).map_err(|error| FleetError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        files::write(path, &[text.as_bytes()], files::Lasting::Synced)
    }

    /// Where the servers are.
    pub fn addresses(&self) -> Vec<&str> {
        super::addresses(&self.address, &self.others)
    }

    /// The place of a device.
    pub fn place(&self, device: &str) -> Option<usize> {
        let mut devices = self.devices.iter();
        devices.position(|known| known.name.as_str() == device)
    }
}
