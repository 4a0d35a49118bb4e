//! How much views of a clip may differ from it.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much views may differ from the stored clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Smallest and largest share of the picture's area that a view shows, scaled to the full size
    /// (random resized crop; Szegedy et al. 2015, arXiv 1409.4842, section 6). `[1, 1]` is none.
    pub scale: [f64; 2],
    /// Largest factor by which a view is stretched in one direction; 1 is none.
    pub aspect: f64,
    /// Share of clips that are mirrored left to right. 0 by default: a mirrored wave of the left hand
    /// is one of the right hand.
    pub flip: f64,
    /// Classes that mirroring turns into each other, as pairs of names; every other class keeps its
    /// label.
    pub flip_pairs: Vec<[String; 2]>,
    /// Classes whose clips are never mirrored, as writing is not; every other class with the share `flip`.
    pub flip_never: Vec<String>,
    /// Brightness is multiplied by a factor between 1 minus and 1 plus this.
    pub brightness: f64,
    /// Contrast likewise, about the clip's mean grey.
    pub contrast: f64,
    /// Saturation likewise, about each pixel's own grey.
    pub saturation: f64,
    /// Frames by which a view may begin earlier or later; the first or last frame stands in for what
    /// was not stored.
    pub shift: u32,
    /// Largest factor by which a view plays faster or slower about its middle, to the nearest stored
    /// frame; 1 is none.
    pub speed: f64,
    /// How far a window of fewer frames than are stored may be from the middle, as a share of the room that there
    /// is at the view's speed: 1 is anywhere, 0 the middle, where tests look. Says nothing where all frames are used.
    pub window: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            scale: [0.6, 1.0],
            aspect: 1.15,
            flip: 0.0,
            flip_pairs: Vec::new(),
            flip_never: Vec::new(),
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.0,
            shift: 1,
            speed: 1.0,
            window: 1.0,
        }
    }
}

impl Augmentation {
    /// Every view is the stored clip.
    pub fn none() -> Self {
        Self {
            scale: [1.0, 1.0],
            aspect: 1.0,
            flip: 0.0,
            flip_pairs: Vec::new(),
            flip_never: Vec::new(),
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            shift: 0,
            speed: 1.0,
            window: 0.0,
        }
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let [least, most] = self.scale;
        let ordered = 0.01 <= least && least <= most && most <= 1.0;
        let range = "two shares, ascending, between 0.01 and 1";
        OutOfRange::unless(ordered, "scale", format!("[{least}, {most}]"), range)?;
        for (key, factor) in [("aspect", self.aspect), ("speed", self.speed)] {
            OutOfRange::unless(
                (1.0..=4.0).contains(&factor),
                key,
                factor,
                "between 1 and 4",
            )?;
        }
        let shares = [
            ("flip", self.flip),
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
            ("window", self.window),
        ];
        for (key, share) in shares {
            OutOfRange::unless((0.0..=1.0).contains(&share), key, share, "between 0 and 1")?;
        }
        let paired = |name: &&String| self.flip_pairs.iter().flatten().any(|pair| pair == *name);
        match self.flip_never.iter().find(paired) {
            Some(name) => {
                OutOfRange::unless(false, "flip_never", name, "a class outside `flip_pairs`")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_cannot_both_change_in_the_mirror_and_stay_out_of_it() {
        let mut augmentation = Augmentation {
            flip_pairs: vec![["left".to_owned(), "right".to_owned()]],
            flip_never: vec!["write".to_owned()],
            ..Augmentation::default()
        };
        augmentation.check().unwrap();
        augmentation.flip_never.push("right".to_owned());
        let text = augmentation.check().unwrap_err().to_string();
        assert_eq!(
            text,
            "`flip_never` is right, but must be a class outside `flip_pairs`"
        );
    }

    #[test]
    fn shares_are_between_nothing_and_all() {
        for key in ["saturation", "window", "flip"] {
            let mut augmentation = serde_json::to_value(Augmentation::none()).unwrap();
            augmentation[key] = 1.5.into();
            let augmentation: Augmentation = serde_json::from_value(augmentation).unwrap();
            assert_eq!(augmentation.check().unwrap_err().key, key);
        }
    }
}

/// A limited number of random views of each clip, of which each epoch shows the next, the first again after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// Views depend on it and on the clip's id alone.
    pub seed: u64,
    /// How many there are, at least 1.
    pub count: u32,
}

impl Views {
    /// The view that an epoch shows, both counted from 1.
    pub fn of(&self, epoch: u64) -> u64 {
        epoch.saturating_sub(1) % u64::from(self.count.max(1)) + 1
    }
}
