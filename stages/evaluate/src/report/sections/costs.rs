//! What the federated runs cost beside time: bytes, energy, updates that did not count.

use super::Section;
use super::kit::{aside, cell, figures, heading, joules, nothing, paragraph, table, words};
use crate::report::{FederatedRun, Report, Strategy};
use fedact_chart::html::Element;
use fedact_chart::units::{bytes, count, percent, plural, significant};

/// The tables, if any run had clients that sent something.
pub fn section(report: &Report) -> Option<Section> {
    let fleets: Vec<&FederatedRun> = report
        .runs
        .iter()
        .filter(|run| run.strategy != Strategy::Central && !run.tasks.is_empty())
        .collect();
    if fleets.is_empty() {
        return None;
    }
    let mut body = vec![
        paragraph(
            "A model goes down to a client in float32, 4 bytes a number; what comes up is the change that training made, as its \
             codec writes it. A message's bytes are counted as they are encoded, its header included.",
        ),
        traffic(&fleets),
    ];
    if fleets.iter().any(|run| run.joules > 0.0) {
        body.push(aside(
            "Joules are modelled and not measured: the watts of a device's profile, an estimate, times the virtual time of its \
             transfers and training. What each client spends stands with the devices above.",
        ));
    }
    body.push(heading("What was refused"));
    body.extend(refusals(&fleets));
    Some(Section {
        id: "costs",
        title: "Bytes, energy and refusals",
        body,
    })
}

fn traffic(fleets: &[&FederatedRun]) -> Element {
    let rows = fleets.iter().map(|run| {
        let smaller = |mean: f64| format!("1/{}", significant(run.model_bytes as f64 / mean, 3));
        let mean = run.mean_message();
        vec![
            cell(&run.step).with(run.label()),
            run.codec.as_ref().map_or_else(nothing, cell),
            cell(count(run.tasks.len() as u64)),
            mean.map_or_else(nothing, |mean| cell(bytes(mean))),
            mean.filter(|mean| *mean > 0.0)
                .map_or_else(nothing, |mean| cell(smaller(mean))),
            cell(bytes(run.ending.bytes_up as f64)),
            cell(bytes(run.ending.bytes_down as f64)),
            joules(run.joules),
            joules(run.joules / run.ending.samples.max(1) as f64),
        ]
    });
    table(
        "What the clients sent and spent",
        &[
            words("run"),
            words("codec"),
            figures(
                "messages",
                "updates that reached the server, refused ones included",
            ),
            figures("a message", "its mean bytes"),
            figures(
                "of the model",
                "a mean message over the model as it goes down",
            ),
            figures("bytes up", "of all messages"),
            figures("bytes down", "of all downloads that began"),
            figures("joules", "of all tasks that ended, modelled"),
            figures("joules a clip", "modelled, for each clip trained on"),
        ],
        rows.collect(),
    )
}

fn refusals(fleets: &[&FederatedRun]) -> Vec<Element> {
    let refused: Vec<_> = fleets.iter().filter(|run| run.refused() > 0).collect();
    if refused.is_empty() {
        let updates: usize = fleets.iter().map(|run| run.updates.len()).sum();
        return vec![paragraph(format!(
            "Nothing: all {} of these runs passed the server's checks.",
            plural(updates as u64, "update", "updates")
        ))];
    }
    let rows = refused.into_iter().flat_map(|run| {
        let all = run.updates.len() as f64;
        run.refusals().into_iter().map(move |(reason, number)| {
            vec![
                cell(&run.step),
                cell(reason),
                cell(count(number)),
                cell(percent(number as f64 / all)),
            ]
        })
    });
    vec![
        paragraph(
            "An update counts only if it passes the server's checks: of its sender, its task, its shape, its numbers and, where a \
             bound is set, of how far it goes and how stale it is. The reason is the code in the run's history.",
        ),
        table(
            "Refused updates by reason",
            &[
                words("run"),
                words("reason"),
                figures("updates", "refused for this reason"),
                figures("share", "of all updates of the run"),
            ],
            rows.collect(),
        ),
    ]
}
