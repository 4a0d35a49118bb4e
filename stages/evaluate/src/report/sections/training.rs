//! Training curves of the models whose artifacts have them.

use super::Section;
use super::kit::{figure, paragraph};
use crate::report::{Epoch, ModelResult, Report};
use fedact_chart::axis::Quantity;
use fedact_chart::html::{Element, element};
use fedact_chart::line::{LinePlot, Series};

/// Accuracy and loss over epochs.
pub fn section(report: &Report) -> Option<Section> {
    let trained: Vec<&ModelResult> = report
        .models
        .iter()
        .filter(|model| !model.training.is_empty())
        .collect();
    if trained.is_empty() {
        return None;
    }
    let plots = [
        plot(
            &trained,
            "Accuracy on the test clips",
            "top-1 accuracy",
            Quantity::Fraction,
            |epoch| epoch.test_top1,
        ),
        plot(
            &trained,
            "Accuracy on the training clips",
            "top-1 accuracy",
            Quantity::Fraction,
            |epoch| epoch.train_top1,
        ),
        plot(
            &trained,
            "Loss on the training clips",
            "loss",
            Quantity::Number,
            |epoch| epoch.train_loss,
        ),
    ];
    let figures: Vec<Element> = plots.into_iter().flatten().collect();
    if figures.is_empty() {
        return None;
    }
    Some(Section {
        id: "training",
        title: "How the models were trained",
        body: vec![
            paragraph(
                "An epoch is one pass over the training clips. Accuracy on training clips is measured on randomly altered views \
                 of them, as they were trained on. The loss of a distilled model also counts how far it is from \
                 its teacher, so that losses of models with and without a teacher are not on one scale.",
            ),
            element("div").class("charts").children(figures),
        ],
    })
}

fn plot(
    models: &[&ModelResult],
    title: &str,
    name: &str,
    quantity: Quantity,
    of: impl Fn(&Epoch) -> Option<f64>,
) -> Option<Element> {
    let series: Vec<Series> = models
        .iter()
        .enumerate()
        .map(|(style, model)| Series {
            name: model.step.clone(),
            style,
            points: model
                .training
                .iter()
                .filter_map(|epoch| Some((epoch.epoch, of(epoch)?)))
                .collect(),
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    if series.is_empty() {
        return None;
    }
    let plot = LinePlot {
        title: title.to_owned(),
        description: format!("{title}, epoch by epoch, of {} models.", series.len()),
        x: ("epoch".to_owned(), Quantity::Number),
        y: (name.to_owned(), quantity),
        series,
        marks: Vec::new(),
        size: (960.0, 340.0),
    };
    Some(figure(plot.svg(), format!("{title}, epoch by epoch.")))
}
