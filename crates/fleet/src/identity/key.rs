//! Keys: Ed25519 in the text form of NATS (nkeys), so that the one key of a device opens the server's door and
//! signs its updates.

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};

use crate::FleetError;

/// A secret key. It is written only where a file is meant to hold it, and never shown.
pub struct Key(KeyPair);

impl Key {
    /// A new one.
    pub fn generate() -> Self {
        Self(KeyPair::new_user())
    }

    /// The key of a seed (`SU...`); `what` says whose it is, for the error.
    ///
    /// # Errors
    /// [`FleetError::Key`], without the seed.
    pub fn from_seed(seed: &str, what: &str) -> Result<Self, FleetError> {
        let wrong = |reason: String| FleetError::Key {
            what: what.to_owned(),
            reason,
        };
        let pair = KeyPair::from_seed(seed.trim()).map_err(|error| wrong(error.to_string()))?;
        match pair.key_pair_type() {
            KeyPairType::User => Ok(Self(pair)),
            _ => Err(wrong("it is not the seed of a user".into())),
        }
    }

    /// The seed, for the file that holds it and for the connection.
    ///
    /// # Errors
    /// [`FleetError::Key`].
    pub fn seed(&self) -> Result<String, FleetError> {
        self.0.seed().map_err(|error| FleetError::Key {
            what: "the key".into(),
            reason: error.to_string(),
        })
    }

    /// What others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// The signature over these parts, one after the other.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> [u8; 64] {
        let mut signature = [0; 64];
        // A pair with a secret half, which a `Key` always has, signs anything.
        if let Ok(bytes) = self.0.sign(&parts.concat())
            && bytes.len() == signature.len()
        {
            signature.copy_from_slice(&bytes);
        }
        signature
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key(of {})", self.public())
    }
}

/// The public half of a [`Key`]: `U` and 55 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

impl PublicKey {
    /// Whether this key's owner signed these parts, one after the other.
    pub(crate) fn verifies(&self, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        KeyPair::from_public_key(&self.0)
            .is_ok_and(|pair| pair.verify(&parts.concat(), signature).is_ok())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = FleetError;

    fn try_from(text: String) -> Result<Self, FleetError> {
        let user = text.starts_with('U') && KeyPair::from_public_key(&text).is_ok();
        if user {
            Ok(Self(text))
        } else {
            Err(FleetError::Key {
                reason: "public keys of users begin with U and have 56 characters".into(),
                what: format!("`{text}`"),
            })
        }
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_seed_and_never_shows_it() {
        let key = Key::generate();
        let seed = key.seed().unwrap();
        let again = Key::from_seed(&seed, "the test").unwrap();
        assert_eq!(again.public(), key.public());
        let shown = format!("{key:?}");
        assert!(!shown.contains(&seed[2..]), "{shown}");
        let signature = key.sign(&[b"one", b"two"]);
        assert!(again.public().verifies(&[b"onetwo"], &signature));
        assert!(!again.public().verifies(&[b"onetw0"], &signature));
        assert!(!Key::generate().public().verifies(&[b"onetwo"], &signature));
    }

    #[test]
    fn a_wrong_seed_is_refused_without_being_shown() {
        let account = KeyPair::new_account().seed().unwrap();
        for seed in ["SUABC", "", &account] {
            let error = Key::from_seed(seed, "nano-1.join").unwrap_err().to_string();
            assert!(error.starts_with("nano-1.join is no key"), "{error}");
            assert!(seed.is_empty() || !error.contains(seed), "{error}");
        }
        assert!(PublicKey::try_from(account).is_err());
    }
}
