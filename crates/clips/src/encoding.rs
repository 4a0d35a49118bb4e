//! How shards hold pixels.

use serde::{Deserialize, Serialize};

/// How the shards of a set hold their pixels: `encoding` in `dataset.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Encoding {
    /// Byte by byte: read without a copy.
    #[default]
    Raw,
    /// Each frame a baseline JPEG: a tenth of the bytes, decoded when it is read.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
}

/// The longest side that a JPEG can have.
const LONGEST: usize = 65_535;

impl Encoding {
    /// Refuses what cannot be encoded.
    pub(crate) fn check(self, height: usize, width: usize) -> Result<(), String> {
        match self {
            Self::Jpeg { quality } if !(1..=100).contains(&quality) => Err(format!(
                "a JPEG has a quality between 1 and 100, not {quality}"
            )),
            Self::Jpeg { .. } if height.max(width) > LONGEST => Err(format!(
                "a JPEG has sides up to {LONGEST} pixels, not {width} x {height}"
            )),
            _ => Ok(()),
        }
    }
}
