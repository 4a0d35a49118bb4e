//! Where the clients are: simulated in the step's process, or devices of one's own.

use fedact_federation::message::Codec;
use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FederateParams, StrategyKind};

/// Clips that a device is taken to hold where the centre has none to tell by.
const CLIPS_OF_A_DEVICE: u64 = 64;

/// So many times more than that is believed of a device that says more, unless `max_clips` says otherwise.
const MEANS_OF_A_DEVICE: u64 = 10;

/// Between coordinator and clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The clients are simulated, in virtual time.
    #[default]
    Simulation,
    /// The clients are devices of a fleet, which a NATS server connects; the step runs under `fedact fleet serve`.
    Nats,
}

impl Transport {
    /// The name used in params and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulation => "simulation",
            Self::Nats => "nats",
        }
    }
}

/// How a fleet is asked to work; without effect in a simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetParams {
    /// Clips that every device processes in a task, repeats counted; null: `local_epochs` passes over the clips that it says it has. Of one that
    /// has not said so it is taken that it has as many as a group of the train split has on average, 64 where there is no train
    /// split.
    pub clips_per_task: Option<u64>,
    /// No device counts for more clips than these, whatever it says; null: 10 times as many as are taken of one that says nothing.
    pub max_clips: Option<u64>,
    /// Seconds after which the task of a silent device is given up.
    pub lease_seconds: f64,
    /// Seconds without a sign of any device after which the run ends; null: it waits for ever.
    pub patience_seconds: Option<f64>,
    /// How a model goes to a device that has an earlier one: as the difference, encoded as updates are (see `codec`); null: whole, as to
    /// a device that has none. With `fp32` numbers, all kept, a device has the model bit for bit; with others it trains from what comes
    /// near it.
    pub down: Option<Codec>,
}

impl Default for FleetParams {
    fn default() -> Self {
        Self {
            clips_per_task: None,
            max_clips: None,
            lease_seconds: 60.0,
            patience_seconds: None,
            down: Some(Codec::exact()),
        }
    }
}

impl FederateParams {
    /// Clips of an ordinary task of a device that has not said how many it holds, repeats counted. The clips at the centre
    /// (`train_clips` of so many `groups`) tell what a person's videos come to.
    pub fn clips_per_task(&self, train_clips: usize, groups: usize) -> u64 {
        let length = self.task_length();
        let fixed = self.fleet.clips_per_task;
        fixed.unwrap_or_else(|| length.samples(clips_of_a_device(train_clips, groups)))
    }

    /// Passes over the clips of such a device that its task comes to.
    pub fn passes_of_a_task(&self, train_clips: usize, groups: usize) -> f64 {
        if self.fleet.clips_per_task.is_some() {
            return self.local_epochs;
        }
        let clips = clips_of_a_device(train_clips, groups);
        self.task_length().samples(clips) as f64 / clips as f64
    }

    /// The most clips that a device counts for whose tasks follow from what it says; none where all tasks have one length.
    pub fn max_clips(&self, train_clips: usize, groups: usize) -> Option<u64> {
        let FleetParams {
            clips_per_task,
            max_clips,
            ..
        } = self.fleet;
        let most = MEANS_OF_A_DEVICE * clips_of_a_device(train_clips, groups);
        clips_per_task.is_none().then(|| max_clips.unwrap_or(most))
    }

    pub(crate) fn check_transport(&self) -> Result<(), OutOfRange> {
        let FleetParams {
            clips_per_task,
            max_clips,
            lease_seconds,
            patience_seconds,
            down,
        } = &self.fleet;
        for (key, clips) in [
            ("fleet.clips_per_task", clips_per_task),
            ("fleet.max_clips", max_clips),
        ] {
            let fits = clips.is_none_or(|clips| (1..=1_000_000_000).contains(&clips));
            let expected = "between 1 and 1000000000";
            OutOfRange::unless(fits, key, clips.unwrap_or_default(), expected)?;
        }
        let fits = (1.0..=86_400.0).contains(lease_seconds);
        let expected = "between 1 and 86400";
        OutOfRange::unless(fits, "fleet.lease_seconds", lease_seconds, expected)?;
        if let Some(seconds) = patience_seconds {
            let fits = seconds.is_finite() && seconds > lease_seconds;
            let expected = "a finite number above `fleet.lease_seconds`";
            OutOfRange::unless(fits, "fleet.patience_seconds", seconds, expected)?;
        }
        if let Some(down) = down {
            if let Some((key, value, expected)) = down.fault() {
                return OutOfRange::unless(false, &format!("fleet.down.{key}"), value, expected);
            }
            let fits = !down.is_exact() || down.zstd.is_some();
            let expected = "a level where `numbers` are fp32 and all kept: only zstd makes such a difference \
                            shorter than the model";
            OutOfRange::unless(fits, "fleet.down.zstd", "null", expected)?;
        }
        let fits =
            self.transport == Transport::Simulation || self.strategy != StrategyKind::Central;
        let expected = "`simulation` under the strategy `central`, which has no clients";
        OutOfRange::unless(fits, "transport", self.transport.name(), expected)
    }
}

/// What a device is taken to hold that has not said so.
fn clips_of_a_device(train_clips: usize, groups: usize) -> u64 {
    let mean = (train_clips as u64).checked_div(groups as u64);
    let clips = mean.filter(|clips| *clips > 0);
    clips.unwrap_or(CLIPS_OF_A_DEVICE)
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::{Value, json};

    use super::*;

    fn params(given: &Value) -> FederateParams {
        serde_json::from_value(resolve::<FederateParams>(given).unwrap()).unwrap()
    }

    #[test]
    fn clients_are_simulated_unless_a_fleet_is_asked_for() {
        assert_eq!(params(&json!({})).transport, Transport::Simulation);
        let served = params(&json!({"transport": "nats", "fleet": {"lease_seconds": 5}}));
        assert_eq!(served.transport, Transport::Nats);
        assert_eq!(served.fleet.lease_seconds, 5.0);
        assert_eq!(served.fleet.patience_seconds, None);
    }

    #[test]
    fn differences_are_exact_unless_others_are_asked_for() {
        let down = |fleet: Value| params(&json!({"fleet": fleet})).fleet.down;
        assert!(down(json!({})).is_some_and(|codec| codec.is_exact()));
        assert_eq!(down(json!({"down": null})), None);
        let lossy = down(json!({"down": {"numbers": "int8", "zstd": 1}}));
        assert!(lossy.is_some_and(|codec| !codec.is_exact()));
    }

    #[test]
    fn a_task_is_as_long_as_the_centres_groups_suggest_or_as_it_is_told() {
        let mut params = params(&json!({"transport": "nats", "local_epochs": 3}));
        assert_eq!(params.clips_per_task(48, 4), 36);
        assert_eq!(params.passes_of_a_task(48, 4), 3.0);
        assert_eq!(params.clips_per_task(0, 0), 3 * CLIPS_OF_A_DEVICE);
        params.fleet.clips_per_task = Some(50);
        assert_eq!(params.clips_per_task(48, 4), 50);
        params.fleet.clips_per_task = None;
        // A third of 12 clips: one step of 8, two thirds of a pass.
        params.local_epochs = 1.0 / 3.0;
        assert_eq!(params.clips_per_task(48, 4), 8);
        assert_eq!(params.passes_of_a_task(48, 4), 2.0 / 3.0);
    }

    #[test]
    fn a_device_that_says_how_many_clips_it_has_is_believed_up_to_a_bound() {
        let mut params = params(&json!({"transport": "nats", "local_epochs": 3}));
        assert_eq!(params.max_clips(48, 4), Some(120));
        assert_eq!(params.max_clips(0, 0), Some(10 * CLIPS_OF_A_DEVICE));
        params.fleet.max_clips = Some(7);
        assert_eq!(params.max_clips(48, 4), Some(7));
        params.fleet.clips_per_task = Some(50);
        assert_eq!(params.max_clips(48, 4), None);
    }

    #[test]
    fn what_a_fleet_cannot_do_is_named() {
        for (given, message) in [
            (
                json!({"transport": "nats", "strategy": "central"}),
                "`transport` is nats, but must be `simulation` under the strategy `central`",
            ),
            (
                json!({"fleet": {"clips_per_task": 0}}),
                "`fleet.clips_per_task` is 0, but must be between 1 and 1000000000",
            ),
            (
                json!({"fleet": {"max_clips": 1_000_000_001}}),
                "`fleet.max_clips` is 1000000001, but must be between 1 and 1000000000",
            ),
            (
                json!({"fleet": {"lease_seconds": 0.5}}),
                "`fleet.lease_seconds` is 0.5, but must be between 1 and 86400",
            ),
            (
                json!({"fleet": {"lease_seconds": 10, "patience_seconds": 10}}),
                "`fleet.patience_seconds` is 10, but must be a finite number above `fleet.lease_seconds`",
            ),
            (
                json!({"fleet": {"down": {"numbers": "int8", "block": 4}}}),
                "`fleet.down.block` is 4, but must be between 8 and 1048576",
            ),
            (
                json!({"fleet": {"down": {}}}),
                "`fleet.down.zstd` is null, but must be a level",
            ),
        ] {
            let error = resolve::<FederateParams>(&given).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
