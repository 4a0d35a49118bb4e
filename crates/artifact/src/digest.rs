//! SHA-256 digests of bytes, files and JSON values.

use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How much of a file is in memory at a time while it is hashed.
const CHUNK: usize = 1 << 20;

/// A SHA-256 digest; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Where there is none to take: no content that anybody knows has it.
    pub(crate) const NONE: Self = Self([0; 32]);

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of some bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Of a JSON value in its canonical form ([`canonical_json`]): equal for values that differ only
    /// in the order of their keys.
    pub fn of_json(value: &Value) -> Self {
        Self::of(canonical_json(value))
    }

    /// Of what is left to read, and its length; `advance` hears of every chunk.
    pub(crate) fn of_reader(
        mut reader: impl Read,
        mut advance: impl FnMut(u64),
    ) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        // Most files are small: the buffer grows to its full size only for those that need it.
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&buffer[..read]);
            advance(read as u64);
            if read == buffer.len() && buffer.len() < CHUNK {
                buffer.resize(CHUNK, 0);
            }
        }
        Ok(hasher.finish())
    }

    /// Of an open file from its present position on, and the length.
    pub(crate) fn of_file(file: &File, advance: impl FnMut(u64)) -> io::Result<(Self, u64)> {
        Self::of_reader(file, advance)
    }

    /// The first twelve digits, for messages.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// Takes a digest and a length while bytes pass by.
#[derive(Default)]
pub(crate) struct Hasher {
    state: Sha256,
    length: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest(self.state.finalize().into()), self.length)
    }
}

/// The one way to write a JSON value: keys sorted by their bytes, no white space, numbers and strings
/// as serde_json prints them.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_canonical(&map[key], text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: 64 digits from 0-9 and a-f are needed")]
pub struct InvalidDigest(pub String);

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        // Capital digits would give one digest two names.
        if text.bytes().any(|byte| byte.is_ascii_uppercase())
            || hex::decode_to_slice(text, &mut bytes).is_err()
        {
            return Err(InvalidDigest(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        let capital = Digest::of(b"").to_string().to_uppercase();
        for text in ["", "abc", "zz", &capital, &"0".repeat(63), &"0".repeat(66)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_the_order_of_a_list_does() {
        let one = json!({"a": 1, "b": {"c": [1, 2], "d": null}});
        let other = json!({"b": {"d": null, "c": [1, 2]}, "a": 1});
        assert_eq!(Digest::of_json(&one), Digest::of_json(&other));
        assert_eq!(
            canonical_json(&other),
            r#"{"a":1,"b":{"c":[1,2],"d":null}}"#
        );
        assert_ne!(
            Digest::of_json(&json!([1, 2])),
            Digest::of_json(&json!([2, 1]))
        );
    }

    proptest! {
        #[test]
        fn a_digest_survives_text_and_json(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }

        #[test]
        fn a_stream_hashes_like_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut seen = 0;
            let (digest, length) = Digest::of_reader(&bytes[..], |chunk| seen += chunk).unwrap();
            prop_assert_eq!(digest, Digest::of(&bytes));
            prop_assert_eq!(length, bytes.len() as u64);
            prop_assert_eq!(seen, length);
        }
    }
}
