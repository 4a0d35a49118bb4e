//! The sections of the page, one a file, in the order in which they are read.

mod accuracy;
mod confusion;
mod costs;
mod devices;
mod distillation;
mod frames;
mod glance;
mod kit;
mod models;
mod notes;
mod savings;
mod staleness;
mod summary;
mod training;

use super::{FederatedRun, Report, Strategy};
use fedact_chart::html::Element;

pub use summary::summary;

/// A numbered section.
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it holds.
    pub body: Vec<Element>,
}

/// Every section that has something to say about this report, in reading order.
pub fn sections(report: &Report) -> Vec<Section> {
    [
        glance::section(report),
        accuracy::section(report),
        savings::section(report),
        models::section(report),
        distillation::section(report),
        confusion::section(report),
        devices::section(report),
        staleness::section(report),
        costs::section(report),
        frames::section(report),
        training::section(report),
        notes::section(report),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Colour and marker of each run, the same in every plot: the first asynchronous run, the first synchronous
/// and the first central one have their own; further ones get what is left, in order.
fn styles(runs: &[FederatedRun]) -> Vec<usize> {
    let reserved = [Strategy::Async, Strategy::Sync, Strategy::Central];
    let mut taken = [false; 3];
    let mut next = reserved.len();
    runs.iter()
        .map(|run| {
            if let Some(role) = reserved
                .iter()
                .position(|strategy| *strategy == run.strategy)
                && !taken[role]
            {
                taken[role] = true;
                return role;
            }
            next += 1;
            next - 1
        })
        .collect()
}
