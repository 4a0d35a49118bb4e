//! What a coordinator is told beside the rules of the run.

use std::path::PathBuf;
use std::time::Duration;

use fedact_federation::layout::Layout;
use fedact_federation::message::Codec;
use fedact_federation::task_length::TaskLength;

use crate::Name;
use crate::wire::Description;

/// How a run is driven. None of it changes what a replay of the journal gives.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The certificate authority of the server, in PEM; none on loopback.
    pub authority: Option<String>,
    /// `fleet.toml`: read again when it changes, so that revoked devices are sent away and added ones taken in.
    pub roster: Option<PathBuf>,
    /// Clips of an ordinary task of a device that is added to the fleet when the run is under way. None: such devices take part from
    /// the next run on, as they do under a strategy that admits nobody later
    /// ([`Strategy::admits_newcomers`](fedact_federation::strategy::Strategy::admits_newcomers)).
    pub newcomers: Option<u64>,
    /// How long the tasks of devices are that say how many clips they have. None: as long as the rules of the run say.
    pub own_clips: Option<OwnClips>,
    /// How devices encode their updates.
    pub codec: Codec,
    /// Whether they add to an update what the last one left out.
    pub feedback: bool,
    /// How the difference is encoded that goes down to a device that has a model already; none: all models go down whole.
    /// By an exact codec a device has the version bit for bit, by a lossy one it trains from what comes near it
    /// ([`crate::difference`]).
    pub differences: Option<Codec>,
    /// What all random rounding derives from.
    pub seed: u64,
    /// A device that is silent for so long has lost its task.
    pub lease: Duration,
    /// Rounds close after so long, with what has arrived.
    pub round_deadline: Option<Duration>,
    /// When no device was heard for so long, the run ends (`no-clients-left`). None: it waits.
    pub patience: Option<Duration>,
    /// The run ends after so many lost tasks with none answered between (`all-tasks-lost`).
    pub max_losses_in_a_row: u64,
    /// Events between two checkpoints.
    pub checkpoint_every: u64,
    /// Whether every update stays in `updates/`, so that the whole run can be replayed. Else each goes with the checkpoint
    /// that contains it.
    pub keep_updates: bool,
    /// What trainers must know; goes to every device as it is.
    pub trainer: serde_json::Value,
}

/// What follows from the clips that a device has. It may say anything: a task that is too long would eat up the budget of a run, and its
/// update would outweigh all others where updates count by their samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnClips {
    /// How many of them an ordinary task takes.
    pub length: TaskLength,
    /// No device counts for more; one that has more goes on in them where its last task ended.
    pub most: u64,
    /// The run's budget is so many tasks of a mean device: one of those that have said how many clips they have.
    pub tasks: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authority: None,
            roster: None,
            newcomers: None,
            own_clips: None,
            codec: Codec::default(),
            feedback: false,
            differences: None,
            seed: 0,
            lease: Duration::from_secs(60),
            round_deadline: None,
            patience: None,
            max_losses_in_a_row: 1000,
            checkpoint_every: 64,
            keep_updates: false,
            trainer: serde_json::Value::Null,
        }
    }
}

impl Settings {
    /// What every device must know of a run.
    pub(super) fn description(&self, fleet: &Name, run: u64, layout: &Layout) -> Description {
        Description {
            fleet: fleet.clone(),
            run,
            layout: layout.clone(),
            codec: self.codec.clone(),
            feedback: self.feedback,
            seed: self.seed,
            lease_seconds: self.lease.as_secs_f64(),
            settings: self.trainer.clone(),
        }
    }
}
