//! Results elsewhere: what a plan asks of a place that machines exchange results through, and what a run fetches
//! from there and tells it.
//!
//! Which place that is, and how one speaks with it, is the caller's affair: this crate has no network.
//!
//! A record there is a claim that a key has a certain output, and a claim is enough to plan with: the keys of the
//! steps behind it follow from it. So contents are fetched only where they are needed: those that are wanted when
//! the run is over ([`wanted`]), and those that a step which must run reads.

use std::collections::BTreeSet;
use std::path::Path;

use fedact_artifact::{Action, ArtifactError, Digest};

use crate::{Graph, PipelineError, Plan, State};

/// Hears of bytes had and bytes to have; what it returns says whether to go on.
pub type Fetching<'a> = &'a (dyn Fn(u64, u64) -> bool + Sync);

/// A place through which machines exchange results. It never fails a run: what it does not have, or does not give
/// rightly and in time, is not there, and [`Exchange::take_warnings`] says why.
pub trait Exchange: Send + Sync {
    /// The record that it claims to be that of a key, where the claim can be believed. Takes as long as an answer.
    fn find(&self, key: &Digest) -> Option<Action>;

    /// Lays the files of a result that [`Exchange::find`] gave out in an empty folder; says whether they are all
    /// there and right.
    ///
    /// # Errors
    /// The folder cannot be written to.
    fn fetch(
        &self,
        action: &Action,
        folder: &Path,
        progress: Fetching<'_>,
    ) -> Result<bool, ArtifactError>;

    /// Takes note of a result that was made here, and returns at once.
    fn share(&self, action: &Action);

    /// How the results that were to be shared stand.
    fn shared(&self) -> Shared;

    /// What is to be said since the last time this was asked.
    fn take_warnings(&self) -> Vec<String>;
}

/// How results on their way out stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// Those that are there now, and were not before.
    pub sent: usize,
    /// Those that are still on their way.
    pub waiting: usize,
}

/// The steps whose results are to be in their folders when a run of these targets is over, wherever they were made:
/// the targets, or the last steps where there are none; and those whose folders are there already, which must not
/// stay as they were in a former run.
///
/// # Errors
/// A target that stands for nothing.
pub fn wanted(
    graph: &Graph,
    targets: &[String],
    artifacts: &Path,
) -> Result<BTreeSet<String>, PipelineError> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for target in targets {
        let nodes = graph.select(target)?;
        wanted.extend(nodes.into_iter().map(|node| node.name.clone()));
    }
    let read: BTreeSet<&str> = graph
        .nodes()
        .iter()
        .flat_map(|node| node.upstream())
        .collect();
    let rest = graph.nodes().iter().filter(|node| {
        let last = targets.is_empty() && !read.contains(node.name.as_str());
        last || artifacts.join(&node.name).exists()
    });
    wanted.extend(rest.map(|node| node.name.clone()));
    Ok(wanted)
}

impl Plan {
    /// Of the steps whose results are elsewhere, those that a run fetches for certain, in the order of the plan:
    /// the wanted ones, and those that a step reads which runs for certain.
    pub fn fetches(&self, graph: &Graph, wanted: &BTreeSet<String>) -> Vec<String> {
        let read: BTreeSet<&str> = graph
            .nodes()
            .iter()
            .zip(&self.steps)
            .filter(|(_, planned)| planned.state.runs())
            .flat_map(|(node, _)| node.upstream())
            .collect();
        let fetched = self.steps.iter().filter(|planned| {
            let name = planned.step.as_str();
            planned.state == State::Remote && (wanted.contains(name) || read.contains(name))
        });
        fetched.map(|planned| planned.step.clone()).collect()
    }
}
