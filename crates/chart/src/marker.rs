//! Marker shapes, so that series differ in more than colour.

use crate::STYLES;
use crate::html::{Element, coordinate, element};

/// The class that gives a series its colour and dash.
pub fn class(style: usize) -> &'static str {
    ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"][style % STYLES]
}

/// A marker of about 8 user units around a point.
pub fn marker(style: usize, x: f64, y: f64) -> Element {
    let class = format!("mark {}", class(style));
    if style.is_multiple_of(STYLES) {
        return element("circle")
            .class(class)
            .at("cx", x)
            .at("cy", y)
            .attr("r", "3.6");
    }
    element("path").class(class).attr("d", outline(style, x, y))
}

fn outline(style: usize, x: f64, y: f64) -> String {
    let corners: &[(f64, f64)] = match style % STYLES {
        1 => &[(-3.3, -3.3), (3.3, -3.3), (3.3, 3.3), (-3.3, 3.3)],
        2 => &[(0.0, -4.4), (4.2, 3.2), (-4.2, 3.2)],
        3 => &[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)],
        4 => &[(0.0, 4.4), (4.2, -3.2), (-4.2, -3.2)],
        5 => &[(-4.6, -1.6), (4.6, -1.6), (4.6, 1.6), (-4.6, 1.6)],
        6 => &[(-1.6, -4.6), (1.6, -4.6), (1.6, 4.6), (-1.6, 4.6)],
        _ => &[
            (0.0, -4.4),
            (4.2, -1.2),
            (2.6, 3.6),
            (-2.6, 3.6),
            (-4.2, -1.2),
        ],
    };
    let mut path = String::new();
    for (index, (dx, dy)) in corners.iter().enumerate() {
        path.push(if index == 0 { 'M' } else { 'L' });
        path.push_str(&coordinate(x + dx));
        path.push(' ');
        path.push_str(&coordinate(y + dy));
    }
    path.push('Z');
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_has_a_shape_and_a_class_of_its_own() {
        let shapes: std::collections::BTreeSet<String> = (0..STYLES)
            .map(|style| marker(style, 0.0, 0.0).render())
            .collect();
        assert_eq!(shapes.len(), STYLES);
        assert_eq!(class(STYLES), class(0));
    }
}
