//! Params of the stage `evaluate`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-evaluate`, one folder up.

mod definition;

use fedact_recipe::TestViews;
use fedact_stage::{OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;

/// How models are tested and what the report looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateParams {
    /// The heading of the report.
    pub title: String,
    /// Clips in a batch, for testing and for timing; at least 2, because libtorch takes a slow path for
    /// a single clip.
    pub batch_size: usize,
    /// The views of each test clip whose answers are averaged, and whether clips or videos are counted.
    pub test_views: TestViews,
    /// With `test_views.flip`: pairs of classes that turn into each other in a mirror, as in distillation.
    pub flip_pairs: Vec<[String; 2]>,
    /// Batches that are timed for each model, after a warm-up; the median counts.
    pub repeats: usize,
    /// Frames in the picture of each class; no more than a clip has are shown.
    pub frames_per_strip: usize,
    /// Decides which clip of a class is pictured.
    pub seed: u64,
    /// Threads of libtorch; the last bits of results depend on them.
    pub threads: usize,
}

impl Default for EvaluateParams {
    fn default() -> Self {
        Self {
            title: "Action recognition, fine-tuned by a fleet of devices".to_owned(),
            batch_size: 8,
            test_views: TestViews::default(),
            flip_pairs: Vec::new(),
            repeats: 7,
            frames_per_strip: 8,
            seed: 1,
            threads: 2,
        }
    }
}

impl Params for EvaluateParams {
    fn check(&self) -> Result<(), OutOfRange> {
        OutOfRange::unless(!self.title.trim().is_empty(), "title", "empty", "a heading")?;
        let within = |key, value: usize, low, high, expected| {
            OutOfRange::unless((low..=high).contains(&value), key, value, expected)
        };
        within("batch_size", self.batch_size, 2, 1024, "between 2 and 1024")?;
        self.test_views
            .check()
            .map_err(|error| error.within("test_views"))?;
        within("repeats", self.repeats, 1, 1000, "between 1 and 1000")?;
        within(
            "frames_per_strip",
            self.frames_per_strip,
            1,
            64,
            "between 1 and 64",
        )?;
        within("threads", self.threads, 1, 256, "between 1 and 256")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_in_range_and_bad_values_are_named() {
        EvaluateParams::default().check().unwrap();
        let refuse = |given| {
            fedact_stage::resolve::<EvaluateParams>(&given)
                .unwrap_err()
                .key()
                .to_owned()
        };
        assert_eq!(refuse(json!({"batch_size": 1})), "batch_size");
        assert_eq!(refuse(json!({"title": " "})), "title");
        assert_eq!(refuse(json!({"repeats": 0})), "repeats");
        assert_eq!(
            refuse(json!({"test_views": {"crops": 2}})),
            "test_views.crops"
        );
        assert_eq!(refuse(json!({"titel": "x"})), "titel");
    }
}
