//! A tree of elements that can only be written escaped.
//!
//! Names of elements and attributes are `&'static str`, so that whatever comes from data (class
//! names, step names, paths) can only ever stand where it is escaped: as text or as the value of an
//! attribute. The output is well-formed XML and valid HTML5 at once, which lets tests parse it.

use std::fmt::Write;

/// One element of HTML or SVG with its attributes and children, built by chaining.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Element(Element),
    Text(String),
    /// A style sheet that is part of the program.
    Style(&'static str),
}

/// Elements that HTML writes without a closing tag.
const VOID: [&str; 5] = ["br", "hr", "img", "link", "meta"];

/// Elements after which a line break changes nothing; it keeps the file readable and comparable.
const BLOCKS: [&str; 34] = [
    "article",
    "body",
    "caption",
    "div",
    "dl",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "img",
    "li",
    "main",
    "meta",
    "nav",
    "ol",
    "p",
    "path",
    "rect",
    "section",
    "style",
    "svg",
    "table",
    "tbody",
    "thead",
    "title",
    "tr",
    "ul",
    "dd",
];

/// An element without attributes and children.
pub fn element(name: &'static str) -> Element {
    Element {
        name,
        attributes: Vec::new(),
        children: Vec::new(),
    }
}

impl Element {
    /// Sets an attribute; one that is there already is replaced, since XML allows each only once.
    #[must_use]
    pub fn attr(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        let value = value.to_string();
        match self
            .attributes
            .iter_mut()
            .find(|attribute| attribute.0 == name)
        {
            Some(attribute) => attribute.1 = value,
            None => self.attributes.push((name, value)),
        }
        self
    }

    /// Adds a coordinate or length in SVG's user units, rounded to a hundredth.
    #[must_use]
    pub fn at(self, name: &'static str, value: f64) -> Self {
        self.attr(name, coordinate(value))
    }

    /// Adds the attribute `class`.
    #[must_use]
    pub fn class(self, value: impl std::fmt::Display) -> Self {
        self.attr("class", value)
    }

    /// Adds text.
    #[must_use]
    pub fn text(mut self, text: impl std::fmt::Display) -> Self {
        self.children.push(Node::Text(text.to_string()));
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    /// Adds a child where there is one.
    #[must_use]
    pub fn maybe(self, child: Option<Element>) -> Self {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }

    /// Adds children in order.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children
            .extend(children.into_iter().map(Node::Element));
        self
    }

    /// Adds the program's own style sheet.
    #[must_use]
    pub fn style_sheet(mut self, css: &'static str) -> Self {
        self.children.push(Node::Style(css));
        self
    }

    /// The element and all below it as text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if VOID.contains(&self.name) {
            out.push_str("/>");
        } else {
            out.push('>');
            for child in &self.children {
                match child {
                    Node::Element(element) => element.write(out),
                    Node::Text(text) => escape(text, out),
                    Node::Style(css) => out.push_str(css),
                }
            }
            out.push_str("</");
            out.push_str(self.name);
            out.push('>');
        }
        if BLOCKS.contains(&self.name) {
            out.push('\n');
        }
    }
}

/// Escapes for text and for double-quoted attribute values alike; characters that XML does not
/// allow at all become the replacement character.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            control if control.is_control() => out.push('\u{FFFD}'),
            other => out.push(other),
        }
    }
}

/// A number for SVG: at most two decimals, no trailing zeros, never `NaN`.
pub fn coordinate(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{value:.2}");
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" {
        "0".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_values_from_data_cannot_leave_their_place() {
        let hostile = "\"><script>alert('x')</script>&\u{0}";
        let html = element("p").attr("title", hostile).text(hostile).render();
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches('"').count(), 2, "{html}");
        assert!(html.contains("&amp;\u{FFFD}"), "{html}");
    }

    #[test]
    fn an_attribute_stands_once() {
        let html = element("p").class("a").class("b").render();
        assert_eq!(html, "<p class=\"b\"></p>\n");
    }

    #[test]
    fn void_elements_close_themselves() {
        assert_eq!(element("br").render(), "<br/>");
        assert_eq!(element("b").text("x").render(), "<b>x</b>");
    }

    #[test]
    fn coordinates_are_short_and_finite() {
        assert_eq!(coordinate(1.0), "1");
        assert_eq!(coordinate(-0.001), "0");
        assert_eq!(coordinate(2.345), "2.35");
        assert_eq!(coordinate(100.0), "100");
        assert_eq!(coordinate(f64::NAN), "0");
    }
}
