//! `dataset.json`: what all clips of a set have in common.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ClipsError;

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

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
            sampling: Value::Null,
            source: Value::Null,
        }
    }

    /// Shape of one clip: frames, height, width, channels.
    pub fn clip_shape(&self) -> [usize; 4] {
        [self.frames, self.height, self.width, 3]
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
        Ok(())
    }

    /// Reads `dataset.json`, the version first, so that a later format is named and not misread.
    pub(crate) fn read(path: &Path) -> Result<Self, ClipsError> {
        let text = std::fs::read_to_string(path).map_err(|source| ClipsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let malformed = |error: &serde_json::Error| ClipsError::Json {
            path: path.to_owned(),
            line: error.line(),
            message: error.to_string(),
        };
        let value: Value = serde_json::from_str(&text).map_err(|error| malformed(&error))?;
        let version = &value["format_version"];
        if version.as_u64() != Some(FORMAT_VERSION.into()) {
            return Err(ClipsError::Version {
                path: path.to_owned(),
                found: version.to_string(),
            });
        }
        let dataset: Self = serde_json::from_value(value).map_err(|error| malformed(&error))?;
        dataset.check(path)?;
        Ok(dataset)
    }
}
