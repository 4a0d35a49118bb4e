//! What a run would do, without doing it. `status`, `--dry-run` and `run` all plan here.

use std::collections::BTreeSet;

use fedact_artifact::Digest;
use serde::Serialize;

use crate::change::{Change, changes};
use crate::key::Contents;
use crate::{Graph, Node, PipelineError, Preimage};

/// What the planner asks of the store, and of other places that results come from.
pub trait Records {
    /// These keys are about to be looked up. Places that take a while to answer are asked here, for all of them
    /// side by side, and nowhere else.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn expect(&self, _keys: &[Digest]) -> Result<(), PipelineError> {
        Ok(())
    }

    /// The result kept under a key, if it is there and whole.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn lookup(&self, key: &Digest) -> Result<Option<Found>, PipelineError>;

    /// The latest result that a step of this name has had, whatever its key.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn latest(&self, step: &str) -> Result<Option<Previous>, PipelineError>;
}

/// A result that has been made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Whether the store has it; else another place does.
    pub here: bool,
    /// Digest of its manifest.
    pub output: Digest,
    /// How long it took to make.
    pub seconds: f64,
}

/// A result that a step had before.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// What it was made from; `None` where another version wrote it down in another way.
    pub preimage: Option<Preimage>,
    /// Digest of its manifest.
    pub output: Digest,
    /// How long it took to make.
    pub seconds: f64,
}

/// What is to be done, frozen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The steps, each after those it needs.
    pub steps: Vec<PlannedStep>,
    /// Steps to run although the store has their results. One that waits for another does not show it in
    /// its state.
    #[serde(skip)]
    pub forced: BTreeSet<String>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// The step.
    pub step: String,
    /// Its stage.
    pub stage: String,
    /// What is to be done with it.
    #[serde(flatten)]
    pub state: State,
    /// Its key, where it is known before the run.
    pub key: Option<Digest>,
    /// How long it took the last time, in seconds.
    pub last_seconds: Option<f64>,
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// The store has its result.
    Fresh,
    /// The store has not, but the remote that the run is given has.
    Remote,
    /// It has run before, but not like this.
    Stale {
        /// The first reason.
        reason: Reason,
    },
    /// It has never run.
    NeverRun,
    /// What it takes from other steps is not known until they have run; equal outputs may yet make it
    /// fresh.
    Waiting {
        /// Those steps.
        on: Vec<String>,
    },
}

/// Why a step that has run before has to run again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum Reason {
    /// The user asked for it.
    Forced,
    /// Something that decides the result is another.
    Changed {
        /// The first change.
        change: Change,
    },
    /// The result was there, but is gone or damaged.
    Gone,
    /// The result was made by a version of fedact that makes keys in another way.
    OtherFormat,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forced => f.write_str("asked for with --force"),
            Self::Changed { change } => change.fmt(f),
            Self::Gone => f.write_str("its result is no longer whole in the store"),
            Self::OtherFormat => f.write_str("its result was made by another version of fedact"),
        }
    }
}

impl State {
    /// Whether a run would start this step for certain.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::NeverRun)
    }

    /// Whether its result has been made, here or elsewhere.
    pub fn is_made(&self) -> bool {
        matches!(self, Self::Fresh | Self::Remote)
    }
}

impl Plan {
    /// Plans the steps of a graph. Fills `contents` with the outputs that are known.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn make(
        graph: &Graph,
        contents: &mut Contents,
        records: &impl Records,
        forced: &BTreeSet<String>,
    ) -> Result<Self, PipelineError> {
        let mut steps = Vec::with_capacity(graph.nodes().len());
        for instances in graph.steps() {
            // None of them takes anything from another: their keys are known at once, or not at all yet.
            let keyed: Vec<Option<Keyed>> = instances
                .iter()
                .map(|node| Preimage::of(node, contents).map(Keyed::new))
                .collect();
            let looked_up = instances.iter().zip(&keyed).filter_map(|(node, keyed)| {
                let keyed = keyed.as_ref()?;
                (!forced.contains(&node.name)).then_some(keyed.key)
            });
            records.expect(&looked_up.collect::<Vec<_>>())?;
            for (node, keyed) in instances.iter().zip(keyed) {
                let (state, key, last_seconds) = judge(node, keyed, contents, records, forced)?;
                steps.push(PlannedStep {
                    step: node.name.clone(),
                    stage: node.definition().name.to_owned(),
                    state,
                    key,
                    last_seconds,
                });
            }
        }
        Ok(Self {
            steps,
            forced: forced.clone(),
        })
    }

    /// Whether everything has been made already, here or elsewhere.
    pub fn nothing_to_do(&self) -> bool {
        self.steps.iter().all(|step| step.state.is_made())
    }
}

type Judgement = (State, Option<Digest>, Option<f64>);

/// What a key is made from, and the key.
struct Keyed {
    preimage: Preimage,
    key: Digest,
}

impl Keyed {
    fn new(preimage: Preimage) -> Self {
        Self {
            key: preimage.key(),
            preimage,
        }
    }
}

fn judge(
    node: &Node,
    keyed: Option<Keyed>,
    contents: &mut Contents,
    records: &impl Records,
    forced: &BTreeSet<String>,
) -> Result<Judgement, PipelineError> {
    let Some(Keyed { preimage, key }) = keyed else {
        let on = node
            .upstream()
            .filter(|step| !contents.steps.contains_key(*step))
            .map(str::to_owned)
            .collect();
        let last = records.latest(&node.name)?;
        return Ok((State::Waiting { on }, None, last.map(|last| last.seconds)));
    };
    let found = records.lookup(&key)?;
    if forced.contains(&node.name) {
        let state = State::Stale {
            reason: Reason::Forced,
        };
        return Ok((state, Some(key), found.map(|found| found.seconds)));
    }
    if let Some(found) = found {
        contents.steps.insert(node.name.clone(), found.output);
        let state = if found.here {
            State::Fresh
        } else {
            State::Remote
        };
        return Ok((state, Some(key), Some(found.seconds)));
    }
    let Some(last) = records.latest(&node.name)? else {
        return Ok((State::NeverRun, Some(key), None));
    };
    let reason = match &last.preimage {
        None => Reason::OtherFormat,
        Some(old) => match changes(old, &preimage).into_iter().next() {
            Some(change) => Reason::Changed { change },
            None => Reason::Gone,
        },
    };
    Ok((State::Stale { reason }, Some(key), Some(last.seconds)))
}
