//! Params of the stage `quantize`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-quantize`, one folder up.

mod definition;

use fedact_recipe::{
    CalibrationSettings, Enough, Improve, ImproveSettings, Improvement, Method, RoundSettings,
    TuneSettings,
};
use fedact_stage::{OutOfRange, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;

/// Fewer calibration clips than this say too little about a network's activations.
pub const FEWEST_CLIPS: usize = 4;

/// Params of the stage `quantize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeParams {
    /// How the range of each activation is found: `min-max` covers every value seen, `percentile`
    /// leaves out a share at each end, `mse` takes the range with the least squared error,
    /// `entropy` that in which their distribution loses least, `auto` whichever of these leaves the logits of the
    /// calibration clips the largest ratio of signal to noise.
    pub method: Method,
    /// For `percentile`: the share of values in percent that lie below the upper end of the range
    /// (and above the lower); above 50, at most 100.
    pub percentile: f64,
    /// How many clips of the training split to calibrate on, drawn by `seed`; all where there are
    /// fewer. At least 4.
    pub clips: usize,
    /// What is done beyond that, from `equalise`, `bias`, `round`, `tune`: a list, which is done whole and in this order, or
    /// `auto`, which tries one after the other on top of what has helped, until the network is good `enough`.
    pub improve: Improve,
    /// When `auto` need try nothing more: both must hold on training clips that were not calibrated on.
    pub enough: Enough,
    /// How `round` learns which way to round.
    pub round: RoundSettings,
    /// How `tune` trains.
    pub tune: TuneSettings,
    /// Clips computed at a time.
    pub batch_size: usize,
    /// Threads that libtorch computes with; the last bits of results depend on it.
    pub threads: usize,
    /// Draws the calibration clips, and what improvements learn from them.
    pub seed: u64,
}

impl Default for QuantizeParams {
    fn default() -> Self {
        let CalibrationSettings { method, percentile } = CalibrationSettings::default();
        Self {
            method,
            percentile,
            clips: 128,
            improve: Improve::default(),
            enough: Enough::default(),
            round: RoundSettings::default(),
            tune: TuneSettings::default(),
            batch_size: 16,
            threads: 2,
            seed: 0,
        }
    }
}

impl QuantizeParams {
    /// What improving needs to know.
    pub fn improvements(&self) -> ImproveSettings {
        ImproveSettings {
            improve: self.improve.clone(),
            enough: self.enough,
            round: self.round,
            tune: self.tune,
            seed: self.seed,
        }
    }

    /// What the calibration needs to know.
    pub fn calibration(&self) -> CalibrationSettings {
        CalibrationSettings {
            method: self.method,
            percentile: self.percentile,
        }
    }
}

impl Params for QuantizeParams {
    fn check(&self) -> Result<(), OutOfRange> {
        let within = self.percentile > 50.0 && self.percentile <= 100.0;
        let expected = "above 50 and at most 100";
        OutOfRange::unless(within, "percentile", self.percentile, expected)?;
        let enough = (FEWEST_CLIPS..=1_000_000).contains(&self.clips);
        OutOfRange::unless(enough, "clips", self.clips, "between 4 and 1000000")?;
        if let Improve::These(these) = &self.improve {
            let once = (1..these.len()).all(|at| !these[..at].contains(&these[at]));
            let names: Vec<&str> = these.iter().map(|one| Improvement::name(*one)).collect();
            OutOfRange::unless(
                once,
                "improve",
                names.join(", "),
                "a list with each at most once",
            )?;
        }
        self.enough
            .check()
            .map_err(|error| error.within("enough"))?;
        self.round.check().map_err(|error| error.within("round"))?;
        self.tune.check().map_err(|error| error.within("tune"))?;
        let batch = (1..=4096).contains(&self.batch_size);
        OutOfRange::unless(batch, "batch_size", self.batch_size, "between 1 and 4096")?;
        let threads = (1..=1024).contains(&self.threads);
        OutOfRange::unless(threads, "threads", self.threads, "between 1 and 1024")
    }
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_defaults_resolve_and_methods_have_their_names() {
        let resolved = resolve::<QuantizeParams>(&Value::Null).unwrap();
        assert_eq!(resolved["clips"], 128);
        for method in ["min-max", "percentile", "mse"] {
            let resolved = resolve::<QuantizeParams>(&json!({"method": method})).unwrap();
            assert_eq!(resolved["method"], method);
        }
        let error = resolve::<QuantizeParams>(&json!({"method": "entropyy"})).unwrap_err();
        assert!(error.to_string().contains("min-max"), "{error}");
    }

    #[test]
    fn improvements_are_auto_or_a_list() {
        for improve in [json!("auto"), json!([]), json!(["bias", "tune"])] {
            let resolved = resolve::<QuantizeParams>(&json!({"improve": improve})).unwrap();
            assert_eq!(resolved["improve"], improve);
        }
        for (wrong, key) in [
            (json!("always"), "improve"),
            (json!(["adaround"]), "improve[0]"),
        ] {
            let error = resolve::<QuantizeParams>(&json!({"improve": wrong})).unwrap_err();
            assert_eq!(error.key(), key);
            assert!(error.to_string().contains("`round`"), "{error}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (key, value) in [
            ("percentile", json!(50.0)),
            ("percentile", json!(100.5)),
            ("clips", json!(3)),
            ("batch_size", json!(0)),
            ("threads", json!(0)),
            ("improve", json!(["bias", "round", "bias"])),
        ] {
            let error = resolve::<QuantizeParams>(&json!({ key: value })).unwrap_err();
            assert_eq!(error.key(), key);
        }
        for (part, key, value) in [
            ("enough", "logits_snr_db", json!(-1.0)),
            ("enough", "top1_lost", json!(1.5)),
            ("round", "iterations", json!(0)),
            ("round", "learning_rate", json!(0.0)),
            ("round", "positions", json!(3)),
            ("round", "batch_size", json!(5000)),
            ("tune", "epochs", json!(0)),
            ("tune", "learning_rate", json!(-1.0)),
            ("tune", "batch_size", json!(0)),
            ("tune", "temperature", json!(0.0)),
            ("tune", "labels", json!(2.0)),
        ] {
            let error = resolve::<QuantizeParams>(&json!({part: {key: value}})).unwrap_err();
            assert_eq!(error.key(), format!("{part}.{key}"));
        }
    }
}
