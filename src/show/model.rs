//! What a result costs to use, where it is a model.

use std::io::Read as _;

use fedact_artifact::{EntryPath, Manifest, Store};
use fedact_code::Pace;
use fedact_recipe::{Architecture, Cost};
use serde::{Deserialize, Serialize};

use crate::work::{Unusable, Work};

/// The file in which a model says what it is.
const DESCRIPTION: &str = "model.json";

/// The part of `model.json` that decides what a model costs.
#[derive(Debug, Deserialize)]
struct Description {
    architecture: Architecture,
    classes: Vec<String>,
    input: Input,
    quantization: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Input {
    frames: usize,
    height: usize,
    width: usize,
}

/// What a model costs.
#[derive(Debug, Serialize)]
pub(super) struct ModelCost {
    architecture: String,
    /// Frames, height and width of a clip.
    input: [usize; 3],
    classes: usize,
    parameters: u64,
    /// Multiplications with an addition that one clip takes.
    multiply_adds: u64,
    quantized: bool,
    /// How long a clip takes on this machine, in 32 bits; none where that cannot be measured.
    pace: Option<Pace>,
    #[serde(skip)]
    unmeasured: Option<String>,
}

impl ModelCost {
    /// `None` where the output is no model, or one that this program does not know.
    pub(super) fn of(store: &Store, manifest: &Manifest) -> Option<Self> {
        let text = description(store, manifest)?;
        let description: Description = serde_json::from_str(&text).ok()?;
        let Input {
            frames,
            height,
            width,
        } = description.input;
        let input = [frames, height, width];
        let layout = description.architecture.layout().ok()?;
        let cost = layout.cost(input.map(|side| side as i64), description.classes.len());
        let quantized = description.quantization.is_some();
        let (pace, unmeasured) = match measure(&text) {
            Ok(pace) => (Some(pace), None),
            Err(why) => (None, Some(why)),
        };
        Some(Self {
            architecture: description.architecture.to_string(),
            input,
            classes: description.classes.len(),
            parameters: trainable(cost, quantized),
            multiply_adds: cost.multiply_adds,
            quantized,
            pace,
            unmeasured,
        })
    }
}

/// Quantized models have batch norm folded away.
fn trainable(cost: Cost, quantized: bool) -> u64 {
    if quantized {
        cost.folded_parameters
    } else {
        cost.parameters
    }
}

/// The text of `model.json`.
fn description(store: &Store, manifest: &Manifest) -> Option<String> {
    let path = EntryPath::new(DESCRIPTION).ok()?;
    let (_, _, digest) = manifest.files().find(|(found, ..)| **found == path)?;
    let mut text = String::new();
    let mut content = store.reader(manifest).open(&digest).ok()?;
    content.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Has the library of the stages run such a network.
fn measure(description: &str) -> Result<Pace, String> {
    let library = Work::find().and_then(|work| work.load());
    let library = library.map_err(|Unusable { message, .. }| message)?;
    library.measure(description)
}

impl std::fmt::Display for ModelCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [frames, height, width] = self.input;
        writeln!(
            f,
            "model    {}{}, {} classes, clips of {frames} frames of {width}x{height}",
            self.architecture,
            if self.quantized { " in int8" } else { "" },
            self.classes
        )?;
        writeln!(f, "  parameters: {}", grouped(self.parameters))?;
        writeln!(f, "  multiply-adds a clip: {}", scaled(self.multiply_adds))?;
        match (&self.pace, &self.unmeasured) {
            (Some(pace), _) => writeln!(
                f,
                "  milliseconds a clip: {:.2} here, on {} thread{}{}",
                pace.milliseconds,
                pace.threads,
                if pace.threads == 1 { "" } else { "s" },
                if self.quantized { ", in float32" } else { "" },
            ),
            (None, why) => writeln!(
                f,
                "  milliseconds a clip: not measured, {}",
                why.as_deref().unwrap_or("for no reason")
            ),
        }
    }
}

/// `33,371,472`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `40.7 billion`, `12.3 million`: three digits that count.
fn scaled(number: u64) -> String {
    let (value, unit) = match number {
        0..1_000_000 => return grouped(number),
        1_000_000..1_000_000_000 => (number as f64 / 1e6, "million"),
        _ => (number as f64 / 1e9, "billion"),
    };
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(33_371_472), "33,371,472");
        assert_eq!(scaled(999_999), "999,999");
        assert_eq!(scaled(12_345_678), "12.3 million");
        assert_eq!(scaled(1_962_000_000), "1.96 billion");
        assert_eq!(scaled(943_000_000), "943 million");
    }
}
