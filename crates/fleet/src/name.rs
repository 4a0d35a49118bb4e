//! Names of fleets and devices.

use serde::{Deserialize, Serialize};

use crate::FleetError;

const MOST: usize = 32;

/// A name that can be a token of a NATS subject, a file name and an entry of the server's configuration without
/// any quoting: 1 to 32 of `a-z`, `0-9` and `-`, the first one no `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name, checked.
    ///
    /// # Errors
    /// [`FleetError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, FleetError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good =
            (1..=MOST).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed);
        if good {
            Ok(Self(name))
        } else {
            Err(FleetError::Name { name })
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = FleetError;

    fn try_from(name: String) -> Result<Self, FleetError> {
        Self::new(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_to_nats_or_to_a_file_system_are_refused() {
        for good in ["nano-1", "a", "0", "pi3"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(33);
        for bad in [
            "", "-a", "A", "a.b", "*", ">", "a b", "../a", "ä", "a\"", &long,
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<Name>(&json).is_err(), "{bad}");
        }
    }
}
