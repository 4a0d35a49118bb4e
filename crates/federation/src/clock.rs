//! The virtual clock: how long a task takes on a device, and which event comes next.
//!
//! Nothing here looks at the machine's own clock. The time a task takes derives from the run's seed,
//! the client and how many tasks that client had before, so the same client is as quick or slow in its
//! third task under every strategy, and the order in which tasks are computed changes nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::device::DeviceProfile;
use crate::purpose;

/// A random number generator for one purpose, from a run's seed and the numbers that identify it, the first of which is a [`purpose`].
pub fn derived_rng(seed: u64, words: &[u64]) -> ChaCha8Rng {
    // SplitMix64's finaliser (Steele, Lea, Flood 2014) after each word keeps nearby purposes apart.
    let mut state = seed;
    for word in words {
        state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    ChaCha8Rng::seed_from_u64(state)
}

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
    /// The device drops out, leaves or gives up at this time, and the task is lost.
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
    profile: Arc<DeviceProfile>,
    clips_per_second: f64,
    seed: u64,
    client: u64,
    /// How much later than the profile's its windows of availability are.
    shift: f64,
    deadline_seconds: Option<f64>,
}

impl DeviceClock {
    /// The device of client number `client` in a run with this seed, which trains on
    /// `clips_per_second` of the run's model before jitter. Clients of one kind may share a profile: with a source for every
    /// figure, a hundred thousand copies would be most of a run's memory.
    pub fn new(
        profile: impl Into<Arc<DeviceProfile>>,
        clips_per_second: f64,
        seed: u64,
        client: u64,
    ) -> Self {
        let profile = profile.into();
        let shift = profile.availability.as_ref().map_or(0.0, |availability| {
            let share: f64 = derived_rng(seed, &[purpose::WINDOW_SHIFT, client]).random();
            share * availability.spread_seconds
        });
        Self {
            profile,
            clips_per_second,
            seed,
            client,
            shift,
            deadline_seconds: None,
        }
    }

    /// The same device, giving up on every task that takes longer than this, in virtual seconds from its start.
    #[must_use]
    pub fn with_deadline(mut self, seconds: Option<f64>) -> Self {
        self.deadline_seconds = seconds;
        self
    }

    /// Clips a second that it trains on before jitter.
    pub fn clips_per_second(&self) -> f64 {
        self.clips_per_second
    }

    /// Its profile.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// When it takes part next: `time` itself, if it does so then.
    pub fn available_from(&self, time: f64) -> f64 {
        self.window(time).0.max(time)
    }

    /// When it is back, if it was lost at `lost_at`: after the time that its profile says, and in one of its windows.
    pub fn back_at(&self, lost_at: f64) -> f64 {
        let drop_out = self.profile.drop_out.as_ref();
        self.available_from(lost_at + drop_out.map_or(0.0, |drop_out| drop_out.return_seconds))
    }

    fn window(&self, time: f64) -> (f64, f64) {
        let availability = self.profile.availability.as_ref();
        availability.map_or((f64::NEG_INFINITY, f64::INFINITY), |availability| {
            availability.window(time, self.shift)
        })
    }

    /// When the parts of the client's task number `nth` end, if it starts at `start`, or when the device is there next.
    /// Training time and transfer time are each stretched by a log-normal factor of mean 1.
    ///
    /// The task is lost at the first of: the device drops out, its window closes, the deadline passes. With a draw for
    /// each task whether it drops out, and not for each second, tasks that take long are lost no more often.
    pub fn schedule(&self, nth: u64, start: f64, load: Load) -> TaskTimes {
        let (opens, closes) = self.window(start);
        let start = start.max(opens);
        let mut rng = derived_rng(self.seed, &[purpose::TASK_TIMES, self.client, nth]);
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
        let drops_at = self.profile.drop_out.as_ref().and_then(|drop_out| {
            (rng.random::<f64>() < drop_out.probability)
                .then(|| start + rng.random::<f64>() * (upload_end - start))
        });
        let ends = self
            .deadline_seconds
            .map_or(closes, |seconds| closes.min(start + seconds));
        let lost_at = match drops_at {
            Some(at) => Some(at.min(ends)),
            None => (upload_end > ends).then_some(ends),
        };
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
        Arc::make_mut(&mut clock.profile).drop_out = Some(DropOut {
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

    /// At hand from second 100 to 200 of every 1,000.
    fn at_times(clock: &DeviceClock) -> DeviceClock {
        let mut profile = clock.profile().clone();
        profile.availability = Some(crate::device::Availability {
            every_seconds: 1000.0,
            windows: vec![[100.0, 200.0]],
            spread_seconds: 0.0,
        });
        DeviceClock::new(profile, 5.0, clock.seed, clock.client)
    }

    #[test]
    fn a_task_begins_when_its_device_is_there_and_is_lost_when_it_leaves() {
        // Nine seconds, as above.
        let clock = at_times(&clock("phone", 0.0, 1, 0));
        assert_eq!(clock.available_from(0.0), 100.0);
        assert_eq!(clock.available_from(150.0), 150.0);
        assert_eq!(clock.available_from(200.0), 1100.0);
        let times = clock.schedule(0, 20.0, LOAD);
        assert_eq!(
            (times.start, times.upload_end, times.lost_at),
            (100.0, 109.0, None)
        );
        let times = clock.schedule(1, 191.0, LOAD);
        assert_eq!((times.upload_end, times.lost_at), (200.0, None));
        let times = clock.schedule(2, 195.0, LOAD);
        assert_eq!(times.lost_at, Some(200.0));
        assert_eq!(clock.back_at(200.0), 1100.0);
    }

    #[test]
    fn a_device_gives_up_at_its_deadline_and_is_back_at_once() {
        let clock = clock("phone", 0.0, 1, 0);
        let patient = clock.clone().with_deadline(Some(9.0));
        assert_eq!(patient.schedule(0, 10.0, LOAD).lost_at, None);
        let impatient = clock.with_deadline(Some(8.5));
        assert_eq!(impatient.schedule(0, 10.0, LOAD).lost_at, Some(18.5));
        assert_eq!(impatient.back_at(18.5), 18.5);
    }

    #[test]
    fn clients_of_one_kind_may_come_at_different_times() {
        let mut profile = Catalogue::built_in().profile("phone").unwrap().clone();
        profile.availability = Some(crate::device::Availability {
            every_seconds: 1000.0,
            windows: vec![[100.0, 200.0]],
            spread_seconds: 500.0,
        });
        let profile = Arc::new(profile);
        let first =
            |client| DeviceClock::new(Arc::clone(&profile), 5.0, 1, client).available_from(50.0);
        let times: Vec<f64> = (0..50).map(first).collect();
        assert!(
            times.iter().all(|time| (50.0..700.0).contains(time)),
            "{times:?}"
        );
        let early = times.iter().filter(|time| **time < 350.0).count();
        assert!((15..35).contains(&early), "{early}");
        assert_eq!(times, (0..50).map(first).collect::<Vec<_>>());
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
        fn a_task_is_whole_within_its_window_or_lost_within_it(
            start in 0.0..5000.0_f64,
            nth in 0..100_u64,
            probability in 0.0..0.9_f64,
            deadline in prop::option::of(1.0..30.0_f64),
        ) {
            let mut device = at_times(&clock("phone", 0.5, 3, 1)).with_deadline(deadline);
            Arc::make_mut(&mut device.profile).drop_out =
                Some(DropOut { probability, return_seconds: 7.0 });
            let times = device.schedule(nth, start, LOAD);
            prop_assert!(times.start >= start && times.start % 1000.0 >= 100.0);
            let end = times.lost_at.unwrap_or(times.upload_end);
            prop_assert!(end >= times.start && end <= (times.start / 1000.0).floor() * 1000.0 + 200.0);
            prop_assert!(end <= times.start + deadline.unwrap_or(f64::INFINITY) + 1e-9);
            let back = device.back_at(end);
            prop_assert!(back >= end + 7.0);
            prop_assert_eq!(device.available_from(back), back);
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
