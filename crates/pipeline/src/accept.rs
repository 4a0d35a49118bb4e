//! Declaring an old output good for the key that a step has now.
//!
//! An edit that changes no result (a comment, a message, a refactoring) changes the code digest all the
//! same, and with it the keys. Whoever knows that the edit is harmless may keep the results: the latest one
//! of the step is recorded under its new key. Nothing is hidden: the provenance of that record, and of
//! every later acceptance of the same output, says from which key it was taken over, when, and what differed.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use fedact_artifact::{Accepted, Action, Attempt, Digest, LockOwner, Provenance, Store, host_name};
use serde::Serialize;
use serde_json::Value;

use crate::change::changes;
use crate::{
    Change, Contents, Node, PipelineError, PlannedStep, Preimage, Reason, State, StoreRecords,
};

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concern {
    /// Which stage it is.
    Stage,
    /// The stage's code.
    Code,
    /// The libraries under it.
    Libraries,
    /// The params.
    Params,
    /// The inputs.
    Inputs,
}

impl Concern {
    /// As in `--even-if params`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Code => "code",
            Self::Libraries => "libraries",
            Self::Params => "params",
            Self::Inputs => "inputs",
        }
    }
}

impl Change {
    /// What it is about.
    pub fn concern(&self) -> Concern {
        match self {
            Self::Stage { .. } => Concern::Stage,
            Self::Code { .. } => Concern::Code,
            Self::Library { .. } => Concern::Libraries,
            Self::Param { .. } => Concern::Params,
            Self::Input { .. } | Self::Content { .. } | Self::Items { .. } => Concern::Inputs,
        }
    }
}

/// An old result that can be declared good.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The step.
    pub step: String,
    /// The old result.
    pub old: Action,
    /// The key that it would be recorded under.
    pub key: Digest,
    /// All that differs between the two keys.
    pub changes: Vec<Change>,
    preimage: Preimage,
}

/// Why there is nothing to accept.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unacceptable {
    /// The key has a result.
    #[error("step `{step}` is fresh: there is nothing to accept")]
    Fresh {
        /// The step.
        step: String,
    },
    /// The key is not known yet.
    #[error("what step `{step}` would be made from is not known yet: it depends on {}", on.join(", "))]
    Waiting {
        /// The step.
        step: String,
        /// The steps that it waits for.
        on: Vec<String>,
    },
    /// The step has no result at all.
    #[error("step `{step}` has never run: there is no old result to accept")]
    NeverRun {
        /// The step.
        step: String,
    },
    /// The old result is lost.
    #[error("the old result of step `{step}` is no longer whole in the store")]
    Gone {
        /// The step.
        step: String,
    },
    /// What the old result was made from is written down in another way.
    #[error(
        "the old result of step `{step}` was made by another version of fedact, so that nobody can say what differs"
    )]
    OtherFormat {
        /// The step.
        step: String,
    },
    /// More differs than the user allows.
    #[error("step `{step}`: {}", changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotAllowed {
        /// The step.
        step: String,
        /// What they are about.
        concerns: BTreeSet<Concern>,
        /// The changes that are not allowed.
        changes: Vec<Change>,
    },
    /// Somebody makes the result just now.
    #[error("{owner} is making the result of step `{step}` just now")]
    Busy {
        /// The step.
        step: String,
        /// Who.
        owner: LockOwner,
    },
}

impl Unacceptable {
    /// What to do instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::Fresh { .. } => "`fedact status` lists the stale steps".to_owned(),
            Self::Waiting { on, .. } => {
                let steps = on.join(" ");
                format!("`fedact accept {steps}` or `fedact run {steps}` first")
            }
            Self::NeverRun { step } | Self::Gone { step } | Self::OtherFormat { step } => {
                format!("`fedact run {step}` makes one")
            }
            Self::NotAllowed { step, concerns, .. } if concerns.contains(&Concern::Stage) => {
                format!("the result of another stage cannot be accepted; `fedact run {step}`")
            }
            Self::NotAllowed { step, concerns, .. } => {
                let flags = concerns
                    .iter()
                    .map(|concern| format!(" --even-if {}", concern.name()));
                format!(
                    "such a change is meant to change the result, so that `fedact run {step}` is the way; if you \
                     know that it does not, `fedact accept {step}{}`",
                    flags.collect::<String>()
                )
            }
            Self::Busy { .. } => "wait for it, or interrupt it".to_owned(),
        }
    }
}

impl Candidate {
    /// The latest result of a planned step, if it may be declared good where the code differs and what
    /// `allowed` names besides.
    ///
    /// # Errors
    /// A store that cannot be read. Inside: why there is nothing to accept.
    pub fn find(
        node: &Node,
        planned: &PlannedStep,
        contents: &Contents,
        records: &StoreRecords<'_>,
        allowed: &BTreeSet<Concern>,
    ) -> Result<Result<Self, Unacceptable>, PipelineError> {
        let step = node.name.clone();
        let preimage = match &planned.state {
            State::Fresh | State::Remote => return Ok(Err(Unacceptable::Fresh { step })),
            State::NeverRun => return Ok(Err(Unacceptable::NeverRun { step })),
            State::Waiting { on } => {
                let on = on.clone();
                return Ok(Err(Unacceptable::Waiting { step, on }));
            }
            State::Stale {
                reason: Reason::Gone,
            } => return Ok(Err(Unacceptable::Gone { step })),
            State::Stale { .. } => Preimage::of(node, contents),
        };
        let (Some(old), Some(preimage)) = (records.latest_action(&step)?, preimage) else {
            return Ok(Err(Unacceptable::NeverRun { step }));
        };
        let Some(before) = Preimage::from_json(&old.preimage) else {
            return Ok(Err(Unacceptable::OtherFormat { step }));
        };
        let changes = changes(&before, &preimage);
        let forbidden: Vec<Change> = changes
            .iter()
            .filter(|change| {
                let concern = change.concern();
                concern == Concern::Stage
                    || (concern != Concern::Code && !allowed.contains(&concern))
            })
            .cloned()
            .collect();
        if !forbidden.is_empty() {
            return Ok(Err(Unacceptable::NotAllowed {
                step,
                concerns: forbidden.iter().map(Change::concern).collect(),
                changes: forbidden,
            }));
        }
        Ok(Ok(Self {
            step,
            old: Action::clone(&old),
            key: preimage.key(),
            changes,
            preimage,
        }))
    }

    /// Records the old result under the new key.
    ///
    /// # Errors
    /// A store that cannot be written to. Inside: the old result is lost, or somebody makes a new one.
    pub fn accept(
        self,
        store: &Store,
        version: &str,
    ) -> Result<Result<Action, Unacceptable>, PipelineError> {
        let lock = match store.try_lock(&self.key)? {
            Attempt::Locked(lock) => lock,
            Attempt::HeldBy(owner) => {
                return Ok(Err(Unacceptable::Busy {
                    step: self.step,
                    owner,
                }));
            }
        };
        let typed = |change: &Change| serde_json::to_value(change).unwrap_or(Value::Null);
        let mut accepted = self.old.provenance.accepted.clone();
        accepted.push(Accepted {
            from: self.old.key,
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            host: host_name(),
            version: version.to_owned(),
            changes: self.changes.iter().map(typed).collect(),
        });
        let provenance = Provenance {
            step: self.step.clone(),
            accepted,
            ..self.old.provenance
        };
        match store.record(&lock, &self.old.output, self.preimage.to_json(), provenance) {
            Ok(action) => Ok(Ok(action)),
            Err(error) if error.is_miss() => Ok(Err(Unacceptable::Gone { step: self.step })),
            Err(error) => Err(error.into()),
        }
    }
}
