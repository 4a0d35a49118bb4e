//! Plots as a file of their own, with the colours and fonts that a page's style sheet would give them.
//!
//! Colours are written out: only browsers know variables, and pictures are looked at with other programs, too.

use crate::canvas;
use crate::html::{Element, element};

/// What the page's style sheet says of line plots in the light: a file cannot know what it is shown on.
pub const STYLE: &str = "\
svg { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif; }
text { fill: #1a1d21; }
.tick, .note, .name { fill: #5b636d; }
.name, .legend { font-size: 12.5px; }
.grid { stroke: #dfe3e8; stroke-width: 1; }
.base { stroke: #5b636d; stroke-width: 1; }
.value { fill: #5b636d; }
.rule { stroke: #5b636d; stroke-width: 1.2; stroke-dasharray: 2 4; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.mark { stroke: #ffffff; stroke-width: 1; }
.curve.s0 { stroke: #0072b2; } .mark.s0 { fill: #0072b2; }
.curve.s1 { stroke: #d55e00; stroke-dasharray: 8 4; } .mark.s1 { fill: #d55e00; }
.curve.s2 { stroke: #00805e; stroke-dasharray: 2 4; } .mark.s2 { fill: #00805e; }
.curve.s3 { stroke: #a63d80; stroke-dasharray: 10 3 2 3; } .mark.s3 { fill: #a63d80; }
.curve.s4 { stroke: #b07800; stroke-dasharray: 5 3; } .mark.s4 { fill: #b07800; }
.curve.s5 { stroke: #2f8fcf; stroke-dasharray: 12 4; } .mark.s5 { fill: #2f8fcf; }
.curve.s6 { stroke: #6b7280; stroke-dasharray: 1 3; } .mark.s6 { fill: #6b7280; }
.curve.s7 { stroke: #7a4fbf; stroke-dasharray: 6 2 1 2; } .mark.s7 { fill: #7a4fbf; }
";

/// Room between plots, in user units.
const GAP: f64 = 16.0;

/// Line plots one below the other, each with its size in user units, as the text of an SVG file.
pub fn standalone(title: &str, description: &str, plots: Vec<(Element, (f64, f64))>) -> String {
    let width = plots.iter().map(|(_, size)| size.0).fold(1.0, f64::max);
    let heights: f64 = plots.iter().map(|(_, size)| size.1).sum();
    let height = heights + GAP * (plots.len() + 1) as f64;
    let paper = element("rect")
        .attr("width", "100%")
        .attr("height", "100%")
        .attr("fill", "#ffffff");
    let mut file = canvas(width, height, title, description)
        .child(element("style").style_sheet(STYLE))
        .child(paper);
    let mut top = GAP;
    for (plot, size) in plots {
        file = file.child(plot.at("y", top));
        top += size.1 + GAP;
    }
    file.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STYLES;
    use crate::marker::class;

    #[test]
    fn plots_stand_below_one_another_on_paper_of_their_size() {
        let plot = |name| (canvas(300.0, 100.0, name, ""), (300.0, 100.0));
        let text = standalone("Two", "of them", vec![plot("a"), plot("b")]);
        assert!(text.contains("viewBox=\"0 0 300 248\""), "{text}");
        assert!(
            text.contains("y=\"16\"") && text.contains("y=\"132\""),
            "{text}"
        );
        assert!(!text.contains("var("), "{text}");
    }

    #[test]
    fn every_series_has_its_colour_written_out() {
        for style in 0..STYLES {
            let class = class(style);
            assert!(STYLE.contains(&format!(".curve.{class} {{ stroke: #")));
            assert!(STYLE.contains(&format!(".mark.{class} {{ fill: #")));
        }
    }
}
