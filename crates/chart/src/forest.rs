//! A forest plot: estimates below one another, each with its interval and what it was estimated from.

use crate::axis::{Axis, Frame, Quantity};
use crate::html::{Element, element};
use crate::marker::marker;
use crate::{canvas, label, shorten, stroke, text_width};

/// Height of a row in user units.
const ROW: f64 = 26.0;
/// Longest name that is written out, in characters.
const LONGEST: usize = 60;

/// One estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// What it is of.
    pub name: String,
    /// The mean.
    pub mean: f64,
    /// Half of the interval around it, where it has one.
    pub interval: Option<f64>,
    /// What the mean is of.
    pub values: Vec<f64>,
    /// Colour and marker.
    pub style: usize,
}

/// A plot of estimates over one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestPlot {
    /// For screen readers.
    pub title: String,
    /// The same in a sentence.
    pub description: String,
    /// Name and kind of the axis.
    pub x: (String, Quantity),
    /// From top to bottom.
    pub estimates: Vec<Estimate>,
    /// A value marked across the whole plot, as no difference.
    pub rule: Option<f64>,
    /// Width in user units.
    pub width: f64,
}

impl ForestPlot {
    /// Width and height in user units.
    pub fn size(&self) -> (f64, f64) {
        (self.width, 12.0 + ROW * self.estimates.len() as f64 + 48.0)
    }

    /// The plot as SVG.
    pub fn svg(&self) -> Element {
        let (width, height) = self.size();
        let names: Vec<String> = self
            .estimates
            .iter()
            .map(|estimate| shorten(&estimate.name, LONGEST))
            .collect();
        let longest = names
            .iter()
            .map(|name| text_width(name))
            .fold(40.0, f64::max);
        let left = (longest + 24.0).min(0.6 * width);
        let frame = Frame {
            left,
            top: 12.0,
            width: width - left - 24.0,
            height: height - 12.0 - 48.0,
        };
        let shown = self.estimates.iter().flat_map(|estimate| {
            let half = estimate.interval.unwrap_or(0.0);
            let ends = [estimate.mean - half, estimate.mean + half];
            estimate.values.iter().copied().chain(ends)
        });
        let x = Axis::over(shown.chain(self.rule), &self.x.0, self.x.1, 7, true);
        let place = |value: f64| frame.left + frame.width * x.position(value);
        let mut svg =
            canvas(width, height, &self.title, &self.description).child(x.draw_below(frame));
        if let Some(rule) = self.rule {
            svg = svg.child(stroke(
                "rule",
                place(rule),
                frame.top,
                place(rule),
                frame.bottom(),
            ));
        }
        for (row, (estimate, name)) in self.estimates.iter().zip(&names).enumerate() {
            let y = frame.top + ROW * (row as f64 + 0.5);
            svg = svg.child(draw(estimate, name, frame.left - 12.0, y, place));
        }
        svg
    }
}

fn draw(estimate: &Estimate, name: &str, left: f64, y: f64, place: impl Fn(f64) -> f64) -> Element {
    let mut row = element("g")
        .attr("data-series", &estimate.name)
        .child(label(left, y + 4.0, "end", "legend", name));
    for value in estimate.values.iter().filter(|value| value.is_finite()) {
        row = row.child(
            element("circle")
                .class("note value")
                .at("cx", place(*value))
                .at("cy", y + 6.0)
                .attr("r", "1.8"),
        );
    }
    if let Some(half) = estimate.interval.filter(|half| half.is_finite()) {
        let (from, to) = (place(estimate.mean - half), place(estimate.mean + half));
        row = row.child(stroke("base", from, y, to, y));
        for end in [from, to] {
            row = row.child(stroke("base", end, y - 3.5, end, y + 3.5));
        }
    }
    row.child(marker(estimate.style, place(estimate.mean), y))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(estimates: Vec<Estimate>) -> ForestPlot {
        ForestPlot {
            title: "Gain".into(),
            description: "of students".into(),
            x: ("top-1".into(), Quantity::Fraction),
            estimates,
            rule: Some(0.0),
            width: 600.0,
        }
    }

    fn estimate(name: &str, mean: f64, interval: Option<f64>) -> Estimate {
        Estimate {
            name: name.into(),
            mean,
            interval,
            values: vec![mean - 0.01, mean + 0.01],
            style: 1,
        }
    }

    #[test]
    fn each_estimate_has_a_row_with_its_values_and_the_interval_where_there_is_one() {
        let plot = plot(vec![
            estimate("one", 0.1, Some(0.05)),
            estimate("two", 0.2, None),
        ]);
        let svg = plot.svg().render();
        assert_eq!(svg.matches("class=\"note value\"").count(), 4);
        assert_eq!(svg.matches("class=\"rule\"").count(), 1);
        // An interval is a line and two ends; the axis has a base as well.
        assert_eq!(svg.matches("class=\"base\"").count(), 4);
        assert_eq!(plot.size().1, 12.0 + 2.0 * ROW + 48.0);
    }

    #[test]
    fn no_estimates_and_long_names_draw_without_nonsense() {
        for estimates in [
            vec![],
            vec![estimate(&"n".repeat(200), 0.0, Some(f64::INFINITY))],
        ] {
            let svg = plot(estimates).svg().render();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
