//! The virtual clock: how long a task takes on a device, and which event comes next.
//!
//! Nothing here looks at the machine's own clock. The time a task takes derives from the run's seed,
//! the client and how many tasks that client had before, so the same client is as quick or slow in its
//! third task under every strategy, and the order in which tasks are computed changes nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::device::DeviceProfile;

/// A random number generator for one purpose, from a run's seed and the numbers that identify it.
pub fn derived_rng(seed: u64, purpose: &[u64]) -> ChaCha8Rng {
    // SplitMix64's finaliser (Steele, Lea, Flood 2014) after each word keeps nearby purposes apart.
    let mut state = seed;
    for word in purpose {
        state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    ChaCha8Rng::seed_from_u64(state)
}

const TASK_TIMES: u64 = 1;

/// When the parts of a task end, in virtual seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskTimes {
    /// The download begins.
    pub start: f64,
    /// The model is on the device.
    pub download_end: f64,
    /// Training is over.
    pub training_end: f64,
    /// The update is at the server.
    pub upload_end: f64,
    /// The device drops out at this time, and the task is lost.
    pub lost_at: Option<f64>,
}

/// What a task asks of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Clips to process, repeats counted.
    pub samples: u64,
    /// Bytes to download before.
    pub bytes_down: u64,
    /// Bytes to upload after.
    pub bytes_up: u64,
}

/// Seconds to move `bytes` over a link.
pub fn transfer_seconds(bytes: u64, megabits_per_second: f64, latency_seconds: f64) -> f64 {
    latency_seconds + bytes as f64 * 8.0 / (megabits_per_second * 1e6)
}

/// One device as the clock sees it.
#[derive(Debug, Clone)]
pub struct DeviceClock {
    profile: DeviceProfile,
    clips_per_second: f64,
    seed: u64,
    client: u64,
}

impl DeviceClock {
    /// The device of client number `client` in a run with this seed, which trains on
    /// `clips_per_second` of the run's model before jitter.
    pub fn new(profile: DeviceProfile, clips_per_second: f64, seed: u64, client: u64) -> Self {
        Self {
            profile,
            clips_per_second,
            seed,
            client,
        }
    }

    /// Clips a second that it trains on before jitter.
    pub fn clips_per_second(&self) -> f64 {
        self.clips_per_second
    }

    /// Its profile.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// When the parts of the client's task number `nth` end, if it starts at `start`. Training time
    /// and transfer time are each stretched by a log-normal factor of mean 1.
    pub fn schedule(&self, nth: u64, start: f64, load: Load) -> TaskTimes {
        let mut rng = derived_rng(self.seed, &[TASK_TIMES, self.client, nth]);
        let sigma = self.profile.jitter.value;
        let mut stretch = || {
            let normal: f64 = StandardNormal.sample(&mut rng);
            (sigma * normal - sigma * sigma / 2.0).exp()
        };
        let latency = self.profile.latency_seconds.value;
        let down = self.profile.down_megabits_per_second.value;
        let up = self.profile.up_megabits_per_second.value;
        let download = transfer_seconds(load.bytes_down, down, latency) * stretch();
        let training = load.samples as f64 / self.clips_per_second * stretch();
        let upload = transfer_seconds(load.bytes_up, up, latency) * stretch();
        let upload_end = start + download + training + upload;
        let lost_at = self.profile.drop_out.as_ref().and_then(|drop_out| {
            (rng.random::<f64>() < drop_out.probability)
                .then(|| start + rng.random::<f64>() * (upload_end - start))
        });
        TaskTimes {
            start,
            download_end: start + download,
            training_end: start + download + training,
            upload_end,
            lost_at,
        }
    }
}

/// Events in the order of their virtual time; of two at the same time the one put in first comes
/// first.
#[derive(Debug, Clone)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    now: f64,
    sequence: u64,
}

#[derive(Debug, Clone)]
struct Entry<E> {
    time: f64,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.time
            .total_cmp(&other.time)
            .then(self.sequence.cmp(&other.sequence))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order(other)
    }
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self::starting_at(0.0)
    }
}

impl<E> EventQueue<E> {
    /// An empty queue whose clock stands at `now`.
    pub fn starting_at(now: f64) -> Self {
        Self {
            heap: BinaryHeap::new(),
            now,
            sequence: 0,
        }
    }

    /// The virtual time: that of the last event taken out.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Puts an event in. One that is due in the past happens now: time never goes back.
    pub fn push(&mut self, time: f64, event: E) {
        self.heap.push(Reverse(Entry {
            time: time.max(self.now),
            sequence: self.sequence,
            event,
        }));
        self.sequence += 1;
    }

    /// Takes out the next event and moves the clock to its time.
    pub fn pop(&mut self) -> Option<(f64, E)> {
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.time;
        Some((entry.time, entry.event))
    }

    /// What is still to come, in order: pushed in this order into an empty queue, it is the same
    /// queue again.
    pub fn pending(&self) -> Vec<(f64, E)>
    where
        E: Clone,
    {
        let mut entries: Vec<_> = self.heap.iter().map(|Reverse(entry)| entry).collect();
        entries.sort();
        entries
            .into_iter()
            .map(|entry| (entry.time, entry.event.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::{Catalogue, DropOut};

    fn clock(device: &str, jitter: f64, seed: u64, client: u64) -> DeviceClock {
        let mut profile = Catalogue::built_in().profile(device).unwrap().clone();
        profile.jitter.value = jitter;
        profile.latency_seconds.value = 0.5;
        profile.down_megabits_per_second.value = 8.0;
        profile.up_megabits_per_second.value = 4.0;
        DeviceClock::new(profile, 5.0, seed, client)
    }

    const LOAD: Load = Load {
        samples: 20,
        bytes_down: 2_000_000,
        bytes_up: 1_000_000,
    };

    #[test]
    fn without_jitter_a_task_takes_the_time_computed_by_hand() {
        // Down: 0.5 + 16 Mbit / 8 = 2.5 s. Training: 20 / 5 = 4 s. Up: 0.5 + 8 Mbit / 4 = 2.5 s.
        let times = clock("phone", 0.0, 1, 0).schedule(0, 10.0, LOAD);
        assert_eq!(times.download_end, 12.5);
        assert_eq!(times.training_end, 16.5);
        assert_eq!(times.upload_end, 19.0);
        assert_eq!(times.lost_at, None);
    }

    #[test]
    fn jitter_keeps_the_mean_and_depends_on_client_and_task_alone() {
        let clock = clock("phone", 0.3, 1, 0);
        let tasks = 4000;
        let mean = (0..tasks)
            .map(|nth| clock.schedule(nth, 0.0, LOAD).upload_end)
            .sum::<f64>()
            / tasks as f64;
        assert!((mean - 9.0).abs() < 0.1, "{mean}");
        assert_eq!(clock.schedule(3, 0.0, LOAD), clock.schedule(3, 0.0, LOAD));
        assert_ne!(clock.schedule(3, 0.0, LOAD), clock.schedule(4, 0.0, LOAD));
        let neighbour = self::clock("phone", 0.3, 1, 1);
        assert_ne!(
            clock.schedule(3, 0.0, LOAD),
            neighbour.schedule(3, 0.0, LOAD)
        );
    }

    #[test]
    fn a_device_loses_as_many_tasks_as_its_profile_says_and_within_the_task() {
        let mut clock = clock("phone", 0.1, 1, 0);
        clock.profile.drop_out = Some(DropOut {
            probability: 0.25,
            return_seconds: 60.0,
        });
        let lost: Vec<_> = (0..4000)
            .map(|nth| clock.schedule(nth, 100.0, LOAD))
            .filter_map(|times| times.lost_at.map(|at| (at, times)))
            .collect();
        assert!((900..1100).contains(&lost.len()), "{}", lost.len());
        assert!(
            lost.iter()
                .all(|(at, times)| *at >= 100.0 && *at <= times.upload_end)
        );
    }

    proptest! {
        #[test]
        fn time_never_goes_back(times in prop::collection::vec(0.0..100.0_f64, 1..60)) {
            let mut queue = EventQueue::default();
            let mut last = 0.0;
            for (index, time) in times.iter().enumerate() {
                queue.push(*time, index);
                if index % 3 == 2 {
                    let (now, _) = queue.pop().unwrap();
                    prop_assert!(now >= last);
                    last = now;
                }
            }
            while let Some((now, _)) = queue.pop() {
                prop_assert!(now >= last);
                prop_assert_eq!(now, queue.now());
                last = now;
            }
        }

        #[test]
        fn a_queue_rebuilt_from_what_is_pending_goes_on_the_same(
            times in prop::collection::vec(0_u8..5, 1..40),
        ) {
            let mut queue = EventQueue::default();
            for (index, time) in times.iter().enumerate() {
                queue.push(f64::from(*time), index);
            }
            queue.pop();
            let mut rebuilt = EventQueue::starting_at(queue.now());
            for (time, event) in queue.pending() {
                rebuilt.push(time, event);
            }
            while let Some(next) = queue.pop() {
                prop_assert_eq!(Some(next), rebuilt.pop());
            }
            prop_assert_eq!(None, rebuilt.pop());
        }
    }
}
