//! The record that a key has a result: `actions/<key>.json`.
//!
//! It is one JSON object in one line; the last member, `checksum`, is the SHA-256 of all bytes before
//! it, so that a damaged record is known for one and is a miss.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Manifest};

/// The layout of the record.
const FORMAT: u32 = 2;
const CHECKSUM_START: &str = ",\"checksum\":\"";
const CHECKSUM_END: &str = "\"}\n";

/// A key, what it was made from, what came out, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The key.
    pub key: Digest,
    /// The value whose canonical JSON the key is the digest of.
    pub preimage: Value,
    /// Digest of the output's manifest ([`crate::Store::manifest`]): what the keys of the steps downstream
    /// contain.
    pub output: Digest,
    /// How many files the output has.
    pub files: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// How it came about.
    pub provenance: Provenance,
}

/// How an output came about. Nothing in it enters any key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The step it was made for; another step with an equal key shares it.
    pub step: String,
    /// The stage.
    pub stage: String,
    /// The figures the stage ended with.
    pub metrics: Map<String, Value>,
    /// When it began, in seconds since 1970 (UTC).
    pub started: f64,
    /// Wall seconds from start to end, of the run that finished it.
    pub seconds: f64,
    /// The machine.
    pub host: String,
    /// The version of fedact.
    pub version: String,
    /// Whether it went on from checkpoints of a run that was killed.
    pub resumed: bool,
    /// What the stage warned of.
    pub warnings: Vec<String>,
    /// Where each input came from, by input name.
    pub inputs: BTreeMap<String, Vec<Source>>,
    /// Where this output was not made under this key: how it came to be declared good for it, the
    /// acceptance under this key last.
    pub accepted: Vec<Accepted>,
}

/// Where an input came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The step, or the folder as written in the pipeline file.
    pub name: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// The key of the step that made it; none for a folder of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
}

/// That a person declared an old output good for a new key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The key whose result it was before.
    pub from: Digest,
    /// When, in seconds since 1970 (UTC).
    pub at: f64,
    /// The machine.
    pub host: String,
    /// The version of fedact.
    pub version: String,
    /// What differed between the two keys, typed by whoever makes the keys.
    pub changes: Vec<Value>,
}

impl Provenance {
    /// When the record was written, in seconds since 1970 (UTC), as far as it tells.
    pub fn recorded(&self) -> f64 {
        let accepted = self.accepted.last().map(|accepted| accepted.at);
        accepted.unwrap_or(self.started + self.seconds)
    }
}

/// As it stands in the file, without the checksum.
#[derive(Serialize, Deserialize)]
struct Record<Preimage, Origin> {
    format: u32,
    key: Digest,
    preimage: Preimage,
    output: Digest,
    files: u64,
    bytes: u64,
    provenance: Origin,
}

impl Action {
    pub(crate) fn new(
        key: Digest,
        preimage: Value,
        manifest: &Manifest,
        provenance: Provenance,
    ) -> Self {
        Self {
            key,
            preimage,
            output: manifest.digest(),
            files: manifest.file_count() as u64,
            bytes: manifest.total_size(),
            provenance,
        }
    }

    /// The content of its file.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(&Record {
            format: FORMAT,
            key: self.key,
            preimage: &self.preimage,
            output: self.output,
            files: self.files,
            bytes: self.bytes,
            provenance: &self.provenance,
        })?;
        // The closing brace comes back behind the checksum.
        bytes.pop();
        let checksum = Digest::of(&bytes);
        bytes.extend_from_slice(format!("{CHECKSUM_START}{checksum}{CHECKSUM_END}").as_bytes());
        Ok(bytes)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the file's name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let tail = CHECKSUM_START.len() + 64 + CHECKSUM_END.len();
        let split = bytes.len().checked_sub(tail).ok_or("it is cut off")?;
        let (body, tail) = bytes.split_at(split);
        let checksum = std::str::from_utf8(tail)
            .ok()
            .and_then(|tail| {
                let tail = tail.strip_prefix(CHECKSUM_START)?;
                tail.strip_suffix(CHECKSUM_END)?.parse::<Digest>().ok()
            })
            .ok_or("it has no checksum at its end")?;
        if Digest::of(body) != checksum {
            return Err("its checksum does not match");
        }
        let mut body = body.to_vec();
        body.push(b'}');
        let record: Record<Value, Provenance> =
            serde_json::from_slice(&body).map_err(|_| "it is not a record of this version")?;
        if record.format != FORMAT {
            return Err("it is not a record of this version");
        }
        Ok(Self {
            key: record.key,
            preimage: record.preimage,
            output: record.output,
            files: record.files,
            bytes: record.bytes,
            provenance: record.provenance,
        })
    }

    /// The key that a file name stands for.
    pub(crate) fn key_of_file(path: &Path) -> Option<Digest> {
        path.file_name()?
            .to_str()?
            .strip_suffix(".json")?
            .parse()
            .ok()
    }

    /// The manifests that it names: the output's, and those of the inputs, as far as its preimage and its
    /// provenance tell.
    pub(crate) fn manifests(&self) -> BTreeSet<Digest> {
        let mut named = BTreeSet::from([self.output]);
        let sources = self.provenance.inputs.values().flatten();
        named.extend(sources.map(|source| source.digest));
        digests_in(&self.preimage, &mut named);
        named
    }
}

/// Every string in a value that reads as a digest.
fn digests_in(value: &Value, found: &mut BTreeSet<Digest>) {
    match value {
        Value::String(text) => found.extend(text.parse::<Digest>()),
        Value::Array(items) => items.iter().for_each(|item| digests_in(item, found)),
        Value::Object(map) => map.values().for_each(|value| digests_in(value, found)),
        _ => {}
    }
}
