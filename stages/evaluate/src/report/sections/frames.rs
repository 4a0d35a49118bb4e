//! A strip of frames per class: what the networks look at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Section;
use super::kit::{aside, heading, paragraph};
use crate::report::{ClipSetSummary, Report, Strip};
use fedact_chart::html::{Element, element};

/// The strips of every clip set.
pub fn section(report: &Report) -> Option<Section> {
    let sets: Vec<&ClipSetSummary> = report
        .clip_sets
        .iter()
        .filter(|set| !set.strips.is_empty())
        .collect();
    if sets.is_empty() {
        return None;
    }
    let mut body = vec![paragraph(
        "One test clip of every class, as the networks receive it: first frame at the left, last at the right. Some classes \
         may only be told apart by the order of their frames.",
    )];
    for set in sets {
        body.push(heading(format!(
            "`{}`: {} frames of {} × {} pixels",
            set.name, set.frames, set.size.1, set.size.0
        )));
        if set.strips.len() < set.classes.len() {
            body.push(aside(format!(
                "{} of {} classes are shown.",
                set.strips.len(),
                set.classes.len()
            )));
        }
        body.push(
            element("div")
                .class("strips")
                .children(set.strips.iter().map(|strip| picture(set, strip))),
        );
    }
    Some(Section {
        id: "frames",
        title: "What the networks see",
        body,
    })
}

fn picture(set: &ClipSetSummary, strip: &Strip) -> Element {
    let class = set.class(strip.class);
    element("figure")
        .child(
            element("img")
                .attr(
                    "src",
                    format!("data:image/jpeg;base64,{}", STANDARD.encode(&strip.jpeg)),
                )
                .attr(
                    "alt",
                    format!(
                        "{} frames of the clip {}: {class}",
                        strip.frames, strip.clip
                    ),
                )
                .attr("width", strip.size.0)
                .attr("height", strip.size.1),
        )
        .child(
            element("figcaption")
                .child(element("strong").text(class))
                .text(" ")
                .child(element("small").text(&strip.clip)),
        )
}
