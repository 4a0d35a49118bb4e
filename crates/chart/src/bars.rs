//! Upright bars over whole numbers: a histogram of counts.

use crate::axis::{Axis, Frame, Quantity};
use crate::html::{Element, element};
use crate::marker::class;
use crate::{canvas, label, stroke, text_width};

/// Most bars side by side; what lies beyond is gathered in the last one.
const MOST_BARS: usize = 40;

/// Counts of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name in the legend.
    pub name: String,
    /// Colour.
    pub style: usize,
    /// How often each of 0, 1, 2, ... came up.
    pub counts: Vec<u64>,
}

/// A histogram; several groups stand side by side at each value.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// For screen readers.
    pub title: String,
    /// The same in a sentence.
    pub description: String,
    /// What is counted over.
    pub x: String,
    /// What the counts are of.
    pub y: String,
    /// The groups.
    pub groups: Vec<Group>,
    /// Size in user units.
    pub size: (f64, f64),
}

impl Histogram {
    /// The histogram as SVG.
    pub fn svg(&self) -> Element {
        let (width, height) = self.size;
        let frame = Frame {
            left: 62.0,
            top: 34.0,
            width: width - 62.0 - 16.0,
            height: height - 34.0 - 48.0,
        };
        let gathered: Vec<Vec<u64>> = self
            .groups
            .iter()
            .map(|group| gather(&group.counts))
            .collect();
        let bars = gathered.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let highest = gathered.iter().flatten().copied().max().unwrap_or(0);
        let y = Axis::over([0.0, highest as f64], &self.y, Quantity::Number, 5, true);
        let slot = frame.width / bars as f64;
        let bar = 0.8 * slot / self.groups.len().max(1) as f64;

        let mut svg = canvas(width, height, &self.title, &self.description)
            .children(self.legend())
            .child(y.draw_left(frame));
        for (place, (group, counts)) in self.groups.iter().zip(&gathered).enumerate() {
            let mut drawn = element("g").attr("data-series", &group.name);
            for (value, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let tall = frame.height * y.position(count as f64);
                let left = frame.left + slot * (value as f64 + 0.1) + bar * place as f64;
                drawn = drawn.child(
                    element("rect")
                        .class(format!("bar {}", class(group.style)))
                        .at("x", left)
                        .at("y", frame.bottom() - tall)
                        .at("width", (bar - 1.0).max(0.5))
                        .at("height", tall)
                        .child(
                            element("title").text(format!("{}: {count} at {value}", group.name)),
                        ),
                );
                if bar >= 15.0 {
                    drawn = drawn.child(label(
                        left + bar / 2.0,
                        frame.bottom() - tall - 4.0,
                        "middle",
                        "note",
                        &count.to_string(),
                    ));
                }
            }
            svg = svg.child(drawn);
        }
        svg.child(self.values(frame, bars, slot))
    }

    /// The values under the bars, thinned out where they would run into one another.
    fn values(&self, frame: Frame, bars: usize, slot: f64) -> Element {
        let longest = self
            .groups
            .iter()
            .map(|group| group.counts.len())
            .max()
            .unwrap_or(0);
        let every = (26.0 / slot).ceil().max(1.0) as usize;
        let mut axis = element("g").class("axis").child(stroke(
            "base",
            frame.left,
            frame.bottom(),
            frame.right(),
            frame.bottom(),
        ));
        for value in (0..bars).step_by(every) {
            let beyond = value + 1 == bars && longest > bars;
            let text = if beyond {
                format!("≥{value}")
            } else {
                value.to_string()
            };
            let x = frame.left + slot * (value as f64 + 0.5);
            axis = axis.child(label(x, frame.bottom() + 18.0, "middle", "tick", &text));
        }
        axis.child(label(
            frame.left + frame.width / 2.0,
            frame.bottom() + 38.0,
            "middle",
            "name",
            &self.x,
        ))
    }

    fn legend(&self) -> Vec<Element> {
        let mut x = 62.0;
        let mut entries = Vec::new();
        for group in &self.groups {
            entries.push(
                element("g")
                    .child(
                        element("rect")
                            .class(format!("bar {}", class(group.style)))
                            .at("x", x)
                            .attr("y", 6)
                            .attr("width", 12)
                            .attr("height", 12),
                    )
                    .child(label(x + 18.0, 16.0, "start", "legend", &group.name)),
            );
            x += 36.0 + text_width(&group.name);
        }
        entries
    }
}

/// Puts all counts beyond the last bar into it.
fn gather(counts: &[u64]) -> Vec<u64> {
    let mut kept: Vec<u64> = counts.iter().take(MOST_BARS).copied().collect();
    if let Some(last) = kept.last_mut() {
        *last += counts.iter().skip(MOST_BARS).sum::<u64>();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: Vec<u64>) -> Histogram {
        Histogram {
            title: "Staleness".into(),
            description: "of updates".into(),
            x: "staleness".into(),
            y: "updates".into(),
            groups: vec![Group {
                name: "async".into(),
                style: 0,
                counts,
            }],
            size: (640.0, 300.0),
        }
    }

    #[test]
    fn only_values_that_came_up_have_a_bar() {
        let svg = histogram(vec![4, 0, 2]).svg().render();
        assert!(svg.contains("async: 4 at 0"));
        assert!(svg.contains("async: 2 at 2"));
        assert!(!svg.contains("async: 0 at 1"));
    }

    #[test]
    fn nothing_counted_and_all_at_zero_draw_without_nonsense() {
        for counts in [vec![], vec![0], vec![7]] {
            let svg = histogram(counts).svg().render();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_long_tail_is_gathered_and_nothing_is_lost() {
        let counts = vec![1; 100];
        assert_eq!(gather(&counts).len(), MOST_BARS);
        assert_eq!(gather(&counts).iter().sum::<u64>(), 100);
    }
}
