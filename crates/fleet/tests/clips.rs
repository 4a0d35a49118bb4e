//! Devices that say how many clips they have.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fedact_federation::aggregator::{Config, EndReason};
use fedact_federation::strategy::{FedAvg, Strategy};
use fedact_federation::task_length::TaskLength;
use fedact_fleet::client::{Client, Ended as Left, Trainer, TrainerError, Work};
use fedact_fleet::coordinator::{Ended, OwnClips, Settings};
use fedact_fleet::engine::{Entry, chronicle};
use fedact_fleet::wire::Description;
use fedact_fleet::{FleetError, Stop};
use kit::hand::Hand;
use kit::problem::{Point, SAMPLES, point, rules};
use kit::{bits, serve};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);
const NUMBERS: usize = 16;

/// A device of the problem that has clips.
struct Holder {
    inner: Point,
    clips: Option<u64>,
    /// How long it takes to get them ready.
    preparing: Duration,
    /// When they were, and the samples of each of its tasks.
    seen: Arc<Mutex<(Option<Instant>, Vec<u64>)>>,
}

impl Trainer for Holder {
    fn prepare(&mut self, _: &Description) -> Result<(), TrainerError> {
        std::thread::sleep(self.preparing);
        self.seen.lock().unwrap().0 = Some(Instant::now());
        Ok(())
    }

    fn clips(&self) -> Option<NonZeroU64> {
        self.clips.and_then(NonZeroU64::new)
    }

    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        let mut seen = self.seen.lock().unwrap();
        assert!(seen.0.is_some(), "a task before it was ready");
        seen.1.push(work.samples);
        drop(seen);
        self.inner.train(work)
    }
}

type Seen = Arc<Mutex<(Option<Instant>, Vec<u64>)>>;

/// Starts a device with so many clips.
fn device(
    world: &kit::World,
    nth: usize,
    clips: Option<u64>,
    preparing: Duration,
    stop: &Stop,
) -> (JoinHandle<Result<Left, FleetError>>, Seen) {
    let join = world.join(nth);
    let seen = Seen::default();
    let trainer = Holder {
        inner: Point {
            point: point(join.device.as_str(), NUMBERS),
            pause: Duration::from_millis(5),
        },
        clips,
        preparing,
        seen: Arc::clone(&seen),
    };
    let folder = world.path(&format!("device-{nth}"));
    let client = Client::new(join, folder, trainer).for_one_run();
    let stop = stop.clone();
    let device = tokio::spawn(async move { client.take_part(&stop).await });
    (device, seen)
}

fn own_clips(tasks: u64) -> Settings {
    Settings {
        own_clips: Some(OwnClips {
            length: TaskLength {
                passes: 2.0,
                batch_size: 1,
            },
            most: 8,
            tasks,
        }),
        checkpoint_every: 7,
        ..Settings::default()
    }
}

fn averaging(devices: usize, budget_samples: u64) -> Config {
    let mut config = rules(devices, NUMBERS, 1);
    config.strategy = Strategy::FedAvg(FedAvg::default());
    config.budget_samples = budget_samples;
    config
}

/// The weights in its last version that each device's update had, with the samples of its task.
fn weights(folder: &Path) -> Vec<(usize, u64, f64)> {
    let mut lengths = std::collections::BTreeMap::new();
    let mut weights = Vec::new();
    chronicle(folder, |entry| {
        match entry {
            Entry::Answered { task, samples, .. } => drop(lengths.insert(task, samples)),
            Entry::Decided {
                client,
                task,
                weight,
                ..
            } => weights.push((client, lengths[&task], weight)),
            _ => {}
        }
        Ok::<(), FleetError>(())
    })
    .unwrap();
    weights
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_as_long_as_the_clips_of_their_devices_say_and_updates_weigh_as_much() {
    let Some(world) = kit::world(3) else { return };
    // The first has 5, the second more than are counted, and the third does not say.
    let round = 2 * 5 + 2 * 8 + SAMPLES;
    let config = averaging(3, 1);
    let open = || world.coordinator(config.clone(), own_clips(24)).unwrap();
    let mut coordinator = open();
    let (stop, pause) = (Stop::new(), Stop::new());
    let devices = [(0, Some(5)), (1, Some(1_000_000)), (2, None)]
        .map(|(nth, clips)| device(&world, nth, clips, Duration::ZERO, &stop));
    let (journal, switch) = (world.fleet.run_folder().join("journal"), pause.clone());
    std::thread::spawn(move || {
        while std::fs::metadata(&journal).map_or(0, |metadata| metadata.len()) < 4000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        switch.set();
    });
    // In two processes, of which the second begins at a checkpoint.
    assert_eq!(serve(&mut coordinator, &pause, LIMIT).await, Ended::Stopped);
    drop(coordinator);
    let mut coordinator = open();
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for ((device, seen), expected) in devices.into_iter().zip([10, 16, SAMPLES]) {
        device.await.unwrap().unwrap();
        let seen = seen.lock().unwrap();
        assert!(!seen.1.is_empty());
        assert!(
            seen.1.iter().all(|samples| *samples == expected),
            "{expected}: {:?}",
            seen.1
        );
    }
    // 24 tasks of a mean one of those that have said how many clips they have, and what the last round has beyond.
    let aggregator = coordinator.engine().aggregator();
    assert_eq!(aggregator.config().budget_samples, 24 * (10 + 16) / 2);
    assert_eq!(aggregator.samples(), (24_u64 * 13).next_multiple_of(round));
    let weights = weights(&world.fleet.run_folder());
    assert!(weights.len() >= 24, "{weights:?}");
    for (client, samples, weight) in &weights {
        assert_eq!(*samples, [10, 16, SAMPLES][*client]);
        let share = *samples as f64 / round as f64;
        assert!((weight - share).abs() < 1e-12, "{client}: {weight}");
    }
    let clips: Vec<_> = coordinator
        .status()
        .devices
        .iter()
        .map(|device| device.clips)
        .collect();
    assert_eq!(clips, [Some(5), Some(8), None]);
    let model = coordinator.engine().aggregator().parameters();
    let replayed = world.replay(config);
    assert_eq!(bits(&replayed.parameters), bits(model));
    assert_eq!(
        replayed.progress.members,
        coordinator.engine().progress().members
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_back_with_other_clips_has_tasks_of_other_lengths_from_then_on() {
    let Some(world) = kit::world(1) else { return };
    let config = averaging(1, 1);
    let mut coordinator = world.coordinator(config.clone(), own_clips(30)).unwrap();
    let folder = world.fleet.run_folder();
    let (first, second) = (Stop::new(), Stop::new());
    let (before, seen_before) = device(&world, 0, Some(2), Duration::ZERO, &first);
    let watching = {
        let (seen, first) = (Arc::clone(&seen_before), first.clone());
        tokio::task::spawn_blocking(move || {
            while seen.lock().unwrap().1.len() < 3 {
                std::thread::sleep(Duration::from_millis(2));
            }
            first.set();
        })
    };
    let serving = tokio::spawn(async move {
        let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
        (ended, coordinator)
    });
    watching.await.unwrap();
    assert_eq!(before.await.unwrap().unwrap(), Left::Stopped);
    let (after, seen_after) = device(&world, 0, Some(6), Duration::ZERO, &second);
    let (ended, coordinator) = serving.await.unwrap();
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    after.await.unwrap().unwrap();
    let lengths = |seen: &Seen| {
        seen.lock()
            .unwrap()
            .1
            .iter()
            .copied()
            .collect::<BTreeSet<u64>>()
    };
    assert_eq!(lengths(&seen_before), BTreeSet::from([4]));
    // The task that it had open keeps its length.
    let now = lengths(&seen_after);
    assert!(
        now.contains(&12) && now.is_subset(&BTreeSet::from([4, 12])),
        "{now:?}"
    );
    assert_eq!(coordinator.status().devices[0].clips, Some(6));
    let lengths: Vec<u64> = weights(&folder)
        .iter()
        .map(|(_, samples, _)| *samples)
        .collect();
    assert!(lengths.is_sorted(), "{lengths:?}");
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_gets_its_clips_ready_is_there_and_has_no_task_until_it_is() {
    let Some(world) = kit::world(1) else { return };
    let settings = Settings {
        patience: Some(Duration::from_secs(2)),
        lease: Duration::from_secs(1),
        ..own_clips(2)
    };
    let mut coordinator = world.coordinator(averaging(1, 1), settings).unwrap();
    let stop = Stop::new();
    // Longer than the coordinator is patient with devices of which it hears nothing.
    let (slow, seen) = device(&world, 0, Some(3), Duration::from_secs(4), &stop);
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    slow.await.unwrap().unwrap();
    assert_eq!(seen.lock().unwrap().1, [6, 6]);
    assert_eq!(coordinator.engine().progress().members[0].lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_something_else_all_the_time_fills_no_journal() {
    let Some(world) = kit::world(1) else { return };
    let mut coordinator = world
        .coordinator(averaging(1, 1000), own_clips(1000))
        .unwrap();
    let run = coordinator.engine().run();
    let (join, stop) = (world.join(0), Stop::new());
    let switch = stop.clone();
    let journal = world.fleet.run_folder().join("journal");
    let fickle = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        hand.clips = NonZeroU64::new(1);
        let first = hand.assignment().await;
        assert_eq!(first.samples, 2);
        let before = std::fs::metadata(&journal).unwrap().len();
        for clips in 2..=7 {
            hand.clips = NonZeroU64::new(clips);
            let alive = hand.alive().seal(&hand.join.key);
            hand.say(alive).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(std::fs::metadata(&journal).unwrap().len(), before);
        // Its next task goes by what it said last.
        hand.answer(&first, NUMBERS).await;
        let orders = hand.orders_when("there is another task", |orders| {
            orders
                .assignment
                .is_some_and(|open| open.task != first.task)
        });
        assert_eq!(orders.await.assignment.unwrap().samples, 14);
        switch.set();
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    fickle.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_length_stay_so_whatever_devices_say_and_what_they_say_is_known() {
    let Some(world) = kit::world(1) else { return };
    let mut coordinator = world
        .coordinator(averaging(1, 3 * SAMPLES), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let (holder, seen) = device(&world, 0, Some(40), Duration::ZERO, &stop);
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    holder.await.unwrap().unwrap();
    assert_eq!(seen.lock().unwrap().1, [SAMPLES; 3]);
    assert_eq!(coordinator.status().devices[0].clips, Some(40));
}
