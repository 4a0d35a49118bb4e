//! Signatures: who may say what the result of a key is.
//!
//! Contents prove themselves, for they are named by their digest. That a certain key has a certain
//! output is a claim, and whoever can write to a remote can make it. So a claim is signed (Ed25519, RFC
//! 8032), and where public keys are configured, a claim that none of them has signed is as good as none.
//!
//! What is signed is a prefix that names the purpose and its version, and then the exact bytes of the
//! claim: a signature made for anything else never fits.

use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey as Secret, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::RemoteError;

/// What stands before the signed bytes; another layout gets another number.
const DOMAIN: &[u8] = b"fedact remote entry 1\n";
const SIGNING_PREFIX: &str = "fedact-signing-";
const PUBLIC_PREFIX: &str = "fedact-public-";

/// The key that signs. Written as `fedact-signing-` and 64 hexadecimal digits; not shown by `Debug`.
#[derive(Clone)]
pub struct SigningKey(Secret);

/// The key that checks signatures. Written as `fedact-public-` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A signature, and the key that checks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The public key, as written.
    pub key: String,
    /// 128 hexadecimal digits.
    pub signature: String,
}

fn signed_bytes(claim: &[u8]) -> Vec<u8> {
    [DOMAIN, claim].concat()
}

impl SigningKey {
    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// The system has none.
    pub fn generate() -> Result<Self, RemoteError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| RemoteError::Random {
            reason: error.to_string(),
        })?;
        Ok(Self(Secret::from_bytes(&seed)))
    }

    /// As it is written into a file or a secret.
    pub fn to_text(&self) -> String {
        format!("{SIGNING_PREFIX}{}", hex::encode(self.0.to_bytes()))
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, claim: &[u8]) -> Signature {
        Signature {
            key: self.public().to_string(),
            signature: hex::encode(self.0.sign(&signed_bytes(claim)).to_bytes()),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey of {}", self.public())
    }
}

impl FromStr for SigningKey {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        bytes_after(text, SIGNING_PREFIX)
            .map(|seed| Self(Secret::from_bytes(&seed)))
            // The text is not repeated: it may be a secret with a slip in it.
            .ok_or(RemoteError::Key {
                kind: "signing",
                prefix: SIGNING_PREFIX,
                digits: 64,
            })
    }
}

impl PublicKey {
    /// Whether the signature is this key's, and of this claim.
    pub(crate) fn accepts(&self, signature: &Signature, claim: &[u8]) -> bool {
        let mut bytes = [0; 64];
        signature.key == self.to_string()
            && hex::decode_to_slice(&signature.signature, &mut bytes).is_ok()
            && self
                .0
                .verify_strict(
                    &signed_bytes(claim),
                    &ed25519_dalek::Signature::from_bytes(&bytes),
                )
                .is_ok()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", hex::encode(self.0.to_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        bytes_after(text, PUBLIC_PREFIX)
            .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
            .filter(|key| !key.is_weak())
            .map(Self)
            .ok_or(RemoteError::Key {
                kind: "public",
                prefix: PUBLIC_PREFIX,
                digits: 64,
            })
    }
}

fn bytes_after(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let digits = text.trim().strip_prefix(prefix)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_and_the_secret_one_is_not_shown() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_text();
        let again: SigningKey = format!(" {text}\n").parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(
            key.public().to_string().parse::<PublicKey>().unwrap(),
            key.public()
        );
        assert!(!format!("{key:?}").contains(&text[SIGNING_PREFIX.len()..]));
        assert_ne!(
            SigningKey::generate().unwrap().public(),
            key.public(),
            "two keys are two keys"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let secret = SigningKey::generate().unwrap().to_text();
        let cut = &secret[..secret.len() - 2];
        for text in [
            "",
            "x",
            cut,
            &format!("{secret}0"),
            &secret.replace("signing", "public"),
        ] {
            let error = text.parse::<SigningKey>().unwrap_err().to_string();
            assert!(error.contains("fedact remote keygen"), "{error}");
            assert!(!error.contains(&secret[20..40]), "{error}");
        }
        // A point of small order: every signature would fit some message.
        let weak = format!("{PUBLIC_PREFIX}01{}", "0".repeat(62));
        assert!(weak.parse::<PublicKey>().is_err());
    }

    #[test]
    fn a_signature_fits_its_key_its_claim_and_its_purpose_only() {
        let (mine, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let signature = mine.sign(b"claim");
        assert!(mine.public().accepts(&signature, b"claim"));
        assert!(!mine.public().accepts(&signature, b"claim "));
        assert!(!other.public().accepts(&signature, b"claim"));
        let renamed = Signature {
            key: other.public().to_string(),
            ..signature.clone()
        };
        assert!(!other.public().accepts(&renamed, b"claim"));
        // Signed by the right key, but without the prefix: made for something else.
        let elsewhere = Signature {
            signature: hex::encode(mine.0.sign(b"claim").to_bytes()),
            ..signature
        };
        assert!(!mine.public().accepts(&elsewhere, b"claim"));
    }
}
