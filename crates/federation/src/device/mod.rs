//! Device profiles: what a client runs on, as data (`devices.yaml`, built into the library).

mod availability;
mod measured;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use availability::Availability;
pub use measured::Measurement;

/// A number with where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number, in the unit that its key names.
    pub value: f64,
    /// Where it comes from: a data sheet, a measurement, or how it was derived.
    #[serde(default)]
    pub source: String,
    /// Nobody measured it for this model on this device.
    #[serde(default)]
    pub estimate: bool,
}

/// A device that now and then loses its task: switched off, out of reach, out of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropOut {
    /// The chance that a task is lost on the way; 0 to 0.9.
    pub probability: f64,
    /// Virtual seconds until the device is back.
    pub return_seconds: f64,
}

/// How fast one kind of device works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Clips a second of the reference model in training.
    pub training_clips_per_second: Figure,
    /// Clips a second of the reference model in inference.
    pub inference_clips_per_second: Figure,
    /// Download bandwidth in 10^6 bits a second.
    pub down_megabits_per_second: Figure,
    /// Upload bandwidth in 10^6 bits a second.
    pub up_megabits_per_second: Figure,
    /// Seconds before the first byte of a transfer arrives.
    pub latency_seconds: Figure,
    /// Main memory in 10^9 bytes.
    pub memory_gigabytes: Figure,
    /// Power drawn while it trains.
    pub watts: Figure,
    /// Power drawn while it only downloads or uploads; left out: a quarter of `watts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_watts: Option<Figure>,
    /// Spread of the time that a task takes: the standard deviation of its logarithm.
    pub jitter: Figure,
    /// Whether it loses tasks; left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_out: Option<DropOut>,
    /// When it takes part; left out: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
}

impl DeviceProfile {
    /// What is wrong with its figures, if anything: the key and what it must be.
    pub fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        const POSITIVE: &str = "a finite number above 0";
        for (key, figure) in [
            ("training_clips_per_second", &self.training_clips_per_second),
            (
                "inference_clips_per_second",
                &self.inference_clips_per_second,
            ),
            ("down_megabits_per_second", &self.down_megabits_per_second),
            ("up_megabits_per_second", &self.up_megabits_per_second),
            ("memory_gigabytes", &self.memory_gigabytes),
            ("watts", &self.watts),
        ] {
            if !(figure.value.is_finite() && figure.value > 0.0) {
                return Some((key, figure.value, POSITIVE));
            }
        }
        if let Some(figure) = &self.transfer_watts
            && !(figure.value.is_finite() && figure.value >= 0.0)
        {
            return Some(("transfer_watts", figure.value, "a finite number, 0 or more"));
        }
        if !(0.0..=3600.0).contains(&self.latency_seconds.value) {
            let value = self.latency_seconds.value;
            return Some(("latency_seconds", value, "between 0 and 3600"));
        }
        if !(0.0..=2.0).contains(&self.jitter.value) {
            return Some(("jitter", self.jitter.value, "between 0 and 2"));
        }
        if let Some(drop_out) = &self.drop_out {
            if !(0.0..=0.9).contains(&drop_out.probability) {
                let value = drop_out.probability;
                return Some(("drop_out.probability", value, "between 0 and 0.9"));
            }
            if !(drop_out.return_seconds.is_finite() && drop_out.return_seconds >= 0.0) {
                let value = drop_out.return_seconds;
                return Some((
                    "drop_out.return_seconds",
                    value,
                    "a finite number, 0 or more",
                ));
            }
        }
        self.availability.as_ref().and_then(Availability::fault)
    }
}

/// The model that profiles are stated for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Network, width and geometry.
    pub name: String,
    /// Multiply-accumulates of one clip's forward pass.
    pub multiply_accumulates: u64,
}

/// All known device profiles and the model they are stated for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The model.
    pub reference: Reference,
    /// The profiles by name, as in `jetson-nano`.
    pub profiles: BTreeMap<String, DeviceProfile>,
}

/// A profile that nobody described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device profile `{name}`; known: {}", known.join(", "))]
pub struct UnknownDevice {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<String>,
}

impl Catalogue {
    /// The built-in profiles.
    ///
    /// # Panics
    /// Never in a build whose tests pass: the file is part of the library.
    pub fn built_in() -> Self {
        serde_yaml::from_str(include_str!("../devices.yaml"))
            .unwrap_or_else(|error| panic!("the built-in devices.yaml: {error}"))
    }

    /// Adds profiles, replacing those of the same name.
    #[must_use]
    pub fn with(mut self, profiles: &BTreeMap<String, DeviceProfile>) -> Self {
        self.profiles.extend(
            profiles
                .iter()
                .map(|(name, profile)| (name.clone(), profile.clone())),
        );
        self
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// Lists the known names.
    pub fn profile(&self, name: &str) -> Result<&DeviceProfile, UnknownDevice> {
        self.profiles.get(name).ok_or_else(|| UnknownDevice {
            name: name.to_owned(),
            known: self.profiles.keys().cloned().collect(),
        })
    }

    /// Clips a second that a device trains on with a model of `multiply_accumulates` a clip: the
    /// reference figure scaled by work.
    pub fn training_rate(&self, profile: &DeviceProfile, multiply_accumulates: u64) -> f64 {
        let scale = self.reference.multiply_accumulates as f64 / multiply_accumulates.max(1) as f64;
        profile.training_clips_per_second.value * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_whole_and_every_figure_names_its_source() {
        let catalogue = Catalogue::built_in();
        for name in [
            "jetson-nano",
            "jetson-tx2",
            "jetson-xavier-nx",
            "jetson-agx-xavier",
            "jetson-orin-nano",
            "raspberry-pi-4",
            "raspberry-pi-5",
            "phone",
            "laptop",
            "server",
        ] {
            let profile = catalogue.profile(name).unwrap();
            assert_eq!(profile.fault(), None, "{name}");
            for figure in [
                &profile.training_clips_per_second,
                &profile.inference_clips_per_second,
                &profile.down_megabits_per_second,
                &profile.up_megabits_per_second,
                &profile.latency_seconds,
                &profile.memory_gigabytes,
                &profile.watts,
                profile.transfer_watts.as_ref().unwrap(),
                &profile.jitter,
            ] {
                assert!(!figure.source.is_empty(), "{name}: {figure:?}");
            }
            assert!(
                profile.training_clips_per_second.estimate,
                "{name}: no training rate was measured yet"
            );
        }
    }

    #[test]
    fn twice_the_work_is_half_the_rate() {
        let catalogue = Catalogue::built_in();
        let profile = catalogue.profile("jetson-nano").unwrap();
        let reference = catalogue.reference.multiply_accumulates;
        let rate = profile.training_clips_per_second.value;
        assert_eq!(catalogue.training_rate(profile, reference), rate);
        assert_eq!(catalogue.training_rate(profile, 2 * reference), rate / 2.0);
    }

    #[test]
    fn own_profiles_replace_and_unknown_ones_are_named() {
        let mut own = Catalogue::built_in().profile("phone").unwrap().clone();
        own.watts.value = 9.0;
        let own = BTreeMap::from([("phone".to_owned(), own)]);
        let catalogue = Catalogue::built_in().with(&own);
        assert_eq!(catalogue.profile("phone").unwrap().watts.value, 9.0);
        let message = catalogue.profile("pohne").unwrap_err().to_string();
        assert!(
            message.contains("`pohne`") && message.contains("phone, "),
            "{message}"
        );
    }

    #[test]
    fn impossible_figures_are_found() {
        let mut profile = Catalogue::built_in().profile("phone").unwrap().clone();
        profile.up_megabits_per_second.value = 0.0;
        assert_eq!(profile.fault().unwrap().0, "up_megabits_per_second");
    }
}
