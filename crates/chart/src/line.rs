//! Lines over a common axis, with markers, a legend and marked values.

use crate::axis::{Axis, Frame, Quantity};
use crate::html::{Element, coordinate, element};
use crate::marker::{class, marker};
use crate::{canvas, label, stroke, text_width};

/// Markers beyond this many on one line would only hide it.
const MOST_MARKERS: usize = 40;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Colour, dash and marker.
    pub style: usize,
    /// Points in the order of `x`.
    pub points: Vec<(f64, f64)>,
}

/// A value marked across the whole plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where.
    pub value: f64,
    /// What it is.
    pub text: String,
}

/// A plot of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePlot {
    /// For screen readers.
    pub title: String,
    /// The same in a sentence, with the figures that matter.
    pub description: String,
    /// Name and kind of the horizontal axis.
    pub x: (String, Quantity),
    /// Name and kind of the vertical axis.
    pub y: (String, Quantity),
    /// The lines.
    pub series: Vec<Series>,
    /// Values of `y` that are marked by a dotted line, as a target or chance.
    pub marks: Vec<Mark>,
    /// Size in user units.
    pub size: (f64, f64),
}

impl LinePlot {
    /// The plot as SVG.
    pub fn svg(&self) -> Element {
        let (width, height) = self.size;
        let rows = self.legend_rows(width - 70.0);
        let legend_height = 20.0 * rows.len() as f64;
        let frame = Frame {
            left: 62.0,
            top: 12.0 + legend_height,
            width: width - 62.0 - 16.0,
            height: height - legend_height - 12.0 - 48.0,
        };
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::over(points().map(|point| point.0), &self.x.0, self.x.1, 8, false);
        let y = Axis::over(
            points()
                .map(|point| point.1)
                .chain(self.marks.iter().map(|mark| mark.value)),
            &self.y.0,
            self.y.1,
            6,
            true,
        );
        canvas(width, height, &self.title, &self.description)
            .children(self.legend(&rows))
            .child(x.draw_below(frame))
            .child(y.draw_left(frame))
            .children(self.marks.iter().map(|mark| draw_mark(mark, &y, frame)))
            .children(
                self.series
                    .iter()
                    .map(|series| draw_series(series, &self.y.1, &x, &y, frame)),
            )
    }

    /// The legend's entries, as many to a row as fit.
    fn legend_rows(&self, width: f64) -> Vec<Vec<usize>> {
        let mut rows: Vec<Vec<usize>> = Vec::new();
        let mut used = f64::INFINITY;
        for (index, series) in self.series.iter().enumerate() {
            let needed = 50.0 + text_width(&series.name);
            if used + needed > width {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += needed;
            if let Some(row) = rows.last_mut() {
                row.push(index);
            }
        }
        rows
    }

    fn legend(&self, rows: &[Vec<usize>]) -> Vec<Element> {
        let mut entries = Vec::new();
        for (row, indices) in rows.iter().enumerate() {
            let y = 12.0 + 20.0 * row as f64;
            let mut x = 62.0;
            for &index in indices {
                let series = &self.series[index];
                entries.push(
                    element("g")
                        .child(
                            stroke("", x, y, x + 26.0, y)
                                .class(format!("curve {}", class(series.style))),
                        )
                        .child(marker(series.style, x + 13.0, y))
                        .child(label(x + 33.0, y + 4.0, "start", "legend", &series.name)),
                );
                x += 50.0 + text_width(&series.name);
            }
        }
        entries
    }
}

fn draw_mark(mark: &Mark, y: &Axis, frame: Frame) -> Element {
    let height = frame.bottom() - frame.height * y.position(mark.value);
    // Below the line where the plot's upper edge leaves no room above it.
    let text_at = if height < frame.top + 16.0 {
        height + 14.0
    } else {
        height - 5.0
    };
    element("g")
        .class("mark-line")
        .child(stroke("rule", frame.left, height, frame.right(), height))
        .child(label(
            frame.right() - 4.0,
            text_at,
            "end",
            "note",
            &mark.text,
        ))
}

fn draw_series(series: &Series, quantity: &Quantity, x: &Axis, y: &Axis, frame: Frame) -> Element {
    let place = |(a, b): &(f64, f64)| {
        (
            frame.left + frame.width * x.position(*a),
            frame.bottom() - frame.height * y.position(*b),
        )
    };
    let finite: Vec<&(f64, f64)> = series
        .points
        .iter()
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .collect();
    let mut path = String::new();
    for (index, point) in finite.iter().enumerate() {
        let (a, b) = place(point);
        path.push(if index == 0 { 'M' } else { 'L' });
        path.push_str(&coordinate(a));
        path.push(' ');
        path.push_str(&coordinate(b));
    }
    let mut group = element("g").attr("data-series", &series.name);
    if finite.len() > 1 {
        group = group.child(
            element("path")
                .class(format!("curve {}", class(series.style)))
                .attr("d", path),
        );
    }
    let every = finite.len().div_ceil(MOST_MARKERS).max(1);
    for (index, point) in finite.iter().enumerate() {
        if !index.is_multiple_of(every) && index + 1 != finite.len() {
            continue;
        }
        let (a, b) = place(point);
        let value = match quantity {
            Quantity::Fraction => crate::units::percent(point.1),
            _ => crate::units::significant(point.1, 4),
        };
        let at = x.title.split(" (").next().unwrap_or_default();
        let position = significant_on(x, point.0);
        group =
            group.child(marker(series.style, a, b).child(
                element("title").text(format!("{}: {value} at {at} {position}", series.name)),
            ));
    }
    group
}

/// A value in the words of its axis.
fn significant_on(axis: &Axis, value: f64) -> String {
    match axis
        .title
        .rsplit_once('(')
        .map(|(_, unit)| unit.trim_end_matches(')'))
    {
        Some("d" | "h" | "min" | "s" | "ms") => crate::units::duration(value),
        Some("TB" | "GB" | "MB" | "kB" | "B") => crate::units::bytes(value),
        _ => crate::units::significant(value, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(series: Vec<Series>) -> String {
        LinePlot {
            title: "Accuracy".into(),
            description: "over time".into(),
            x: ("virtual time".into(), Quantity::Seconds),
            y: ("top-1".into(), Quantity::Fraction),
            series,
            marks: vec![Mark {
                value: 0.2,
                text: "chance".into(),
            }],
            size: (640.0, 360.0),
        }
        .svg()
        .render()
    }

    #[test]
    fn a_line_has_a_path_markers_and_a_legend_entry() {
        let svg = plot(vec![Series {
            name: "async".into(),
            style: 0,
            points: vec![(0.0, 0.2), (100.0, 0.7), (200.0, 0.8)],
        }]);
        assert_eq!(svg.matches("<circle").count(), 3 + 1, "{svg}");
        assert!(
            svg.contains("async: 70.0% at virtual time 100\u{a0}s"),
            "{svg}"
        );
        assert!(svg.contains("chance"));
    }

    #[test]
    fn one_point_and_no_points_are_plots_too() {
        let one = plot(vec![Series {
            name: "a".into(),
            style: 1,
            points: vec![(0.0, 0.5)],
        }]);
        assert!(!one.contains("NaN") && !one.contains("inf"), "{one}");
        let none = plot(Vec::new());
        assert!(none.contains("virtual time"));
    }

    #[test]
    fn a_long_line_keeps_its_last_marker_but_not_all() {
        let points: Vec<(f64, f64)> = (0..1001).map(|i| (f64::from(i), 0.5)).collect();
        let svg = plot(vec![Series {
            name: "a".into(),
            style: 0,
            points,
        }]);
        let markers = svg.matches("<circle").count();
        assert!((20..=MOST_MARKERS + 2).contains(&markers), "{markers}");
        assert!(svg.contains("virtual time 16.7\u{a0}min"), "{svg}");
    }

    #[test]
    fn many_names_break_into_rows() {
        let plot = LinePlot {
            title: String::new(),
            description: String::new(),
            x: ("x".into(), Quantity::Number),
            y: ("y".into(), Quantity::Number),
            series: (0..8)
                .map(|style| Series {
                    name: format!("a rather long name {style}"),
                    style,
                    points: vec![],
                })
                .collect(),
            marks: vec![],
            size: (640.0, 360.0),
        };
        let rows = plot.legend_rows(570.0);
        assert!(rows.len() >= 3, "{rows:?}");
        assert_eq!(rows.concat(), (0..8).collect::<Vec<_>>());
    }
}
