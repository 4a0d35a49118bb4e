//! `dataset.json`: what all clips of a set have in common.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ClipsError, Encoding};

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// What all clips of a set have in common: `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Class names; a clip's label is an index into them.
    pub classes: Vec<String>,
    /// Frames of a clip.
    pub frames: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// How the shards hold the pixels; `raw` where the file does not say.
    #[serde(default)]
    pub encoding: Encoding,
    /// How frames were chosen: the params of `extract` and the version of FFmpeg.
    pub sampling: Value,
    /// Where the clips come from: layout, counts of files.
    pub source: Value,
}

impl Dataset {
    /// A data set in this version of the format, with nothing said about its origin.
    pub fn new(classes: Vec<String>, frames: usize, height: usize, width: usize) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            classes,
            frames,
            height,
            width,
            encoding: Encoding::Raw,
            sampling: Value::Null,
            source: Value::Null,
        }
    }

    /// Shape of one clip: frames, height, width, channels.
    pub fn clip_shape(&self) -> [usize; 4] {
        [self.frames, self.height, self.width, 3]
    }

    /// Numbers of `wanted` of a clip's frames, evenly spread, the first and the last among them; all where
    /// there are fewer.
    pub fn spread(&self, wanted: usize) -> Vec<usize> {
        let wanted = wanted.clamp(1, self.frames.max(1));
        (0..wanted)
            .map(|index| {
                if wanted == 1 {
                    0
                } else {
                    (index * (self.frames - 1) + (wanted - 1) / 2) / (wanted - 1)
                }
            })
            .collect()
    }

    /// Bytes of one clip.
    pub fn clip_bytes(&self) -> usize {
        self.clip_shape().iter().product()
    }

    /// Refuses a set that no clip could belong to.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ClipsError> {
        let refuse = |message: String| ClipsError::Dataset {
            path: path.to_owned(),
            message,
        };
        if self.format_version != FORMAT_VERSION {
            return Err(ClipsError::Version {
                path: path.to_owned(),
                found: self.format_version.to_string(),
            });
        }
        if self.classes.is_empty() {
            return Err(refuse("it has no classes".to_owned()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.classes.iter().find(|name| !seen.insert(*name)) {
            return Err(refuse(format!("the class `{twice}` is there twice")));
        }
        let bytes = self
            .clip_shape()
            .iter()
            .try_fold(1usize, |product, side| product.checked_mul(*side));
        if !matches!(bytes, Some(1..)) {
            return Err(refuse(format!(
                "a clip of {} frames of {} x {} pixels is empty or too large",
                self.frames, self.width, self.height
            )));
        }
        self.encoding.check(self.height, self.width).map_err(refuse)
    }

    /// The bytes of `dataset.json`.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads `dataset.json`, the version first, so that a later format is named and not misread. Also
    /// the checksum of its bytes.
    pub(crate) fn read(path: &Path) -> Result<(Self, u32), ClipsError> {
        let text = std::fs::read(path).map_err(|source| ClipsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let malformed = |error: &serde_json::Error| ClipsError::Json {
            path: path.to_owned(),
            line: error.line(),
            message: error.to_string(),
        };
        let value: Value = serde_json::from_slice(&text).map_err(|error| malformed(&error))?;
        let version = &value["format_version"];
        if version.as_u64() != Some(FORMAT_VERSION.into()) {
            return Err(ClipsError::Version {
                path: path.to_owned(),
                found: version.to_string(),
            });
        }
        let dataset: Self = serde_json::from_value(value).map_err(|error| malformed(&error))?;
        dataset.check(path)?;
        Ok((dataset, crc32fast::hash(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_spread_from_the_first_to_the_last() {
        let spread = |frames, wanted| Dataset::new(Vec::new(), frames, 1, 1).spread(wanted);
        assert_eq!(spread(8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(spread(16, 4), [0, 5, 10, 15]);
        assert_eq!(spread(3, 8), [0, 1, 2]);
        assert_eq!(spread(5, 1), [0]);
        assert_eq!(spread(1, 4), [0]);
    }
}
