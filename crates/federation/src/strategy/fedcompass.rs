//! FedCompass: Li, Chaturvedi, He, Chard, Singh, Kindratenko, Huerta, Kim, Madduri, "FedCompass: Efficient
//! Cross-Silo Federated Learning on Heterogeneous Client Devices using a Computing Power Aware Scheduler", ICLR
//! 2024, arXiv 2309.14675.
//!
//! The server learns how fast each client is and allots it as much work as lets it arrive together with others:
//!
//! * A client whose speed is known **joins** the group that it can reach with the most work, between the least
//!   and the most, by the time at which that group is expected.
//! * Otherwise it **founds** a group: with as much work as brings it in together with the next task of the
//!   fastest member of a group under way, if that is at most the most; the most if there is none.
//! * A group closes when all its members have arrived, or at its latest time, `λ` times as far off as the expected
//!   one. Then the server steps, and the members are allotted anew, the fastest first.
//! * A change that comes after its group has closed counts with the next group that closes; its client goes on.
//!
//! A group's step is `x = x + η·Σ p_i·s(t - τ_i)·Δ_i`, with `p_i` the client's share of all clients' samples, so
//! a group of half the fleet goes half as far. The paper's description could be read in part only; the rules
//! above are as in its authors' program, with these differences: work is counted in samples, between the same bounds
//! for all clients, shares of a mean client's ordinary task; and a client's first task is an ordinary one of its own.
//!
//! Where the most work is as many times the least as the fastest client is faster than the slowest, all of them make one group
//! whose updates are of the last version, and nobody waits.

use serde::{Deserialize, Serialize};

use super::ServerOptimizer;
use super::fedbuff::staleness_weight;

/// The server's constants of FedCompass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FedCompass {
    /// The least work of a task, as a share of a mean client's ordinary one; above 0.
    pub min_work: f64,
    /// The most work of a task; at least `min_work`.
    pub max_work: f64,
    /// `λ`, how much later than expected a group may be; at least 1.
    pub latency_factor: f64,
    /// How much the last task's speed counts in the estimate; above 0 and at most 1.
    pub speed_momentum: f64,
    /// The exponent of the staleness's weight; 0: staleness is not weighed.
    pub staleness_exponent: f64,
    /// Staler changes are refused.
    pub max_staleness: Option<u64>,
    /// How a group's change becomes a step.
    pub optimizer: ServerOptimizer,
}

impl Default for FedCompass {
    fn default() -> Self {
        Self {
            min_work: 0.5,
            max_work: 2.5,
            latency_factor: 1.2,
            speed_momentum: 0.9,
            staleness_exponent: 0.5,
            max_staleness: None,
            optimizer: ServerOptimizer::default(),
        }
    }
}

/// A group that is under way, as the allotment sees it. Times are the driver's seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupTimes {
    /// Its number.
    pub number: u64,
    /// When its members should be back.
    pub expected: f64,
    /// When it closes whoever is missing.
    pub latest: f64,
    /// Seconds that its fastest member takes for the most work it may be given.
    pub fastest_task: f64,
}

/// What a client is given to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allotment {
    /// Work within a group that is there.
    Join {
        /// The group's number.
        group: u64,
        /// Samples to process.
        samples: u64,
    },
    /// Work that founds a group.
    Found {
        /// Samples to process.
        samples: u64,
        /// When the new group is expected.
        expected: f64,
        /// When it closes at the latest.
        latest: f64,
    },
}

impl FedCompass {
    /// `s(staleness)`.
    pub fn weight(&self, staleness: u64) -> f64 {
        staleness_weight(staleness, self.staleness_exponent)
    }

    /// The least and the most samples of a task, where an ordinary one of a mean client has `mean`.
    pub fn bounds(&self, mean: u64) -> (u64, u64) {
        let share = |share: f64| (share * mean as f64).round().max(1.0) as u64;
        (share(self.min_work), share(self.max_work))
    }

    /// A new estimate of the seconds that a client takes for a sample.
    pub fn estimate(&self, before: Option<f64>, observed: f64) -> f64 {
        before.map_or(observed, |before| {
            (1.0 - self.speed_momentum) * before + self.speed_momentum * observed
        })
    }

    /// What a client that takes `pace` seconds a sample is given at `now`.
    pub fn allot(&self, now: f64, pace: f64, mean: u64, groups: &[GroupTimes]) -> Allotment {
        let (least, most) = self.bounds(mean);
        let within = |until: f64| {
            ((until - now) / pace.max(f64::MIN_POSITIVE))
                .floor()
                .max(0.0)
        };
        let mut best: Option<(u64, u64)> = None;
        for group in groups {
            let samples = within(group.expected) as u64;
            let more = best.is_none_or(|(_, most_yet)| samples > most_yet);
            if (least..=most).contains(&samples) && more {
                best = Some((group.number, samples));
            }
        }
        if let Some((group, samples)) = best {
            return Allotment::Join { group, samples };
        }
        let samples = groups
            .iter()
            .filter(|group| group.latest > now)
            .map(|group| within(group.latest + group.fastest_task) as u64)
            .filter(|samples| *samples <= most)
            .max()
            .map_or(most, |samples| samples.max(least));
        let seconds = samples as f64 * pace;
        Allotment::Found {
            samples,
            expected: now + seconds,
            latest: now + self.latency_factor * seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPASS: FedCompass = FedCompass {
        min_work: 0.5,
        max_work: 2.0,
        latency_factor: 1.5,
        speed_momentum: 0.75,
        staleness_exponent: 0.5,
        max_staleness: None,
        optimizer: ServerOptimizer::Sgd {
            look_ahead: 0.0,
            learning_rate: 1.0,
            momentum: 0.0,
        },
    };

    fn group(number: u64, expected: f64) -> GroupTimes {
        GroupTimes {
            number,
            expected,
            latest: expected + 10.0,
            fastest_task: 5.0,
        }
    }

    #[test]
    fn the_first_client_founds_a_group_with_the_most_work() {
        // 20 samples at 2 s: expected at 100 + 40, at the latest at 100 + 60.
        let allotment = COMPASS.allot(100.0, 2.0, 10, &[]);
        assert_eq!(
            allotment,
            Allotment::Found {
                samples: 20,
                expected: 140.0,
                latest: 160.0
            }
        );
    }

    #[test]
    fn a_client_joins_the_group_it_can_reach_with_the_most_work() {
        // At 2 s a sample, 8, 15 and 30 samples fit before the three; 5 to 20 are allowed.
        let groups = [group(0, 116.0), group(1, 130.9), group(2, 160.0)];
        assert_eq!(
            COMPASS.allot(100.0, 2.0, 10, &groups),
            Allotment::Join {
                group: 1,
                samples: 15
            }
        );
    }

    #[test]
    fn a_client_too_slow_to_join_aims_for_the_next_task_of_the_fastest_member() {
        // 10 s a sample: 1 fits before the group. Its fastest member is back again at 120 + 5: 2 fit, 5 are
        // the least. With 2.5 s a sample 10 would fit.
        let groups = [group(0, 110.0)];
        assert!(matches!(
            COMPASS.allot(100.0, 10.0, 10, &groups),
            Allotment::Found { samples: 5, .. }
        ));
        assert!(matches!(
            COMPASS.allot(100.0, 2.5, 10, &groups),
            Allotment::Found { samples: 10, .. }
        ));
    }

    #[test]
    fn a_client_too_fast_for_any_group_founds_one_with_the_most_work() {
        let groups = [group(0, 10_000.0)];
        assert!(matches!(
            COMPASS.allot(100.0, 1.0, 10, &groups),
            Allotment::Found { samples: 20, .. }
        ));
    }

    #[test]
    fn a_pace_is_learned_from_what_was_observed() {
        assert_eq!(COMPASS.estimate(None, 2.0), 2.0);
        assert_eq!(COMPASS.estimate(Some(2.0), 4.0), 3.5);
    }
}
