//! A square of counts with names on both sides: a confusion matrix.

use crate::html::{Element, element};
use crate::{canvas, label, shorten, text_width};

/// Beyond this many classes the counts are left out of the cells.
const MOST_COUNTS: usize = 24;
/// Beyond this many classes the names are left out too.
const MOST_NAMES: usize = 64;
/// Names are cut to this many characters.
const NAME_LENGTH: usize = 18;

/// Counts of predictions: a row per true class, a column per predicted class.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap<'a> {
    /// For screen readers.
    pub title: String,
    /// The same in a sentence.
    pub description: String,
    /// The classes' names.
    pub names: &'a [String],
    /// `counts[truth][predicted]`.
    pub counts: &'a [Vec<u32>],
}

impl HeatMap<'_> {
    /// The map as SVG. A cell is the darker, the larger the share of its row that it holds.
    pub fn svg(&self) -> Element {
        let classes = self.names.len().max(1);
        let named = classes <= MOST_NAMES;
        let cell = if classes <= MOST_COUNTS {
            27.0
        } else {
            (640.0 / classes as f64).clamp(2.0, 14.0)
        };
        let names: Vec<String> = self
            .names
            .iter()
            .map(|name| shorten(name, NAME_LENGTH))
            .collect();
        let longest = names
            .iter()
            .map(|name| text_width(name))
            .fold(0.0, f64::max);
        let margin = if named { longest + 12.0 } else { 10.0 };
        let left = margin + 22.0;
        let side = cell * classes as f64;
        // Names slant by 45 degrees, so they reach as far right of the square as they rise above it.
        let slant = 0.72 * margin;
        let top = slant + 30.0;
        let (width, height) = (left + side + slant.max(20.0), top + side + 8.0);

        let mut svg = canvas(width, height, &self.title, &self.description)
            .child(label(
                left + side / 2.0,
                14.0,
                "middle",
                "name",
                "the network says",
            ))
            .child(label(0.0, 0.0, "middle", "name", "in truth").attr(
                "transform",
                format!("translate(14 {:.1}) rotate(-90)", top + side / 2.0),
            ))
            .child(
                element("rect")
                    .class("heat-frame")
                    .at("x", left)
                    .at("y", top)
                    .at("width", side)
                    .at("height", side),
            );
        if named {
            for (index, name) in names.iter().enumerate() {
                let middle = cell * (index as f64 + 0.5);
                svg = svg
                    .child(label(left - 7.0, top + middle + 4.0, "end", "tick", name))
                    .child(label(0.0, 0.0, "start", "tick", name).attr(
                        "transform",
                        format!(
                            "translate({:.1} {:.1}) rotate(-45)",
                            left + middle + 3.0,
                            top - 6.0
                        ),
                    ));
            }
        }
        for (truth, row) in self.counts.iter().enumerate() {
            svg = svg.child(self.row(truth, row, (left, top, cell), classes <= MOST_COUNTS));
        }
        svg
    }

    fn row(
        &self,
        truth: usize,
        row: &[u32],
        (left, top, cell): (f64, f64, f64),
        counts: bool,
    ) -> Element {
        let total: u32 = row.iter().sum();
        let y = top + cell * truth as f64;
        let mut group = element("g");
        for (predicted, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = f64::from(count) / f64::from(total.max(1));
            let x = left + cell * predicted as f64;
            let right = if truth == predicted { "right" } else { "wrong" };
            let words = format!(
                "{} taken for {}: {count} of {total}",
                self.name(truth),
                self.name(predicted)
            );
            group = group.child(
                element("rect")
                    .class(format!("cell {right}"))
                    .at("x", x + 0.5)
                    .at("y", y + 0.5)
                    .at("width", cell - 1.0)
                    .at("height", cell - 1.0)
                    // Never so pale that a single mistake vanishes.
                    .attr("fill-opacity", format!("{:.2}", 0.12 + 0.88 * share))
                    .child(element("title").text(words)),
            );
            if counts {
                let ink = if share > 0.5 {
                    "count on-dark"
                } else {
                    "count"
                };
                group = group.child(label(
                    x + cell / 2.0,
                    y + cell / 2.0 + 4.0,
                    "middle",
                    ink,
                    &count.to_string(),
                ));
            }
        }
        group
    }

    fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("?", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("class {index}")).collect()
    }

    #[test]
    fn cells_say_what_was_taken_for_what() {
        let names = names(2);
        let counts = vec![vec![3, 1], vec![0, 4]];
        let svg = HeatMap {
            title: "student".into(),
            description: String::new(),
            names: &names,
            counts: &counts,
        }
        .svg()
        .render();
        assert!(svg.contains("class 0 taken for class 1: 1 of 4"));
        assert!(!svg.contains("class 1 taken for class 0"));
        assert_eq!(svg.matches("cell right").count(), 2);
        assert_eq!(svg.matches("cell wrong").count(), 1);
    }

    #[test]
    fn from_one_class_to_many_it_stays_finite_and_loses_detail_and_not_cells() {
        for (classes, counts_shown) in [(1, true), (30, false), (400, false)] {
            let names = names(classes);
            let counts: Vec<Vec<u32>> = (0..classes)
                .map(|truth| {
                    (0..classes)
                        .map(|predicted| u32::from(truth == predicted))
                        .collect()
                })
                .collect();
            let svg = HeatMap {
                title: String::new(),
                description: String::new(),
                names: &names,
                counts: &counts,
            }
            .svg()
            .render();
            assert_eq!(svg.matches("cell right").count(), classes);
            assert_eq!(svg.contains("count on-dark"), counts_shown);
            assert!(!svg.contains("NaN"));
        }
    }

    #[test]
    fn a_class_without_clips_leaves_an_empty_row() {
        let names = names(2);
        let counts = vec![vec![0, 0], vec![1, 1]];
        let svg = HeatMap {
            title: String::new(),
            description: String::new(),
            names: &names,
            counts: &counts,
        }
        .svg()
        .render();
        assert_eq!(svg.matches("class=\"cell").count(), 2);
    }
}
