//! The blob `ac/<key>`: what is claimed to be the result of a key.
//!
//! Lines of text, each ended by a line feed:
//!
//! ```text
//! fedact entry 1
//! pack <sha256> <bytes>                            or: pack none
//! {"format":2,"key":"...","preimage":{...},...}    the record, as in actions/<key>.json
//! signature <public key> <128 hexadecimal digits>  none, one or more
//! ```
//!
//! Signed is everything before the first signature. The manifest is the blob `cas/<output>`, with the output
//! from the record; a file is `cas/<sha256>`; and the small files of an artifact with many of them
//! travel as one blob, the pack.

use fedact_artifact::{Action, Digest};

use crate::sign::Signature;
use crate::{PublicKey, SigningKey};

const HEADER: &str = "fedact entry 1\n";
const PACK: &str = "pack ";
const NO_PACK: &str = "none";
const SIGNATURE: &str = "signature ";
/// More than any record has: its longest part are the params of a step.
pub(crate) const MAX_SIZE: u64 = 4 << 20;

/// A claim: this key has this result, and its small files are in this pack.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The record.
    pub action: Action,
    /// The blob with the small files, if there are enough of them for one.
    pub pack: Option<Pack>,
}

/// The blob with the small files of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// Its name.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl Entry {
    /// As it is sent, signed if there is a key for it.
    pub(crate) fn to_bytes(&self, key: Option<&SigningKey>) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = HEADER.as_bytes().to_vec();
        let pack = self.pack.map_or_else(
            || NO_PACK.to_owned(),
            |pack| format!("{} {}", pack.digest, pack.size),
        );
        bytes.extend_from_slice(format!("{PACK}{pack}\n").as_bytes());
        bytes.extend_from_slice(&self.action.to_bytes()?);
        if let Some(key) = key {
            let Signature { key, signature } = key.sign(&bytes);
            bytes.extend_from_slice(format!("{SIGNATURE}{key} {signature}\n").as_bytes());
        }
        Ok(bytes)
    }

    /// Reads what was sent as the result of `key`, which it must be; where keys are trusted, one of
    /// them must have signed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        key: &Digest,
        trusted: &[PublicKey],
    ) -> Result<Self, String> {
        let cut = || "it is cut off".to_owned();
        let other = || "it is not an entry of this version".to_owned();
        let rest = bytes.strip_prefix(HEADER.as_bytes()).ok_or_else(other)?;
        let (pack, rest) = line(rest).ok_or_else(cut)?;
        let (record, signatures) = line(rest).ok_or_else(cut)?;
        let claim = &bytes[..bytes.len() - signatures.len()];
        // Before anything in it is believed.
        check_signature(claim, signatures, trusted)?;
        let pack = std::str::from_utf8(pack)
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.strip_prefix(PACK))
            .and_then(parse_pack)
            .ok_or_else(other)?;
        let action = Action::from_bytes(record)?;
        if action.key != *key {
            return Err("it belongs to another key".to_owned());
        }
        if Digest::of_json(&action.preimage) != *key {
            return Err("its preimage is not that of its key".to_owned());
        }
        Ok(Self { action, pack })
    }
}

/// The next line with its line feed, and what comes after it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some(bytes.split_at(end + 1))
}

fn parse_pack(text: &str) -> Option<Option<Pack>> {
    if text == NO_PACK {
        return Some(None);
    }
    let (digest, size) = text.split_once(' ')?;
    Some(Some(Pack {
        digest: digest.parse().ok()?,
        size: size.parse().ok()?,
    }))
}

fn check_signature(claim: &[u8], lines: &[u8], trusted: &[PublicKey]) -> Result<(), String> {
    if trusted.is_empty() {
        return Ok(());
    }
    let signatures: Vec<Signature> = String::from_utf8_lossy(lines)
        .lines()
        .filter_map(|line| {
            let (key, signature) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
            Some(Signature {
                key: key.to_owned(),
                signature: signature.to_owned(),
            })
        })
        .collect();
    if signatures.is_empty() {
        return Err("it is not signed".to_owned());
    }
    let good = |signature: &Signature| trusted.iter().any(|key| key.accepts(signature, claim));
    if signatures.iter().any(good) {
        Ok(())
    } else {
        Err("no trusted key has signed it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use fedact_artifact::Provenance;
    use serde_json::json;

    use super::*;

    fn entry() -> Entry {
        let preimage = json!({"stage": "source", "params": {"text": "a\nb"}});
        let provenance = Provenance {
            step: "a".into(),
            ..Provenance::default()
        };
        Entry {
            action: Action {
                key: Digest::of_json(&preimage),
                preimage,
                output: Digest::of("manifest"),
                files: 3,
                bytes: 7,
                provenance,
            },
            pack: Some(Pack {
                digest: Digest::of("pack"),
                size: 7,
            }),
        }
    }

    fn read(bytes: &[u8], trusted: &[PublicKey]) -> Result<Entry, String> {
        Entry::from_bytes(bytes, &entry().action.key, trusted)
    }

    #[test]
    fn an_entry_survives_its_bytes_signed_or_not_with_a_pack_or_without() {
        let key = SigningKey::generate().unwrap();
        let mut entry = entry();
        for _ in 0..2 {
            let plain = entry.to_bytes(None).unwrap();
            assert_eq!(read(&plain, &[]).unwrap(), entry);
            let signed = entry.to_bytes(Some(&key)).unwrap();
            assert_eq!(read(&signed, &[]).unwrap(), entry);
            assert_eq!(read(&signed, &[key.public()]).unwrap(), entry);
            entry.pack = None;
        }
    }

    #[test]
    fn where_keys_are_trusted_others_and_none_are_refused() {
        let (key, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let trusted = [key.public()];
        let unsigned = entry().to_bytes(None).unwrap();
        assert_eq!(read(&unsigned, &trusted).unwrap_err(), "it is not signed");
        let by_other = entry().to_bytes(Some(&other)).unwrap();
        assert_eq!(
            read(&by_other, &trusted).unwrap_err(),
            "no trusted key has signed it"
        );
        // A second signature, added by somebody else, does no harm; nor does the order.
        let signed = entry().to_bytes(Some(&key)).unwrap();
        let second = &by_other[unsigned.len()..];
        assert!(read(&[&signed, second].concat(), &trusted).is_ok());
        assert!(read(&[&by_other, &signed[unsigned.len()..]].concat(), &trusted).is_ok());
    }

    #[test]
    fn every_changed_byte_of_a_signed_entry_makes_it_a_miss() {
        let key = SigningKey::generate().unwrap();
        let signed = entry().to_bytes(Some(&key)).unwrap();
        for position in 0..signed.len() {
            let mut changed = signed.clone();
            changed[position] ^= 1;
            // The last line feed is not part of anything.
            let result = read(&changed, &[key.public()]);
            assert!(
                result.is_err() || position == signed.len() - 1,
                "byte {position} of {}",
                signed.len()
            );
        }
        for length in 0..signed.len() - 1 {
            assert!(read(&signed[..length], &[key.public()]).is_err());
        }
    }

    #[test]
    fn an_entry_of_another_key_is_refused_even_if_it_is_signed() {
        let key = SigningKey::generate().unwrap();
        let signed = entry().to_bytes(Some(&key)).unwrap();
        let elsewhere = Digest::of("another key");
        let refused = Entry::from_bytes(&signed, &elsewhere, &[key.public()]).unwrap_err();
        assert!(refused.contains("another key"), "{refused}");
        let mut forged = entry();
        forged.action.key = elsewhere;
        let bytes = forged.to_bytes(Some(&key)).unwrap();
        let refused = Entry::from_bytes(&bytes, &elsewhere, &[]).unwrap_err();
        assert!(refused.contains("preimage"), "{refused}");
    }
}
