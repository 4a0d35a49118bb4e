//! What is done about a network that loses too much in eight bits, and by which rule.

use std::fmt;

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What can be done about a network that loses too much in eight bits, from the cheapest to the dearest, which is also the
/// order in which it is done.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Improvement {
    /// Cross-layer equalisation: channels between two convolutions are scaled to be alike (Nagel et al. 2019, arXiv 1906.04721,
    /// section 4.1). The float network stays the same function.
    Equalise,
    /// Bias correction: what rounding adds to the mean of each channel is taken off its bias (the same paper, appendix D).
    Bias,
    /// AdaRound: whether a weight is rounded up or down is learned, layer by layer (Nagel et al. 2020, arXiv 2004.10568).
    Round,
    /// Quantization-aware training: the rounded network learns from a float one (Jacob et al. 2018, arXiv 1712.05877, section 3).
    Tune,
}

impl Improvement {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Equalise, Self::Bias, Self::Round, Self::Tune];

    /// As it stands in a pipeline.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equalise => "equalise",
            Self::Bias => "bias",
            Self::Round => "round",
            Self::Tune => "tune",
        }
    }
}

/// A rule by which improvements are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// One after the other is tried until the network is good [`Enough`]; what makes it no better is left out.
    Auto,
}

/// Which improvements are made: `auto`, or a list, which is done whole and in the order of [`Improvement::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Improve {
    /// As a rule says.
    By(Choice),
    /// These.
    These(Vec<Improvement>),
}

impl Improve {
    /// Those that may be made, in their order.
    pub fn candidates(&self) -> Vec<Improvement> {
        match self {
            Self::By(Choice::Auto) => Improvement::ALL.to_vec(),
            Self::These(these) => {
                let listed = |one: &Improvement| these.contains(one);
                Improvement::ALL.into_iter().filter(listed).collect()
            }
        }
    }

    /// Whether none is ever made.
    pub fn is_none(&self) -> bool {
        self.candidates().is_empty()
    }
}

impl Default for Improve {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

// Not derived: of an untagged enum that fits nowhere, serde says neither what was there nor what would be right.
impl<'de> Deserialize<'de> for Improve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Improve;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`auto` or a list of `equalise`, `bias`, `round`, `tune`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Improve, E> {
                match word {
                    "auto" => Ok(Improve::By(Choice::Auto)),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Improve, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Improve::These)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// When `auto` need try nothing more: both must hold on the clips by which it judges.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Enough {
    /// Ratio of signal to noise of the logits, in dB, at the least.
    pub logits_snr_db: f64,
    /// Share of the clips, at the most, that the float network gets right beyond those that the int8 one does; 0.005 is half a
    /// point of top-1.
    pub top1_lost: f64,
}

impl Default for Enough {
    fn default() -> Self {
        Self {
            logits_snr_db: 30.0,
            top1_lost: 0.005,
        }
    }
}

impl Enough {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let ratio = (0.0..=200.0).contains(&self.logits_snr_db);
        OutOfRange::unless(
            ratio,
            "logits_snr_db",
            self.logits_snr_db,
            "between 0 and 200",
        )?;
        let lost = (0.0..=1.0).contains(&self.top1_lost);
        OutOfRange::unless(lost, "top1_lost", self.top1_lost, "between 0 and 1")
    }
}

/// How rounding is learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoundSettings {
    /// Steps a layer.
    pub iterations: u32,
    /// Of Adam, on the variables behind the rectified sigmoid.
    pub learning_rate: f64,
    /// Places of its output that a layer learns from, drawn from all clips; each is a row of as many numbers as the
    /// layer has weights a channel.
    pub positions: usize,
    /// Of them in a step.
    pub batch_size: usize,
}

impl Default for RoundSettings {
    fn default() -> Self {
        Self {
            iterations: 500,
            learning_rate: 0.01,
            positions: 4096,
            batch_size: 256,
        }
    }
}

impl RoundSettings {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let steps = (1..=1_000_000).contains(&self.iterations);
        OutOfRange::unless(
            steps,
            "iterations",
            self.iterations,
            "between 1 and 1000000",
        )?;
        rate(self.learning_rate)?;
        let positions = (16..=10_000_000).contains(&self.positions);
        let expected = "between 16 and 10000000";
        OutOfRange::unless(positions, "positions", self.positions, expected)?;
        let batch = (1..=self.positions).contains(&self.batch_size);
        OutOfRange::unless(
            batch,
            "batch_size",
            self.batch_size,
            "between 1 and `positions`",
        )
    }
}

/// How a rounded network learns from a float one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TuneSettings {
    /// Passes over the calibration clips.
    pub epochs: u32,
    /// Of Adam, in the first step; it falls to 0 along half a cosine.
    pub learning_rate: f64,
    /// Clips a step.
    pub batch_size: usize,
    /// By which the logits of both are divided.
    pub temperature: f64,
    /// Share of the loss that is the labels' cross-entropy; the rest is the divergence from the teacher.
    pub labels: f64,
}

impl Default for TuneSettings {
    fn default() -> Self {
        Self {
            epochs: 10,
            learning_rate: 2e-5,
            batch_size: 16,
            temperature: 2.0,
            labels: 0.0,
        }
    }
}

impl TuneSettings {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let epochs = (1..=100_000).contains(&self.epochs);
        OutOfRange::unless(epochs, "epochs", self.epochs, "between 1 and 100000")?;
        rate(self.learning_rate)?;
        let batch = (1..=4096).contains(&self.batch_size);
        OutOfRange::unless(batch, "batch_size", self.batch_size, "between 1 and 4096")?;
        let warm = self.temperature > 0.0 && self.temperature <= 100.0;
        OutOfRange::unless(
            warm,
            "temperature",
            self.temperature,
            "above 0, at most 100",
        )?;
        let share = (0.0..=1.0).contains(&self.labels);
        OutOfRange::unless(share, "labels", self.labels, "between 0 and 1")
    }
}

fn rate(rate: f64) -> Result<(), OutOfRange> {
    let possible = rate > 0.0 && rate <= 10.0;
    OutOfRange::unless(possible, "learning_rate", rate, "above 0, at most 10")
}

/// What improving needs to know.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImproveSettings {
    /// What is done.
    pub improve: Improve,
    /// When `auto` stops.
    pub enough: Enough,
    /// For [`Improvement::Round`].
    pub round: RoundSettings,
    /// For [`Improvement::Tune`].
    pub tune: TuneSettings,
    /// Draws positions and the order of clips.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn improvements_are_a_rule_or_a_list_and_are_made_in_their_order() {
        let auto: Improve = serde_json::from_value(json!("auto")).unwrap();
        assert_eq!(auto.candidates(), Improvement::ALL);
        assert_eq!(serde_json::to_value(&auto).unwrap(), "auto");
        let list = json!(["round", "equalise"]);
        let these: Improve = serde_json::from_value(list.clone()).unwrap();
        assert_eq!(
            these.candidates(),
            [Improvement::Equalise, Improvement::Round]
        );
        assert_eq!(serde_json::to_value(&these).unwrap(), list);
        assert!(Improve::default().is_none());
        for one in Improvement::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.name());
        }
    }

    #[test]
    fn whatever_is_neither_is_told_what_would_be_right() {
        for wrong in [
            json!("bias"),
            json!(["bias", "adaround"]),
            json!({"bias": true}),
            json!(3),
        ] {
            let error = serde_json::from_value::<Improve>(wrong)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("`equalise`, `bias`, `round`, `tune`"),
                "{error}"
            );
        }
    }
}
