//! Params of the stage `teach`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-teach`, one folder up.

mod definition;

use fedact_recipe::{Augmentation, ComputeDevice, Views};
use fedact_stage::{OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;

/// The params of `teach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TeachParams {
    /// Random views of the training clips. Students must be given the same.
    pub augmentation: Augmentation,
    /// How many views of each clip there are. A student sees another in each epoch, and the first again after the
    /// last.
    pub views: u32,
    /// Draws the views.
    pub seed: u64,
    /// Clips computed at a time.
    pub batch_size: usize,
    /// Where to compute. The last bits of the answers depend on it.
    pub device: ComputeDevice,
    /// Threads to compute with. The last bits of the answers depend on the number.
    pub threads: usize,
}

impl Default for TeachParams {
    fn default() -> Self {
        Self {
            augmentation: Augmentation::default(),
            views: 20,
            seed: 0,
            batch_size: 16,
            device: ComputeDevice::Cpu,
            threads: 2,
        }
    }
}

impl TeachParams {
    /// The views to answer to.
    pub fn drawn(&self) -> Views {
        Views {
            seed: self.seed,
            count: self.views,
        }
    }
}

impl Params for TeachParams {
    fn check(&self) -> Result<(), OutOfRange> {
        self.augmentation
            .check()
            .map_err(|refusal| refusal.within("augmentation"))?;
        for (key, value, most) in [
            ("views", u64::from(self.views), 100_000),
            ("batch_size", self.batch_size as u64, 65_536),
            ("threads", self.threads as u64, 1024),
        ] {
            let expected = format!("between 1 and {most}");
            OutOfRange::unless((1..=most).contains(&value), key, value, &expected)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        let resolved = resolve::<TeachParams>(&Value::Null).unwrap();
        assert_eq!(resolved["views"], 20);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (key, value) in [
            ("views", json!({"views": 0})),
            ("batch_size", json!({"batch_size": 0})),
            ("threads", json!({"threads": 2000})),
            (
                "augmentation.scale",
                json!({"augmentation": {"scale": [0.9, 0.5]}}),
            ),
        ] {
            let error = resolve::<TeachParams>(&value).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
        }
    }
}
