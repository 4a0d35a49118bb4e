//! Time to the same accuracy, and what asynchronous fine-tuning saves.

use super::kit::{
    Cell, Column, aside, cell, figure, figures, heading, nothing, paragraph, table, words,
};
use super::{Section, styles};
use crate::report::{AsyncVsSync, FederatedRun, Report, Strategy, crossing, savings_curve};
use fedact_chart::axis::Quantity;
use fedact_chart::line::{LinePlot, Mark, Series};
use fedact_chart::units::{Unit, bytes, durations, percent, significant, time_unit};

/// Targets at which the saving is shown.
const LEVELS: usize = 24;

const COLUMNS: [Column; 7] = [
    words("run"),
    figures("final accuracy", "mean of the last three tests"),
    figures(
        "time to target",
        "virtual time until the smoothed accuracy reaches the target",
    ),
    figures("saves", "1 - time / time of the synchronous run"),
    figures("client-epochs", "until the target"),
    figures("bytes moved", "up and down, until the target"),
    figures("whole run", "virtual time of the whole run"),
];

/// The comparison, if there is anything to compare.
pub fn section(report: &Report) -> Option<Section> {
    if report.runs.len() < 2 {
        return None;
    }
    let fedavg = report.first(Strategy::Sync);
    let headline = report.async_vs_sync();
    let mut body = match &headline {
        Ok(comparison) => vec![paragraph(words_for(comparison))],
        Err(reason) => vec![paragraph(format!(
            "Asynchronous and synchronous fine-tuning cannot be compared: {reason}."
        ))],
    };
    if let Ok(comparison) = &headline {
        // One unit for the whole table, so that its figures compare at a glance.
        let unit = time_unit(comparison.fedavg.time);
        body.push(table(
            &format!("Cost of reaching {} top-1", percent(comparison.target)),
            &COLUMNS,
            report
                .runs
                .iter()
                .map(|run| row(run, comparison.target, comparison.fedavg.time, unit))
                .collect(),
        ));
    }
    body.push(aside(
        "The rule, fixed before any run: an accuracy is smoothed by averaging each test with the one before and the one \
         after it. The target is the lower of the two runs' final accuracies, a final accuracy being the mean of the last \
         three tests. A run reaches the target at its first smoothed test that is not below it. Of several asynchronous \
         runs, the first among the report's models makes the headline.",
    ));
    if let Some(fedavg) = fedavg {
        body.extend(curve(report, fedavg, headline.as_ref().ok()));
    }
    Some(Section {
        id: "savings",
        title: "Time to the same accuracy",
        body,
    })
}

fn words_for(comparison: &AsyncVsSync) -> String {
    let saving = comparison.time_saving;
    let [by_async, by_sync] = durations([comparison.fedasync.time, comparison.fedavg.time]);
    format!(
        "Both `{}` and `{}` keep an accuracy of {} in the end. The asynchronous run is there after {}, the synchronous \
         one after {}: {} {:.1}% of the time.{}",
        comparison.async_step,
        comparison.sync_step,
        percent(comparison.target),
        by_async,
        by_sync,
        if saving >= 0.0 {
            "asynchrony saves"
        } else {
            "asynchrony costs an additional"
        },
        100.0 * saving.abs(),
        if saving > 0.0 {
            " The reason is waiting: a synchronous round takes as long as its slowest device, and everyone else stands \
             idle until then."
        } else {
            ""
        },
    )
}

fn row(run: &FederatedRun, target: f64, sync_seconds: f64, unit: Unit) -> Vec<Cell> {
    let mut row = vec![
        cell(&run.step).with(run.label()),
        run.final_accuracy()
            .map_or_else(nothing, |top1| cell(percent(top1))),
    ];
    match crossing(&run.smoothed(), target) {
        Some(reached) => {
            let saving = 1.0 - reached.time / sync_seconds;
            let moved = reached.bytes_up + reached.bytes_down;
            row.extend([
                cell(unit.write(reached.time)).strong_if(run.strategy == Strategy::Async),
                if run.strategy == Strategy::Sync && saving == 0.0 {
                    nothing()
                } else {
                    cell(format!("{:.1}%", 100.0 * saving).replace('-', "−"))
                },
                cell(significant(reached.client_epochs, 3)),
                cell(bytes(moved as f64)),
            ]);
        }
        None => row.extend([cell("not reached"), nothing(), nothing(), nothing()]),
    }
    row.push(cell(unit.write(run.ending.time)));
    row
}

fn curve(
    report: &Report,
    fedavg: &FederatedRun,
    headline: Option<&AsyncVsSync>,
) -> Vec<fedact_chart::html::Element> {
    let series: Vec<Series> = report
        .runs
        .iter()
        .zip(styles(&report.runs))
        .filter(|(run, _)| run.strategy == Strategy::Async)
        .map(|(run, style)| Series {
            name: run.title(),
            style,
            points: savings_curve(run, fedavg, LEVELS),
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    if series.is_empty() {
        return Vec::new();
    }
    let lowest = series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.1)
        .fold(f64::INFINITY, f64::min);
    let plot = LinePlot {
        title: "Time saved at every target".to_owned(),
        description: format!(
            "Saving of asynchronous against synchronous fine-tuning at {LEVELS} accuracies; the smallest is {}.",
            percent(lowest)
        ),
        x: ("target: top-1 accuracy".to_owned(), Quantity::Fraction),
        y: ("time saved".to_owned(), Quantity::Fraction),
        series,
        marks: vec![Mark {
            value: 0.0,
            text: "as quick as synchronous".to_owned(),
        }],
        size: (960.0, 320.0),
    };
    let caption = match headline {
        Some(comparison) => format!(
            "Time saved against `{}` had the target been another one. The headline is the right end of the first line, {}.",
            comparison.sync_step,
            percent(comparison.target)
        ),
        None => {
            "Time saved against the synchronous run, had the target been another one.".to_owned()
        }
    };
    vec![
        heading("Does the saving hang on the target?"),
        paragraph(
            "A saving quoted at a single accuracy could be luck. Here it is at every accuracy between the start and the target.",
        ),
        figure(plot.svg(), caption),
    ]
}
