//! Device profiles: what a client runs on, as data (`devices.yaml`, built into the library).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// When a device takes part: at certain times of a period that repeats, as in a night on the charger. A task that has not ended when its
/// device leaves is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Availability {
    /// Virtual seconds after which the windows come again; a day, if left out.
    #[serde(default = "a_day")]
    pub every_seconds: f64,
    /// From when to when in each period, in virtual seconds since its begin: ascending, not overlapping. The run begins with a period.
    pub windows: Vec<[f64; 2]>,
    /// Each client's windows are later by a time of its own between 0 and this many virtual seconds, because not all live alike.
    #[serde(default)]
    pub spread_seconds: f64,
}

fn a_day() -> f64 {
    86_400.0
}

impl Availability {
    /// What is wrong with it, if anything: the key, the value and what it must be.
    fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let every = self.every_seconds;
        if !(every.is_finite() && every > 0.0) {
            return Some((
                "availability.every_seconds",
                every,
                "a finite number above 0",
            ));
        }
        if !(0.0..=every).contains(&self.spread_seconds) {
            let value = self.spread_seconds;
            return Some((
                "availability.spread_seconds",
                value,
                "between 0 and `every_seconds`",
            ));
        }
        const KEY: &str = "availability.windows";
        if self.windows.is_empty() {
            return Some((KEY, 0.0, "at least one window"));
        }
        let mut last = f64::NEG_INFINITY;
        for [from, to] in &self.windows {
            if !(*from >= 0.0 && *from > last) {
                return Some((
                    KEY,
                    *from,
                    "0 or more, and later than the window before ends",
                ));
            }
            if !(to > from && *to <= every) {
                return Some((
                    KEY,
                    *to,
                    "later than its window begins, and within `every_seconds`",
                ));
            }
            last = *to;
        }
        let [first, _] = self.windows[0];
        (last - first >= every).then_some((
            KEY,
            last,
            "less than always; leave `availability` out for that",
        ))
    }

    /// The window that is open at `time`, or the next one: from when to when, as virtual times. `shift` is the client's own delay.
    pub fn window(&self, time: f64, shift: f64) -> (f64, f64) {
        let period = ((time - shift) / self.every_seconds).floor();
        [period, period + 1.0]
            .into_iter()
            .flat_map(|period| {
                let begin = period * self.every_seconds + shift;
                self.windows
                    .iter()
                    .map(move |[from, to]| (begin + from, begin + to))
            })
            .find(|(_, to)| *to > time)
            .unwrap_or((time, f64::INFINITY))
    }
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
        serde_yaml::from_str(include_str!("devices.yaml"))
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

    /// Two windows of a day that begins at noon, in hours: from 22 to 6, and from 9 to 10.
    fn nights() -> Availability {
        let hour = 3600.0;
        Availability {
            every_seconds: 24.0 * hour,
            windows: vec![[10.0 * hour, 18.0 * hour], [21.0 * hour, 22.0 * hour]],
            spread_seconds: 0.0,
        }
    }

    #[test]
    fn the_window_is_the_open_one_or_the_next_in_this_period_or_the_one_after() {
        let hours = |time: f64, shift: f64| {
            let (from, to) = nights().window(time * 3600.0, shift * 3600.0);
            (from / 3600.0, to / 3600.0)
        };
        assert_eq!(hours(0.0, 0.0), (10.0, 18.0));
        assert_eq!(hours(17.9, 0.0), (10.0, 18.0));
        assert_eq!(hours(18.0, 0.0), (21.0, 22.0));
        assert_eq!(hours(22.0, 0.0), (34.0, 42.0));
        assert_eq!(
            hours(24.0 * 9.0 + 11.0, 0.0),
            (24.0 * 9.0 + 10.0, 24.0 * 9.0 + 18.0)
        );
        // Five hours later than the others: the second window of the day before is still to come.
        assert_eq!(hours(1.0, 5.0), (2.0, 3.0));
        assert_eq!(hours(4.0, 5.0), (15.0, 23.0));
    }

    #[test]
    fn impossible_windows_are_found() {
        let fault = |change: fn(&mut Availability)| {
            let mut profile = Catalogue::built_in().profile("phone").unwrap().clone();
            let mut availability = nights();
            change(&mut availability);
            profile.availability = Some(availability);
            profile.fault().map(|(key, ..)| key)
        };
        assert_eq!(fault(|_| {}), None);
        let windows = Some("availability.windows");
        assert_eq!(fault(|nights| nights.windows.clear()), windows);
        assert_eq!(fault(|nights| nights.windows.swap(0, 1)), windows);
        assert_eq!(fault(|nights| nights.windows[1][1] = 90_000.0), windows);
        assert_eq!(
            fault(|nights| nights.windows = vec![[0.0, 86_400.0]]),
            windows
        );
        assert_eq!(fault(|nights| nights.windows[0][0] = f64::NAN), windows);
        assert_eq!(
            fault(|nights| nights.every_seconds = 0.0),
            Some("availability.every_seconds")
        );
        assert_eq!(
            fault(|nights| nights.spread_seconds = -1.0),
            Some("availability.spread_seconds")
        );
    }
}
