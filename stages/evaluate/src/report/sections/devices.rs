//! What each device did over time, and who they are.

use super::Section;
use super::kit::{cell, figure, figures, heading, joules, nothing, paragraph, table, words};
use crate::report::{FederatedRun, Report, Strategy};
use fedact_chart::gantt::{Gantt, Lane, Phase, Stretch};
use fedact_chart::html::{Element, element};
use fedact_chart::units::{duration, percent, plural, significant};

/// Tasks of the busiest client that the chart shows; more would be hairlines.
const TASKS_SHOWN: usize = 24;

/// The charts and the table.
pub fn section(report: &Report) -> Option<Section> {
    let fleets: Vec<&FederatedRun> = report
        .runs
        .iter()
        .filter(|run| run.strategy != Strategy::Central && !run.clients.is_empty())
        .collect();
    let first = *fleets.first()?;
    // The headline pair side by side; further strategies are in the table.
    let mut charted: Vec<&FederatedRun> = [Strategy::Async, Strategy::Sync]
        .into_iter()
        .filter_map(|strategy| fleets.iter().copied().find(|run| run.strategy == strategy))
        .filter(|run| !run.tasks.is_empty())
        .collect();
    if charted.is_empty() {
        charted = fleets
            .iter()
            .copied()
            .filter(|run| !run.tasks.is_empty())
            .take(2)
            .collect();
    }
    let until = window(&charted);
    let whole = charted.iter().all(|run| run.ending.time <= until);

    let mut body = vec![paragraph(format!(
        "{} hold the training clips, each on its own: a client is one or more of the people filmed. Their devices differ \
         in speed and in network. A lane below is one client; grey is waiting. {}",
        plural(first.clients.len() as u64, "client", "clients"),
        busy_words(&charted),
    ))];
    if !charted.is_empty() {
        body.push(
            element("div")
                .class("charts")
                .children(charted.iter().map(|run| chart(run, until, whole))),
        );
    }
    body.push(heading("The devices"));
    body.push(devices(first, &fleets));
    Some(Section {
        id: "devices",
        title: "What each device did",
        body,
    })
}

/// The stretch of virtual time that all charts show: up to where the busiest client has done as many
/// tasks as can be told apart, but no longer than the longest run.
fn window(runs: &[&FederatedRun]) -> f64 {
    let longest = runs.iter().map(|run| run.ending.time).fold(0.0, f64::max);
    runs.iter()
        .flat_map(|run| {
            run.clients.iter().filter_map(|client| {
                let mut ends: Vec<f64> = run
                    .tasks
                    .iter()
                    .filter(|task| task.client == client.id)
                    .map(|task| task.upload_end)
                    .collect();
                ends.sort_by(f64::total_cmp);
                ends.get(TASKS_SHOWN - 1).copied()
            })
        })
        .fold(longest, f64::min)
}

fn busy_words(runs: &[&FederatedRun]) -> String {
    runs.iter()
        .filter_map(|run| Some((run, run.mean_busy()?)))
        .map(|(run, busy)| {
            format!(
                "In `{}` the average device is at work {:.0}% of the time.",
                run.step,
                100.0 * busy
            )
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn chart(run: &FederatedRun, until: f64, whole: bool) -> Element {
    let lanes = run
        .clients
        .iter()
        .map(|client| {
            let stretches = run
                .tasks
                .iter()
                .filter(|task| task.client == client.id)
                .flat_map(|task| {
                    [
                        Stretch {
                            phase: Phase::Download,
                            start: task.start,
                            end: task.download_end,
                        },
                        Stretch {
                            phase: Phase::Training,
                            start: task.download_end,
                            end: task.training_end,
                        },
                        Stretch {
                            phase: Phase::Upload,
                            start: task.training_end,
                            end: task.upload_end,
                        },
                    ]
                })
                .collect();
            Lane {
                name: format!("{} · {}", client.device, client.id),
                note: format!("{:.0}% busy", 100.0 * run.busy(&client.id)),
                stretches,
            }
        })
        .collect();
    let title = format!("What each device did in {}", run.step);
    let shown = if whole {
        format!("the whole run, {}", duration(run.ending.time))
    } else {
        format!(
            "the first {} of {}",
            duration(until),
            duration(run.ending.time)
        )
    };
    let gantt = Gantt {
        title,
        description: busy_words(&[run]),
        lanes,
        until,
        ended: run.ending.time,
        // Every change of the model would be a wall of lines where it changes all the time.
        moments: if run.strategy == Strategy::Sync {
            rounds(run)
        } else {
            Vec::new()
        },
        width: 960.0,
    };
    let lines = if run.strategy == Strategy::Sync {
        "; a line marks the end of a round"
    } else {
        ""
    };
    figure(
        gantt.svg(),
        format!(
            "{}: {shown}{lines}. Percentages are of the whole run; a task under way when it ended is not drawn.",
            run.title()
        ),
    )
}

/// When each round of a synchronous run ended: the distinct times at which updates counted.
fn rounds(run: &FederatedRun) -> Vec<f64> {
    let mut times: Vec<f64> = run.accepted().map(|update| update.time).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

fn devices(first: &FederatedRun, fleets: &[&FederatedRun]) -> Element {
    let asynchronous = fleets.iter().find(|run| run.strategy == Strategy::Async);
    let synchronous = fleets.iter().find(|run| run.strategy == Strategy::Sync);
    let busy = |run: Option<&&FederatedRun>, client: &str| {
        run.map_or_else(nothing, |run| cell(percent(run.busy(client))))
    };
    let spent = |run: Option<&&FederatedRun>, client: &str| {
        run.map_or_else(nothing, |run| joules(run.joules_of(client)))
    };
    let rows = first
        .clients
        .iter()
        .map(|client| {
            let mine = || {
                asynchronous
                    .into_iter()
                    .flat_map(|run| run.accepted())
                    .filter(|update| update.client == client.id)
            };
            let staleness =
                super::super::federated::mean(mine().map(|update| update.staleness as f64));
            vec![
                cell(&client.id),
                cell(&client.device),
                cell(client.clips),
                cell(significant(client.clips_per_second, 3)),
                cell(mine().count()),
                staleness.map_or_else(nothing, |mean| cell(format!("{mean:.1}"))),
                busy(asynchronous, &client.id),
                busy(synchronous, &client.id),
                spent(asynchronous, &client.id),
                spent(synchronous, &client.id),
            ]
        })
        .collect();
    table(
        "Clients and their devices",
        &[
            words("client"),
            words("device"),
            figures("clips", "training clips that it holds"),
            figures("clips a second", "that it trains on"),
            figures("updates", "that counted, in the asynchronous run"),
            figures("mean staleness", "of its updates, in the asynchronous run"),
            figures("busy, async", "share of the run in which it did something"),
            figures("busy, sync", "share of the run in which it did something"),
            figures(
                "joules, async",
                "modelled: watts of the profile times virtual time",
            ),
            figures(
                "joules, sync",
                "modelled: watts of the profile times virtual time",
            ),
        ],
        rows,
    )
}
