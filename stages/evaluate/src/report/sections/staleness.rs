//! How stale updates were when they arrived.

use super::kit::{aside, cell, figure, figures, heading, nothing, paragraph, table, words};
use super::{Section, styles};
use crate::report::{FederatedRun, Report, Strategy};
use fedact_chart::bars::{Group, Histogram};
use fedact_chart::units::{plural, significant};

/// The histogram of the asynchronous runs.
pub fn section(report: &Report) -> Option<Section> {
    let runs: Vec<(&FederatedRun, usize)> = report
        .runs
        .iter()
        .zip(styles(&report.runs))
        .filter(|(run, _)| run.strategy == Strategy::Async && run.accepted().next().is_some())
        .collect();
    if runs.is_empty() {
        return None;
    }
    let sentences: Vec<String> = runs
        .iter()
        .filter_map(|(run, _)| {
            Some(format!(
                "`{}`: {} counted, {} on average and {} at most.",
                run.step,
                plural(run.accepted().count() as u64, "update", "updates"),
                significant(run.mean_staleness()?, 2),
                run.max_staleness()?
            ))
        })
        .collect();
    let histogram = Histogram {
        title: "Staleness of updates".to_owned(),
        description: sentences.join(" "),
        x: "staleness: versions made between a client's download and the arrival of its update"
            .to_owned(),
        y: "updates".to_owned(),
        groups: runs
            .iter()
            .map(|(run, style)| Group {
                name: run.title(),
                style: *style,
                counts: run.staleness_counts(),
            })
            .collect(),
        size: (960.0, 320.0),
    };
    let mut body = vec![
        paragraph(
            "While a slow device trains, faster ones change the model it started from. The number of changes is the \
             staleness of its update; the staler an update, the less it should count. It is never drawn by lot: \
             it follows from how long the devices' tasks take, their jitter included.",
        ),
        figure(histogram.svg(), sentences.join(" ")),
        weights(&runs),
    ];
    let refused: usize = report.runs.iter().map(FederatedRun::refused).sum();
    if refused > 0 {
        body.push(aside(format!(
            "{} refused by the server's checks and did not count.",
            plural(refused as u64, "update was", "updates were")
        )));
    }
    for (run, _) in runs.iter().filter(|(run, _)| !run.bound.is_empty()) {
        body.push(heading(format!("What the bound says of `{}`", run.step)));
        body.extend(run.bound.iter().map(paragraph));
    }
    Some(Section {
        id: "staleness",
        title: "How stale the updates were",
        body,
    })
}

/// The mean weight of fresh and of stale updates in each run.
fn weights(runs: &[(&FederatedRun, usize)]) -> fedact_chart::html::Element {
    let rows = runs
        .iter()
        .map(|(run, _)| {
            // Fresher and staler half, divided at the median.
            let mut all: Vec<(u64, f64)> = run
                .accepted()
                .map(|update| (update.staleness, update.weight))
                .collect();
            all.sort_by_key(|update| update.0);
            let median = all.get(all.len() / 2).map_or(0, |update| update.0);
            let mean_weight = |keep: &dyn Fn(u64) -> bool| {
                let weights = all
                    .iter()
                    .filter(|update| keep(update.0))
                    .map(|update| update.1);
                super::super::federated::mean(weights)
                    .map_or_else(nothing, |weight| cell(significant(weight, 3)))
            };
            vec![
                cell(&run.step).with(run.label()),
                cell(all.len()),
                cell(
                    run.mean_staleness()
                        .map_or_else(String::new, |mean| significant(mean, 3)),
                ),
                cell(median),
                cell(run.max_staleness().unwrap_or(0)),
                mean_weight(&|staleness| staleness <= median),
                mean_weight(&|staleness| staleness > median),
            ]
        })
        .collect();
    table(
        "Staleness, and the weight with which updates entered the model",
        &[
            words("run"),
            figures("updates", "that counted"),
            figures("mean", "mean staleness"),
            figures("median", "median staleness"),
            figures("largest", "largest staleness"),
            figures(
                "weight, fresher",
                "mean weight of updates no staler than the median",
            ),
            figures(
                "weight, staler",
                "mean weight of updates staler than the median",
            ),
        ],
        rows,
    )
}
