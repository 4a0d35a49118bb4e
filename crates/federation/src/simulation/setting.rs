//! Who takes part, at what cost, and what it came to.

use serde::{Deserialize, Serialize};

use crate::clock::DeviceClock;
use crate::energy::Energy;
use crate::history::ClientSummary;
use crate::message::Codec;

/// One client with its device.
#[derive(Debug, Clone)]
pub struct Participant {
    /// Its name and device, for the history.
    pub summary: ClientSummary,
    /// How long its tasks take.
    pub clock: DeviceClock,
    /// Steps of SGD of one pass over its clips.
    pub steps_per_pass: u64,
    /// Clips in a step.
    pub batch_size: u64,
}

impl Participant {
    /// Steps of a task of so many samples that begins with a pass. One that goes on in the middle of a pass may make one more, where the
    /// pass ends.
    pub fn steps(&self, samples: u64) -> u64 {
        let clips = self.summary.clips.max(1);
        let rest = (samples % clips).div_ceil(self.batch_size.max(1));
        samples / clips * self.steps_per_pass + rest.min(self.steps_per_pass)
    }
}

/// How updates travel to the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Uplink {
    /// How a change becomes bytes.
    pub codec: Codec,
    /// Whether a client adds what the codec left out of one message to its next.
    pub feedback: bool,
}

impl Uplink {
    /// Whether what arrives is what was sent and its length is known before it is encoded, so that encoding it here would
    /// change nothing.
    pub(super) fn is_plain(&self) -> bool {
        self.codec.is_exact() && self.codec.zstd.is_none()
    }
}

/// Everything about a run that its checkpoints need not hold.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The clients, in the order of [`Config::clients`].
    pub participants: Vec<Participant>,
    /// Samples between two evaluations.
    pub evaluate_every_samples: u64,
    /// Virtual seconds after which a round of FedAvg closes with what it has.
    pub round_deadline_seconds: Option<f64>,
    /// The run ends when an evaluation finds so large a share of right answers.
    pub target_top1: Option<f64>,
    /// Samples that make one client-epoch: the mean number of clips of a client.
    pub samples_per_client_epoch: f64,
    /// What a model costs to send to a client.
    pub bytes_down: u64,
    /// How updates travel back.
    pub uplink: Uplink,
    /// The run ends after so many tasks that devices lost with none that ended between.
    pub max_losses_in_a_row: u64,
}

/// What the run has cost and met so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes uploaded by finished tasks.
    pub bytes_up: u64,
    /// Bytes of all downloads that began.
    pub bytes_down: u64,
    /// Updates that counted.
    pub updates: u64,
    /// Updates that were refused.
    pub refused: u64,
    /// Tasks that devices lost.
    pub lost: u64,
    /// Tasks lost since the last one that ended.
    pub lost_in_a_row: u64,
    /// What the devices have spent, modelled.
    pub energy: Energy,
    /// Sum of the staleness of the updates that counted.
    pub staleness_sum: u64,
    /// The largest staleness of an update that counted.
    pub max_staleness: u64,
    /// Fewest local steps of a task that reached the server.
    pub min_steps: Option<u64>,
    /// Most local steps of a task that reached the server.
    pub max_steps: u64,
}

impl Totals {
    /// Mean staleness of the updates that counted.
    pub fn mean_staleness(&self) -> f64 {
        if self.updates == 0 {
            return 0.0;
        }
        self.staleness_sum as f64 / self.updates as f64
    }
}
