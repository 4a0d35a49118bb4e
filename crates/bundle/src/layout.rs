//! The names in a bundle, in the order in which they come.

use fedact_artifact::Digest;
use serde::{Deserialize, Serialize};

/// The version of the layout.
pub const FORMAT: u64 = 1;

/// The first file.
pub(crate) const INDEX: &str = "fedact-export.json";

/// What stands in the first file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) format: u64,
    pub(crate) results: Vec<Line>,
}

/// One result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) key: Digest,
    pub(crate) output: Digest,
    pub(crate) step: String,
}

pub(crate) fn record(key: &Digest) -> String {
    format!("records/{key}.json")
}

pub(crate) fn manifest(output: &Digest) -> String {
    format!("manifests/{output}")
}

pub(crate) fn content(digest: &Digest) -> String {
    format!("contents/{digest}")
}
