//! Accuracy over virtual time, over work and over bytes.

use super::kit::{aside, figure, heading, paragraph};
use super::{Section, styles};
use crate::report::{Evaluation, FederatedRun, Report};
use fedact_chart::axis::Quantity;
use fedact_chart::html::Element;
use fedact_chart::line::{LinePlot, Mark, Series};
use fedact_chart::units::{bytes, duration, percent};

/// The three plots, as far as there are runs.
pub fn section(report: &Report) -> Option<Section> {
    let runs: Vec<(&FederatedRun, usize)> = report
        .runs
        .iter()
        .zip(styles(&report.runs))
        .filter(|(run, _)| !run.evaluations.is_empty())
        .collect();
    if runs.is_empty() {
        return None;
    }
    let mut marks: Vec<Mark> = Vec::new();
    if let Some(set) = report
        .model(&runs[0].0.step)
        .and_then(|model| report.clip_set(model))
    {
        marks.push(Mark {
            value: set.chance(),
            text: format!("guessing, {}", percent(set.chance())),
        });
    }
    let mut with_target = marks.clone();
    if let Ok(comparison) = report.async_vs_sync() {
        with_target.push(Mark {
            value: comparison.target,
            text: format!("target, {}", percent(comparison.target)),
        });
    }
    let finals: Vec<String> = runs
        .iter()
        .map(|(run, _)| {
            format!(
                "{} ends at {} after {}",
                run.title(),
                percent(run.ending.top1),
                duration(run.ending.time)
            )
        })
        .collect();

    // Seconds of a clock and those of a simulation share an axis.
    let (time, real) = if runs.iter().any(|(run, _)| run.real) {
        (
            "time",
            " Where real devices did the work, it is the time that they took.",
        )
    } else {
        ("virtual time", "")
    };
    let mut body = vec![
        paragraph(format!(
            "Each line is one way of fine-tuning the same 8-bit network on the small set of clips. A point is a test of \
             the network on the test clips at that moment of virtual time: the time the devices would have needed, \
             computed from their speed and their network, while the training itself is real.{real}",
        )),
        figure(
            plot(
                &format!("Accuracy over {time}"),
                format!("{}.", finals.join("; ")),
                (time, Quantity::Seconds),
                &runs,
                with_target,
                (960.0, 440.0),
                |evaluation| evaluation.time,
            ),
            format!(
                "Accuracy over {time}: higher and further left is better. The target is the accuracy at which \
                 asynchronous and synchronous fine-tuning are compared below."
            ),
        ),
        heading("The same, over work and over bytes"),
        paragraph(
            "Time is not the only cost. Over client-epochs (one client going once through its own clips), the lines show \
             what a unit of training is worth; over bytes, what a unit of communication is worth.",
        ),
        figure(
            plot(
                "Accuracy over work",
                finals.join("; "),
                ("client-epochs", Quantity::Number),
                &runs,
                marks.clone(),
                (960.0, 360.0),
                |evaluation| evaluation.client_epochs,
            ),
            "Accuracy over work done by the clients.",
        ),
    ];
    let moving: Vec<(&FederatedRun, usize)> = runs
        .iter()
        .copied()
        .filter(|(run, _)| run.ending.bytes_up + run.ending.bytes_down > 0)
        .collect();
    if !moving.is_empty() {
        body.push(figure(
            plot(
                "Accuracy over bytes moved",
                moving
                    .iter()
                    .map(|(run, _)| {
                        format!(
                            "{} moves {}",
                            run.title(),
                            bytes((run.ending.bytes_up + run.ending.bytes_down) as f64)
                        )
                    })
                    .collect::<Vec<_>>()
                    .join("; "),
                ("bytes up and down", Quantity::Bytes),
                &moving,
                marks,
                (960.0, 360.0),
                |evaluation| (evaluation.bytes_up + evaluation.bytes_down) as f64,
            ),
            "Accuracy over bytes sent up and down by all clients together.",
        ));
    }
    if moving.len() < runs.len() {
        body.push(aside(
            "Fine-tuning at the centre moves no model, and is therefore missing from the last plot; what it would have \
             to move are the clips themselves, which is what a federation avoids.",
        ));
    }
    Some(Section {
        id: "accuracy",
        title: "Accuracy over time",
        body,
    })
}

fn plot(
    title: &str,
    description: String,
    x: (&str, Quantity),
    runs: &[(&FederatedRun, usize)],
    marks: Vec<Mark>,
    size: (f64, f64),
    of: impl Fn(&Evaluation) -> f64,
) -> Element {
    LinePlot {
        title: title.to_owned(),
        description,
        x: (x.0.to_owned(), x.1),
        y: ("top-1 accuracy".to_owned(), Quantity::Fraction),
        series: runs
            .iter()
            .map(|(run, style)| Series {
                name: run.title(),
                style: *style,
                points: run
                    .evaluations
                    .iter()
                    .map(|evaluation| (of(evaluation), evaluation.top1))
                    .collect(),
            })
            .collect(),
        marks,
        size,
    }
    .svg()
}
