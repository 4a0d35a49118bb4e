//! How a delta becomes bytes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layout::HEADER_BYTES;

/// What each number of a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// 4 bytes, exact.
    #[default]
    Fp32,
    /// 2 bytes, rounded to nearest: within 2^-11 of the number, or 2^-25 where it is below 2^-14. Beyond 65,504 it is cut off there.
    Fp16,
    /// 1 byte and a share of a scale, rounded up or down at random so that the mean is the number (Alistarh et al. 2017, arXiv
    /// 1610.02132): within 1/127 of the largest magnitude in its block.
    Int8,
}

impl Numbers {
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Fp32 => 0,
            Self::Fp16 => 1,
            Self::Int8 => 2,
        }
    }

    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        [Self::Fp32, Self::Fp16, Self::Int8]
            .into_iter()
            .find(|numbers| numbers.tag() == tag)
    }
}

/// How a delta becomes bytes: which numbers, in which precision, compressed or not. Each is independent of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Codec {
    /// `fp32`, `fp16` or `int8`.
    pub numbers: Numbers,
    /// The share of the numbers that is sent, those of the largest magnitude (top-k; Aji, Heafield 2017, arXiv 1704.05021);
    /// null: all. Above 0 and at most 1.
    pub keep: Option<f64>,
    /// `int8`: how many numbers share a scale, 8 to 1,048,576.
    pub block: u32,
    /// The level of zstd, 1 to 19, which comes last and is left out where it does not help; null: without.
    pub zstd: Option<i32>,
}

impl Default for Codec {
    fn default() -> Self {
        Self {
            numbers: Numbers::Fp32,
            keep: None,
            block: 256,
            zstd: None,
        }
    }
}

/// In words: `int8, the largest 10%, zstd 1`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.numbers {
            Numbers::Fp32 => "fp32",
            Numbers::Fp16 => "fp16",
            Numbers::Int8 => "int8",
        })?;
        if let Some(share) = self.keep {
            // As many digits as there are, but not the tail of a binary fraction.
            write!(f, ", the largest {}%", (share * 1e6).round() / 1e4)?;
        }
        match self.zstd {
            Some(level) => write!(f, ", zstd {level}"),
            None => Ok(()),
        }
    }
}

impl Codec {
    /// All numbers bit for bit, in as few bytes as zstd makes of them at little cost.
    pub fn exact() -> Self {
        Self {
            zstd: Some(1),
            ..Self::default()
        }
    }

    /// Whether what is decoded is what was encoded, bit for bit.
    pub fn is_exact(&self) -> bool {
        self.numbers == Numbers::Fp32 && self.keep.is_none()
    }

    /// What is wrong with it, if anything: the key, its value and what it must be.
    pub fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        if let Some(keep) = self.keep.filter(|keep| !(*keep > 0.0 && *keep <= 1.0)) {
            return Some(("keep", keep, "above 0 and at most 1"));
        }
        if !(8..=1 << 20).contains(&self.block) {
            return Some(("block", self.block.into(), "between 8 and 1048576"));
        }
        if let Some(level) = self.zstd.filter(|level| !(1..=19).contains(level)) {
            return Some(("zstd", level.into(), "between 1 and 19"));
        }
        None
    }

    /// How many of a model's numbers are sent.
    pub fn kept(&self, numbers: usize) -> usize {
        match self.keep {
            None => numbers,
            Some(share) => {
                ((share * numbers as f64).ceil() as usize).clamp(1.min(numbers), numbers)
            }
        }
    }

    /// Bytes of a message of a model of so many numbers, before zstd: exact, but for `keep` with indices of one byte each,
    /// which holds as long as neighbours are mostly less than 128 apart. It is what a clock can know before
    /// there is a delta.
    pub fn nominal_bytes(&self, numbers: usize) -> u64 {
        let kept = self.kept(numbers);
        let each = match self.numbers {
            Numbers::Fp32 => 4 * kept,
            Numbers::Fp16 => 2 * kept,
            Numbers::Int8 => kept + 4 + 4 * kept.div_ceil(self.block.max(1) as usize),
        };
        let indices = if self.keep.is_some() { 4 + kept } else { 0 };
        HEADER_BYTES + (each + indices) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_computed_by_hand() {
        let mut codec = Codec::default();
        assert_eq!(codec.nominal_bytes(1000), 64 + 4000);
        codec.numbers = Numbers::Fp16;
        assert_eq!(codec.nominal_bytes(1000), 64 + 2000);
        codec.numbers = Numbers::Int8;
        // 1000 numbers in 4 blocks of at most 256.
        assert_eq!(codec.nominal_bytes(1000), 64 + 4 + 16 + 1000);
        codec.keep = Some(0.01);
        assert_eq!(codec.kept(1001), 11);
        assert_eq!(codec.nominal_bytes(1000), 64 + 4 + 10 + 4 + 4 + 10);
    }

    #[test]
    fn a_codec_is_told_in_words() {
        let mut codec = Codec::default();
        assert_eq!(codec.to_string(), "fp32");
        codec.numbers = Numbers::Int8;
        codec.keep = Some(0.07);
        codec.zstd = Some(3);
        assert_eq!(codec.to_string(), "int8, the largest 7%, zstd 3");
        codec.keep = Some(0.0025);
        assert_eq!(codec.to_string(), "int8, the largest 0.25%, zstd 3");
    }

    #[test]
    fn impossible_settings_are_found() {
        let fault = |codec: Codec| codec.fault().map(|(key, ..)| key);
        let codec = Codec::default();
        assert_eq!(fault(codec.clone()), None);
        assert_eq!(
            fault(Codec {
                keep: Some(0.0),
                ..codec.clone()
            }),
            Some("keep")
        );
        assert_eq!(
            fault(Codec {
                keep: Some(f64::NAN),
                ..codec.clone()
            }),
            Some("keep")
        );
        assert_eq!(
            fault(Codec {
                block: 0,
                ..codec.clone()
            }),
            Some("block")
        );
        assert_eq!(
            fault(Codec {
                zstd: Some(20),
                ..codec
            }),
            Some("zstd")
        );
    }
}
