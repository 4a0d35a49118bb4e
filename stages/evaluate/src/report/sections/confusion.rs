//! Confusion matrices: what is taken for what.

use super::Section;
use super::kit::{heading, paragraph, prose};
use crate::report::{ClipSetSummary, ModelResult, Report};
use fedact_chart::heat::HeatMap;
use fedact_chart::html::{Element, element};
use fedact_chart::units::percent;

/// Confusions named below a matrix.
const WORST: usize = 3;

/// A matrix per model.
pub fn section(report: &Report) -> Option<Section> {
    let units = format!("{}s", report.tests.unit());
    let mut body = vec![paragraph(format!(
        "A row holds the test {units} of one class, a column what the network said about them. The diagonal, in blue, is \
         right; everything off it, in orange, is a mistake. Numbers are {units}; the deeper the colour, the larger the share \
         of the row.",
    ))];
    for (index, set) in report.clip_sets.iter().enumerate() {
        let figures: Vec<Element> = report
            .models
            .iter()
            .filter(|model| model.clip_set == index && !model.accuracy.confusion.is_empty())
            .map(|model| matrix(model, set, &units))
            .collect();
        if !figures.is_empty() {
            body.push(heading(format!("On `{}`", set.name)));
            body.push(element("div").class("matrices").children(figures));
        }
    }
    if body.len() == 1 {
        return None;
    }
    Some(Section {
        id: "confusion",
        title: "What is taken for what",
        body,
    })
}

fn matrix(model: &ModelResult, set: &ClipSetSummary, units: &str) -> Element {
    let worst = worst(model, set);
    let map = HeatMap {
        title: format!("Confusion matrix of {}", model.step),
        description: format!(
            "{} of the {units} are right. {worst}",
            percent(model.accuracy.top1)
        ),
        names: &set.classes,
        counts: &model.accuracy.confusion,
    };
    element("figure")
        .child(
            element("div")
                .class("scroll")
                .attr("tabindex", 0)
                .child(map.svg()),
        )
        .child(prose(
            element("figcaption"),
            format!(
                "`{}` is right about {}. {worst}",
                model.step,
                percent(model.accuracy.top1)
            ),
        ))
}

/// The most frequent confusions in words.
fn worst(model: &ModelResult, set: &ClipSetSummary) -> String {
    let mut pairs: Vec<(u32, u32, usize, usize)> = Vec::new();
    for (truth, row) in model.accuracy.confusion.iter().enumerate() {
        let total = row.iter().sum();
        for (said, &count) in row.iter().enumerate() {
            if truth != said && count > 0 {
                pairs.push((count, total, truth, said));
            }
        }
    }
    if pairs.is_empty() {
        return "It confuses no two classes.".to_owned();
    }
    // Most frequent first; equal ones in the order of the classes.
    pairs.sort_by_key(|&(count, _, truth, said)| (std::cmp::Reverse(count), truth, said));
    let named: Vec<String> = pairs
        .iter()
        .take(WORST)
        .map(|&(count, total, truth, said)| {
            format!(
                "{} for {} ({count} of {total})",
                set.class(truth),
                set.class(said)
            )
        })
        .collect();
    format!("Most often it takes {}.", named.join(", "))
}
