//! Paragraphs, figures and tables: the few pieces that sections are built of.

use crate::report::statistics::Interval;
use fedact_chart::html::{Element, element};
use fedact_chart::units::significant;

/// Fills an element with words, in which names between backticks are set as code.
pub fn prose(mut parent: Element, text: impl std::fmt::Display) -> Element {
    for (index, part) in text.to_string().split('`').enumerate() {
        if index % 2 == 1 {
            parent = parent.child(element("code").text(part));
        } else if !part.is_empty() {
            parent = parent.text(part);
        }
    }
    parent
}

/// A paragraph.
pub fn paragraph(text: impl std::fmt::Display) -> Element {
    prose(element("p"), text)
}

/// A paragraph of lesser weight.
pub fn aside(text: impl std::fmt::Display) -> Element {
    prose(element("p").class("aside"), text)
}

/// A heading within a section.
pub fn heading(text: impl std::fmt::Display) -> Element {
    prose(element("h3"), text)
}

/// A plot with a caption. On a narrow screen the plot scrolls by itself and the page does not.
pub fn figure(plot: Element, caption: impl std::fmt::Display) -> Element {
    element("figure")
        .child(
            element("div")
                .class("scroll")
                .attr("tabindex", 0)
                .child(plot),
        )
        .child(prose(element("figcaption"), caption))
}

/// A column's heading.
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// What it means, shown by the browser on hover.
    pub hint: &'static str,
    /// Figures stand at the right.
    pub numeric: bool,
}

/// A column of words.
pub const fn words(name: &'static str) -> Column {
    Column {
        name,
        hint: "",
        numeric: false,
    }
}

/// A column of figures.
pub const fn figures(name: &'static str, hint: &'static str) -> Column {
    Column {
        name,
        hint,
        numeric: true,
    }
}

/// What stands in a cell: a main text and, smaller, something beside it.
pub struct Cell {
    main: String,
    small: Option<String>,
    strong: bool,
}

impl Cell {
    /// Adds a smaller text below.
    #[must_use]
    pub fn with(mut self, small: impl Into<String>) -> Self {
        self.small = Some(small.into());
        self
    }

    /// Sets the main text bold.
    #[must_use]
    pub fn strong_if(mut self, strong: bool) -> Self {
        self.strong = strong;
        self
    }
}

/// A cell of one text.
pub fn cell(main: impl std::fmt::Display) -> Cell {
    Cell {
        main: main.to_string(),
        small: None,
        strong: false,
    }
}

/// A cell for what is not there.
pub fn nothing() -> Cell {
    cell("–")
}

/// A cell of joules, which a run has that modelled them.
pub fn joules(joules: f64) -> Cell {
    if joules > 0.0 {
        cell(significant(joules, 3))
    } else {
        nothing()
    }
}

/// A table whose first column names the rows. It scrolls by itself on a narrow screen.
pub fn table(caption: &str, columns: &[Column], rows: Vec<Vec<Cell>>) -> Element {
    let head = columns.iter().map(|column| {
        let mut th = element("th").attr("scope", "col").text(column.name);
        if column.numeric {
            th = th.class("number");
        }
        if !column.hint.is_empty() {
            th = th.attr("title", column.hint);
        }
        th
    });
    let body = rows.into_iter().map(|row| {
        element("tr").children(row.into_iter().enumerate().map(|(index, cell)| {
            let name = if index == 0 { "th" } else { "td" };
            let mut out = element(name);
            if index == 0 {
                out = out.attr("scope", "row");
            } else if columns.get(index).is_some_and(|column| column.numeric) {
                out = out.class("number");
            }
            out = if cell.strong {
                out.child(element("strong").text(cell.main))
            } else {
                out.text(cell.main)
            };
            out.maybe(cell.small.map(|small| element("small").text(small)))
        }))
    });
    element("div").class("scroll").attr("tabindex", 0).child(
        element("table")
            .child(element("caption").text(caption))
            .child(element("thead").child(element("tr").children(head)))
            .child(element("tbody").children(body)),
    )
}

/// A confidence interval, as in `74.6–86.5%`.
pub fn range(interval: Interval) -> String {
    format!("{:.1}–{:.1}%", 100.0 * interval.low, 100.0 * interval.high)
}

/// Names in a row: `a`, `a and b`, `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_backticks_are_code_and_still_escaped() {
        let html = prose(element("p"), "of `<b>`, here").render();
        assert_eq!(html, "<p>of <code>&lt;b&gt;</code>, here</p>\n");
        assert_eq!(
            prose(element("p"), "`a`").render(),
            "<p><code>a</code></p>\n"
        );
    }

    #[test]
    fn names_are_joined_as_one_speaks() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(list(&names), "a, b and c");
        assert_eq!(list(&names[..2]), "a and b");
        assert_eq!(list(&names[..1]), "a");
        assert_eq!(list(&[]), "");
    }
}
