//! How often a network looks at what it is tested on.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The views whose probabilities are averaged in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TestViews {
    /// 1: the whole picture. 3: windows of 7/8 of each side, in the middle and at both ends of the longer side (of
    /// a square's width). 5: such windows in the middle and the corners (Krizhevsky et al. 2012, section 4.1).
    pub crops: u32,
    /// Each of them mirrored, too; what is seen in the mirror counts for the class that mirroring turns it into
    /// (`flip_pairs`).
    pub flip: bool,
    /// All clips of one video together, and videos are what is counted; else each clip for itself.
    pub videos: bool,
}

impl Default for TestViews {
    fn default() -> Self {
        Self {
            crops: 1,
            flip: false,
            videos: false,
        }
    }
}

impl TestViews {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let known = matches!(self.crops, 1 | 3 | 5);
        OutOfRange::unless(known, "crops", self.crops, "1, 3 or 5")
    }

    /// How often each clip is looked at.
    pub fn count(&self) -> usize {
        self.crops as usize * if self.flip { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_counted_and_other_crops_refused() {
        let views = |crops, flip| TestViews {
            crops,
            flip,
            videos: false,
        };
        assert_eq!(TestViews::default().count(), 1);
        assert_eq!(views(5, true).count(), 10);
        views(3, false).check().unwrap();
        let text = views(2, false).check().unwrap_err().to_string();
        assert_eq!(text, "`crops` is 2, but must be 1, 3 or 5");
    }
}
