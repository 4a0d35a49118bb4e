//! The learning rate over time, as data.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate falls behind the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Like half a cosine, to 0 at the end of the last epoch (Loshchilov and Hutter 2017,
    /// arXiv 1608.03983, without restarts).
    #[default]
    Cosine,
    /// By a factor behind each milestone.
    Steps,
}

/// The learning rate over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSettings {
    /// `cosine` or `steps`.
    pub shape: Shape,
    /// Epochs behind which the rate falls (`steps`), ascending.
    pub milestones: Vec<u32>,
    /// What the rate is multiplied by at each (`steps`).
    pub factor: f64,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            shape: Shape::Cosine,
            milestones: Vec::new(),
            factor: 0.1,
        }
    }
}

impl ScheduleSettings {
    /// Refuses values out of range for a training of so many epochs, of which the first so many warm up.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, epochs: u32, warmup_epochs: f64) -> Result<(), OutOfRange> {
        let milestones = &self.milestones;
        let shown = || format!("{milestones:?}");
        let refuse =
            |holds, expected: &str| OutOfRange::unless(holds, "milestones", shown(), expected);
        match self.shape {
            Shape::Cosine => refuse(milestones.is_empty(), "empty where `shape` is cosine")?,
            Shape::Steps => {
                refuse(
                    !milestones.is_empty(),
                    "one epoch or more where `shape` is steps",
                )?;
                let ascending = milestones.windows(2).all(|pair| pair[0] < pair[1]);
                refuse(ascending, "ascending")?;
                let inside = |at: &u32| f64::from(*at) >= warmup_epochs.max(1.0) && *at < epochs;
                let expected = format!("behind the warm-up and below `epochs`, which is {epochs}");
                refuse(milestones.iter().all(inside), &expected)?;
            }
        }
        let positive = self.factor > 0.0 && self.factor < 1.0;
        OutOfRange::unless(
            positive,
            "factor",
            self.factor,
            "between 0 and 1, and neither",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(milestones: &[u32]) -> ScheduleSettings {
        ScheduleSettings {
            shape: Shape::Steps,
            milestones: milestones.to_vec(),
            ..ScheduleSettings::default()
        }
    }

    #[test]
    fn milestones_lie_between_the_warm_up_and_the_end() {
        ScheduleSettings::default().check(5, 2.0).unwrap();
        steps(&[2, 4]).check(5, 2.0).unwrap();
        for (milestones, words) in [
            (&[][..], "one epoch or more"),
            (&[1], "behind the warm-up"),
            (&[3, 5], "below `epochs`, which is 5"),
            (&[4, 3], "ascending"),
            (&[3, 3], "ascending"),
        ] {
            let text = steps(milestones).check(5, 2.0).unwrap_err().to_string();
            assert!(text.starts_with("`milestones` is ["), "{text}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_cosine_has_no_milestones_and_no_factor_raises_the_rate() {
        let cosine = ScheduleSettings {
            shape: Shape::Cosine,
            ..steps(&[3])
        };
        assert_eq!(cosine.check(5, 0.0).unwrap_err().key, "milestones");
        for factor in [0.0, 1.0, -0.1, f64::NAN] {
            let settings = ScheduleSettings {
                factor,
                ..steps(&[3])
            };
            assert_eq!(settings.check(5, 0.0).unwrap_err().key, "factor");
        }
    }
}
