//! Plots as SVG, one kind a file. Each is a plain struct of data with `svg(&self) -> Element`.
//!
//! Colours are CSS classes (`s0`, `s1`, ...) whose values live in the page's style sheet, so that a plot
//! follows the reader's light or dark scheme; every series also has a marker and a dash of its own,
//! so that colour is never the only difference.

pub mod axis;
pub mod bars;
pub mod forest;
pub mod gantt;
pub mod heat;
pub mod html;
pub mod line;
pub mod marker;
pub mod standalone;
pub mod units;

use crate::html::{Element, element};

/// How many series look different from one another.
pub const STYLES: usize = 8;

/// The outer element of a plot: scales with the page, and tells a screen reader what it shows.
///
/// `width` and `height` are in user units, which are pixels at the plot's natural size.
pub fn canvas(width: f64, height: f64, title: &str, description: &str) -> Element {
    element("svg")
        .attr("xmlns", "http://www.w3.org/2000/svg")
        .attr("viewBox", format!("0 0 {width:.0} {height:.0}"))
        .attr("width", format!("{width:.0}"))
        .attr("height", format!("{height:.0}"))
        .attr("role", "img")
        .attr("aria-label", title)
        .child(element("title").text(title))
        // Backticks mark code in the page's prose; read aloud they would only disturb.
        .child(element("desc").text(description.replace('`', "")))
}

/// Text at a point. `anchor` is `start`, `middle` or `end`.
pub fn label(x: f64, y: f64, anchor: &'static str, class: &'static str, text: &str) -> Element {
    element("text")
        .at("x", x)
        .at("y", y)
        .attr("text-anchor", anchor)
        .class(class)
        .text(text)
}

/// A straight line.
pub fn stroke(class: &'static str, x1: f64, y1: f64, x2: f64, y2: f64) -> Element {
    element("line")
        .class(class)
        .at("x1", x1)
        .at("y1", y1)
        .at("x2", x2)
        .at("y2", y2)
}

/// About how wide a text is in user units at the plots' font size of 12: enough to keep labels from
/// overlapping, without measuring fonts.
pub fn text_width(text: &str) -> f64 {
    7.0 * text.chars().count() as f64
}

/// A text cut to a number of characters, with an ellipsis where something is lost.
pub fn shorten(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(shorten("übermäßig", 9), "übermäßig");
        assert_eq!(shorten("übermäßig", 4), "übe…");
    }

    #[test]
    fn a_canvas_names_itself() {
        let svg = canvas(100.0, 50.0, "Time", "falls").render();
        assert!(svg.contains("<title>Time</title>"));
        assert!(svg.contains("<desc>falls</desc>"));
        assert!(svg.contains("viewBox=\"0 0 100 50\""));
    }
}
