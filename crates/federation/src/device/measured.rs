//! A profile of a machine that was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Catalogue, DeviceProfile, Figure};

/// What was measured on a machine, with the reference model.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The processor, as the system calls it.
    pub processor: String,
    /// Threads that worked.
    pub threads: usize,
    /// Clips a second in training.
    pub training_clips_per_second: f64,
    /// Clips a second in inference.
    pub inference_clips_per_second: f64,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// The spread of the time of a step of training: the standard deviation of its logarithm.
    pub jitter: f64,
}

impl Measurement {
    /// A profile with what was measured; the link and the watts, which were not, are those of the built-in `laptop`
    /// and marked as estimates.
    ///
    /// # Panics
    /// Never in a build whose tests pass: the built-in profiles have a `laptop`.
    pub fn profile(&self) -> DeviceProfile {
        let catalogue = Catalogue::built_in();
        let laptop = catalogue
            .profile("laptop")
            .unwrap_or_else(|error| panic!("the built-in devices.yaml: {error}"));
        let source = format!(
            "measured by `fedact doctor --profile` on {}, {} threads: {}",
            self.processor, self.threads, catalogue.reference.name
        );
        let figure = |value: f64, source: &str| Figure {
            value: significant(value),
            source: source.to_owned(),
            estimate: false,
        };
        let guessed = |figure: &Figure| Figure {
            source: format!("not measured here; {}", figure.source),
            estimate: true,
            ..figure.clone()
        };
        DeviceProfile {
            description: format!("{}, {} threads", self.processor, self.threads),
            training_clips_per_second: figure(self.training_clips_per_second, &source),
            inference_clips_per_second: figure(self.inference_clips_per_second, &source),
            memory_gigabytes: figure(self.memory_bytes as f64 / 1e9, "as the system says"),
            jitter: figure(self.jitter, &source),
            down_megabits_per_second: guessed(&laptop.down_megabits_per_second),
            up_megabits_per_second: guessed(&laptop.up_megabits_per_second),
            latency_seconds: guessed(&laptop.latency_seconds),
            watts: guessed(&laptop.watts),
            transfer_watts: laptop.transfer_watts.as_ref().map(guessed),
            drop_out: None,
            availability: None,
        }
    }

    /// The profile under a name, as YAML that goes into the params of `federate` as it is.
    ///
    /// # Errors
    /// The YAML cannot be written.
    pub fn to_yaml(&self, name: &str) -> Result<String, serde_yaml::Error> {
        #[derive(Serialize)]
        struct Params {
            profiles: BTreeMap<String, DeviceProfile>,
        }
        serde_yaml::to_string(&Params {
            profiles: BTreeMap::from([(name.to_owned(), self.profile())]),
        })
    }
}

/// To three digits: what a measurement is good for.
fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(value.abs().log10().floor() as i32 - 2);
    let rounded = (value / unit).round() * unit;
    // Through its shortest digits, so that 0.123 is not 0.12300000000000001.
    format!("{rounded:.12}").parse().unwrap_or(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Measurement = Measurement {
        processor: String::new(),
        threads: 2,
        training_clips_per_second: 12.3456,
        inference_clips_per_second: 1034.4,
        memory_bytes: 16_700_000_000,
        jitter: 0.123_456,
    };

    #[test]
    fn what_is_printed_is_a_profile_that_federate_takes() {
        #[derive(serde::Deserialize)]
        struct Params {
            profiles: BTreeMap<String, DeviceProfile>,
        }
        let machine = Measurement {
            processor: "Cortex: A76 'big' #1".into(),
            ..MACHINE
        };
        let yaml = machine.to_yaml("my-board").unwrap();
        let params: Params = serde_yaml::from_str(&yaml).unwrap();
        let profile = &params.profiles["my-board"];
        assert_eq!(*profile, machine.profile());
        assert_eq!(profile.fault(), None);
        assert_eq!(profile.training_clips_per_second.value, 12.3);
        assert_eq!(profile.inference_clips_per_second.value, 1030.0);
        assert_eq!(profile.memory_gigabytes.value, 16.7);
        assert_eq!(profile.jitter.value, 0.123);
        assert!(profile.jitter.source.contains("Cortex: A76"), "{yaml}");
        assert!(!profile.training_clips_per_second.estimate && profile.watts.estimate);
        let catalogue = Catalogue::built_in().with(&params.profiles);
        assert!(catalogue.profile("my-board").is_ok());
    }

    #[test]
    fn nothing_measured_is_no_profile() {
        let idle = Measurement {
            training_clips_per_second: 0.0,
            ..MACHINE
        };
        assert_eq!(
            idle.profile().fault().unwrap().0,
            "training_clips_per_second"
        );
    }
}
