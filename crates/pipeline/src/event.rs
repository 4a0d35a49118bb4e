//! What a run tells, and how it ends.

use std::path::PathBuf;

use fedact_artifact::Digest;
use fedact_stage::{Event, Metrics, Shard};
use serde::Serialize;

use crate::{Estimate, Failure, Plan};

/// One thing that happened in a run. As JSON, one object a line, it is the output of `run --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// A folder of the user's is being read to learn its digest.
    Digesting {
        /// The folder.
        folder: PathBuf,
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// What is going to be done; the first event of a run that begins.
    Planned {
        /// The plan.
        plan: Plan,
        /// The steps whose results are fetched from the remote for certain.
        fetches: Vec<String>,
        /// How long it may take.
        estimate: Estimate,
    },
    /// A step's result came out of the store.
    FromStore {
        /// The step.
        step: String,
        /// Its key.
        key: Digest,
        /// Digest of its output.
        output: Digest,
    },
    /// The remote has a step's result, and it stays there: nothing here needs its files so far.
    Remote {
        /// The step.
        step: String,
        /// Its key.
        key: Digest,
        /// Digest of its output.
        output: Digest,
    },
    /// A step's result came from the remote.
    Fetched {
        /// The step.
        step: String,
        /// Its key.
        key: Digest,
        /// Digest of its output.
        output: Digest,
        /// Bytes of its files.
        bytes: u64,
    },
    /// A step waits for another run on the same store.
    Waiting {
        /// The step.
        step: String,
        /// What it waits for, in words.
        reason: String,
    },
    /// A step's process is about to start.
    Started {
        /// The step.
        step: String,
        /// Its stage.
        stage: String,
        /// Its key.
        key: Digest,
        /// How many cores it may use.
        cores: usize,
        /// The shard that is made of it, where it is not made whole.
        shard: Option<Shard>,
        /// Whether it goes on from checkpoints of a run that was cut off.
        resumed: bool,
        /// How long it took the last time, in seconds.
        last_seconds: Option<f64>,
    },
    /// A running step said something.
    Reported {
        /// The step.
        step: String,
        /// What it said.
        report: Event,
    },
    /// The user wants an end: the steps that run are asked to stop at their next checkpoints.
    Stopping {
        /// These steps.
        steps: Vec<String>,
        /// When what has not ended is killed, in seconds from now.
        within_seconds: f64,
    },
    /// A step ended well and its output is in the store.
    Finished {
        /// The step.
        step: String,
        /// Its key.
        key: Digest,
        /// Digest of its output.
        output: Digest,
        /// Wall seconds.
        seconds: f64,
        /// Whether the output is the same as the step's latest one before.
        unchanged: bool,
        /// The figures it ended with.
        metrics: Metrics,
        /// What it warned of.
        warnings: Vec<String>,
    },
    /// A shard of a step's pieces is done and in the store; the step has no output yet.
    ShardDone {
        /// The step.
        step: String,
        /// Its key.
        key: Digest,
        /// Which shard.
        shard: Shard,
        /// Wall seconds.
        seconds: f64,
        /// The figures it ended with.
        metrics: Metrics,
        /// What it warned of.
        warnings: Vec<String>,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: String,
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
    /// A step did not run, or was broken off.
    NotRun {
        /// The step.
        step: String,
        /// Why.
        reason: NotRun,
    },
    /// Something about the remote is not as it should be; the run goes on.
    Warning {
        /// What, in words.
        text: String,
    },
    /// All steps are over, and results are still on their way to the remote.
    Sharing {
        /// How many.
        results: usize,
    },
    /// The run is over; the last event.
    Ended {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
}

/// Why a step did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum NotRun {
    /// A step that it needs failed, or did not run itself.
    Needs {
        /// That step.
        step: String,
    },
    /// Another step failed, and the run ends with the first failure.
    OtherFailure,
    /// The user interrupted the run.
    Interrupted,
}

/// How a run ended: the names of its steps by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Steps that ran and ended well.
    pub ran: Vec<String>,
    /// Steps of which a shard was made, and no output.
    pub shards: Vec<String>,
    /// Steps whose results came out of the store.
    pub from_store: Vec<String>,
    /// Steps whose results came from the remote.
    pub fetched: Vec<String>,
    /// Steps whose results stay on the remote.
    pub remote: Vec<String>,
    /// Steps that failed.
    pub failed: Vec<String>,
    /// Steps that did not run, or were broken off.
    pub not_run: Vec<String>,
    /// Whether the user interrupted the run.
    pub interrupted: bool,
    /// Whether each failure lies in the data or params that the user gave.
    pub invalid_input: bool,
    /// How many results are on the remote now that were not before.
    pub shared: usize,
    /// How many were still on their way there when the user wanted an end.
    pub unshared: usize,
    /// Wall seconds, without those in which uploads were waited for.
    pub seconds: f64,
}

impl Outcome {
    /// A step that was there already has to be looked at again.
    pub(crate) fn forget(&mut self, step: &str) {
        self.from_store.retain(|name| name != step);
        self.fetched.retain(|name| name != step);
    }
}
