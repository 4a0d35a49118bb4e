//! The pipeline at a glance: what was made from what, with an accuracy on every box.

use super::Section;
use super::kit::paragraph;
use crate::report::{ModelKind, Report};
use fedact_chart::html::{Element, element};
use fedact_chart::units::{bytes, percent, plural};

/// Boxes in four columns: clips, float models, int8 models, fine-tuned models.
pub fn section(report: &Report) -> Option<Section> {
    if report.models.is_empty() {
        return None;
    }
    let clips = report
        .clip_sets
        .iter()
        .map(|set| {
            bubble(
                &set.name,
                &plural(set.classes.len() as u64, "class", "classes"),
                &format!(
                    "{} to train on, {} to test on",
                    set.train_clips, set.test_clips
                ),
            )
        })
        .collect();
    let columns = [
        (
            "Clips",
            "short stretches of video, all of the same size",
            clips,
        ),
        (
            "1 · Compress",
            "a large network teaches a small one",
            boxes(report, ModelKind::Float),
        ),
        (
            "2 · Quantize",
            "32-bit numbers become 8-bit integers",
            boxes(report, ModelKind::Quantized),
        ),
        (
            "3 · Fine-tune",
            "devices adapt it to their own clips, which stay where they are; the centre, for comparison, collects them",
            boxes(report, ModelKind::Federated),
        ),
    ];
    let flow = element("div").class("flow").children(
        columns
            .into_iter()
            .filter(|(_, _, boxes): &(_, _, Vec<Element>)| !boxes.is_empty())
            .map(|(name, what, boxes)| {
                element("div")
                    .class("stage")
                    .child(element("div").class("stage-name").text(name))
                    .child(element("div").class("stage-what").text(what))
                    .children(boxes)
            }),
    );
    Some(Section {
        id: "glance",
        title: "The pipeline at a glance",
        body: vec![
            paragraph(
                "Videos are cut into clips. A large network is trained on the large set and passes what it has learned \
                 on to a small one; the small one is turned into 8-bit integers so that it fits a small device; then a \
                 fleet of unequal devices fine-tunes it to new classes. Every box names its step in the pipeline file, \
                 and the percentage is top-1 accuracy on test clips.",
            ),
            flow,
        ],
    })
}

fn boxes(report: &Report, kind: ModelKind) -> Vec<Element> {
    report
        .models
        .iter()
        .filter(|model| model.kind == kind)
        .map(|model| {
            let detail = match report.runs.iter().find(|run| run.step == model.step) {
                Some(run) => run.label(),
                None => model.architecture.clone(),
            };
            bubble(
                &model.step,
                &percent(model.accuracy.top1),
                &format!("{detail}, {}", bytes(model.bytes as f64)),
            )
        })
        .collect()
}

fn bubble(name: &str, figure: &str, detail: &str) -> Element {
    element("div")
        .class("box")
        .child(
            element("div")
                .class("box-head")
                .child(element("code").text(name))
                .child(element("span").class("box-figure").text(figure)),
        )
        .child(element("div").class("box-detail").text(detail))
}
