//! The page around the sections: one file, nothing loaded from elsewhere, no scripts.

use super::Report;
use super::sections::{sections, summary};
use fedact_chart::html::element;
use fedact_chart::units::plural;

/// `index.html`.
pub fn page(report: &Report) -> String {
    let sections = sections(report);
    let contents = element("nav")
        .attr("aria-label", "Contents")
        .child(element("ol").children(sections.iter().map(|section| {
            element("li").child(
                element("a")
                    .attr("href", format!("#{}", section.id))
                    .text(section.title),
            )
        })));
    let header = element("header")
        .child(element("h1").text(&report.title))
        .child(element("p").class("subtitle").text(subtitle(report)))
        .children(summary(report))
        .child(contents);
    let body = sections.into_iter().enumerate().map(|(index, section)| {
        element("section")
            .attr("id", section.id)
            .child(
                element("h2")
                    .child(element("span").class("number").text(index + 1))
                    .text(section.title),
            )
            .children(section.body)
    });
    let footer = element("footer").child(element("p").text(
        "The figures of this page are in metrics.json beside it. Made by fedact's stage evaluate; every plot has a \
         description for screen readers, and pointing at a mark shows its value.",
    ));
    let html = element("html")
        .attr("lang", "en")
        .child(
            element("head")
                .child(element("meta").attr("charset", "utf-8"))
                .child(
                    element("meta")
                        .attr("name", "viewport")
                        .attr("content", "width=device-width, initial-scale=1"),
                )
                .child(
                    element("meta")
                        .attr("name", "color-scheme")
                        .attr("content", "light dark"),
                )
                .child(element("title").text(&report.title))
                .child(element("style").style_sheet(include_str!("page.css"))),
        )
        .child(
            element("body")
                .child(header)
                .child(element("main").children(body))
                .child(footer),
        );
    format!("<!DOCTYPE html>\n{}", html.render())
}

fn subtitle(report: &Report) -> String {
    let mut parts = vec![plural(report.models.len() as u64, "model", "models")];
    if !report.runs.is_empty() {
        parts.push(plural(
            report.runs.len() as u64,
            "way of fine-tuning",
            "ways of fine-tuning",
        ));
    }
    let clips: usize = report.clip_sets.iter().map(|set| set.test_clips).sum();
    parts.push(plural(clips as u64, "test clip", "test clips"));
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn plots_that_stand_alone_have_the_colours_of_the_page() {
        let light = include_str!("page.css").split("@media").next();
        let light = light.unwrap_or_default();
        for style in 0..fedact_chart::STYLES {
            let value = light.split(&format!("--c{style}: ")).nth(1);
            let colour = value
                .and_then(|rest| rest.split(';').next())
                .unwrap_or("none");
            let class = fedact_chart::marker::class(style);
            let rule = format!(".mark.{class} {{ fill: {colour}; }}");
            assert!(fedact_chart::standalone::STYLE.contains(&rule), "{rule}");
        }
    }
}
