//! One axis: from values to positions, with round ticks.

use crate::html::{Element, element};
use crate::units::{byte_unit, significant, time_unit};
use crate::{label, stroke};

/// What the values of an axis are, which decides how its ticks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Plain numbers.
    Number,
    /// Fractions, written in percent.
    Fraction,
    /// Seconds, written in the unit that fits the largest value.
    Seconds,
    /// Bytes, likewise.
    Bytes,
}

/// A linear axis over a range that has been widened to round ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What is measured, with the unit.
    pub title: String,
    /// Smallest value shown.
    pub low: f64,
    /// Largest value shown.
    pub high: f64,
    /// Where the ticks are, and what is written there.
    pub ticks: Vec<(f64, String)>,
}

/// The rectangle that a plot's data stand in, in user units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Frame {
    /// Right edge.
    pub fn right(self) -> f64 {
        self.left + self.width
    }

    /// Lower edge.
    pub fn bottom(self) -> f64 {
        self.top + self.height
    }
}

impl Axis {
    /// An axis that holds every finite value, with about `ticks` ticks; widened outward to the next
    /// tick if `round`, else ending exactly at the extremes. No values give 0 to 1; a single value gets
    /// room around it.
    pub fn over(
        values: impl IntoIterator<Item = f64>,
        name: &str,
        quantity: Quantity,
        ticks: usize,
        round: bool,
    ) -> Self {
        let (mut low, mut high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 * high.abs().max(1.0) {
            if low == 0.0 {
                high = 1.0;
            } else {
                (low, high) = (low - 0.5 * low.abs(), high + 0.5 * high.abs());
            }
        }
        let (size, symbol) = match quantity {
            Quantity::Number => (1.0, ""),
            Quantity::Fraction => (0.01, "%"),
            Quantity::Seconds => unit(time_unit(high)),
            Quantity::Bytes => unit(byte_unit(high)),
        };
        let (low, high, step) = round_range(low / size, high / size, ticks.max(2), round);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last)
            .map(|index| {
                let value = index as f64 * step;
                let text = significant(value, decimals_of(step, value));
                let suffix = if quantity == Quantity::Fraction {
                    "%"
                } else {
                    ""
                };
                (value * size, format!("{text}{suffix}"))
            })
            .collect();
        let title = match quantity {
            Quantity::Number | Quantity::Fraction => name.to_owned(),
            Quantity::Seconds | Quantity::Bytes => format!("{name} ({symbol})"),
        };
        Self {
            title,
            low: low * size,
            high: high * size,
            ticks,
        }
    }

    /// Where a value stands, 0 at the low end and 1 at the high end.
    pub fn position(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// Draws the axis below a frame.
    pub fn draw_below(&self, frame: Frame) -> Element {
        let mut group = element("g").class("axis");
        for (value, text) in &self.ticks {
            let x = frame.left + frame.width * self.position(*value);
            group = group
                .child(stroke("grid", x, frame.top, x, frame.bottom()))
                .child(label(x, frame.bottom() + 18.0, "middle", "tick", text));
        }
        group
            .child(stroke(
                "base",
                frame.left,
                frame.bottom(),
                frame.right(),
                frame.bottom(),
            ))
            .child(label(
                frame.left + frame.width / 2.0,
                frame.bottom() + 38.0,
                "middle",
                "name",
                &self.title,
            ))
    }

    /// Draws the axis left of a frame, its name above.
    pub fn draw_left(&self, frame: Frame) -> Element {
        let mut group = element("g").class("axis");
        for (value, text) in &self.ticks {
            let y = frame.bottom() - frame.height * self.position(*value);
            group = group
                .child(stroke("grid", frame.left, y, frame.right(), y))
                .child(label(frame.left - 8.0, y + 4.0, "end", "tick", text));
        }
        group.child(label(0.0, 0.0, "middle", "name", &self.title).attr(
            "transform",
            format!(
                "translate(14 {:.1}) rotate(-90)",
                frame.top + frame.height / 2.0
            ),
        ))
    }
}

fn unit(unit: crate::units::Unit) -> (f64, &'static str) {
    (unit.size, unit.symbol)
}

/// The range widened to whole steps (if `round`), and the step: 1, 2 or 5 times a power of ten.
fn round_range(low: f64, high: f64, ticks: usize, round: bool) -> (f64, f64, f64) {
    let rough = (high - low) / ticks as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|multiple| multiple * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    if round {
        (
            (low / step + 1e-9).floor() * step,
            (high / step - 1e-9).ceil() * step,
            step,
        )
    } else {
        (low, high, step)
    }
}

/// Significant digits that tell a tick from its neighbours.
fn decimals_of(step: f64, value: f64) -> usize {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let whole = if value.abs() >= 1.0 {
        value.abs().log10().floor() as usize + 1
    } else {
        1
    };
    decimals + whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::over([3.0, 97.0], "epochs", Quantity::Number, 5, true);
        assert_eq!(texts(&axis), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(axis.position(0.0), 0.0);
        assert_eq!(axis.position(100.0), 1.0);
    }

    #[test]
    fn fractions_are_written_in_percent() {
        let axis = Axis::over([0.13, 0.82], "top-1", Quantity::Fraction, 5, true);
        assert_eq!(texts(&axis), ["0%", "20%", "40%", "60%", "80%", "100%"]);
        assert!((axis.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn seconds_and_bytes_name_the_unit_once_in_the_title() {
        let axis = Axis::over([0.0, 1800.0], "time", Quantity::Seconds, 6, false);
        assert_eq!(axis.title, "time (min)");
        assert_eq!(texts(&axis), ["0", "5", "10", "15", "20", "25", "30"]);
        let axis = Axis::over([0.0, 2.5e6], "sent", Quantity::Bytes, 5, true);
        assert_eq!(axis.title, "sent (MB)");
        assert_eq!(texts(&axis), ["0", "0.5", "1", "1.5", "2", "2.5"]);
    }

    #[test]
    fn nothing_a_single_value_and_not_a_number_still_give_an_axis() {
        for values in [
            vec![],
            vec![0.0],
            vec![5.0],
            vec![-2.0],
            vec![f64::NAN, 3.0],
        ] {
            let axis = Axis::over(values.clone(), "x", Quantity::Number, 5, true);
            assert!(axis.low < axis.high, "{values:?}");
            assert!(axis.ticks.len() >= 2, "{values:?}: {:?}", axis.ticks);
            for value in values.into_iter().filter(|value| value.is_finite()) {
                assert!((0.0..=1.0).contains(&axis.position(value)));
            }
        }
    }

    #[test]
    fn neighbouring_ticks_never_read_the_same() {
        for high in [0.003, 0.07, 1.0, 9.3, 120.0, 12_345.0, 7e8] {
            let axis = Axis::over([0.0, high], "x", Quantity::Number, 6, true);
            let mut texts = texts(&axis);
            let before = texts.len();
            texts.dedup();
            assert_eq!(before, texts.len(), "{high}: {texts:?}");
        }
    }
}
