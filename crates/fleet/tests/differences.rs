//! What goes down to devices that have a model already.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::time::Duration;

use fedact_federation::aggregator::EndReason;
use fedact_federation::message::{Codec, Numbers};
use fedact_fleet::coordinator::{Coordinator, Ended, Settings};
use fedact_fleet::difference::Place;
use fedact_fleet::wire::{Assignment, Orders};
use fedact_fleet::{Digest, Stop};
use kit::hand::Hand;
use kit::problem::rules;
use kit::{World, bits, distance_from_wishes, serve};

const LIMIT: Duration = Duration::from_secs(180);

fn int8() -> Codec {
    Codec {
        numbers: Numbers::Int8,
        ..Codec::exact()
    }
}

fn by(differences: Option<Codec>) -> Settings {
    Settings {
        differences,
        ..Settings::default()
    }
}

/// A run of so many devices to its end, and the share of whole models that went down.
async fn run(world: &World, numbers: usize, tasks: u64, settings: Settings) -> (Coordinator, f64) {
    let devices = world.devices.len();
    let mut coordinator = world
        .coordinator(rules(devices, numbers, tasks), settings)
        .unwrap();
    let stop = Stop::new();
    let devices: Vec<_> = (0..devices)
        .map(|device| world.device(device, numbers, Duration::ZERO, &stop))
        .collect();
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let whole = tasks as f64 * numbers as f64 * 4.0;
    let share = coordinator.status().bytes_down as f64 / whole;
    (coordinator, share)
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_differences_give_the_model_that_whole_ones_give_bit_for_bit() {
    // One device, so that nothing depends on who comes first. More numbers than one piece has, and a last piece that is cut.
    let (numbers, tasks) = (150_001, 12);
    let Some(world) = kit::world(1) else { return };
    let (coordinator, share) = run(&world, numbers, tasks, by(None)).await;
    assert!(share >= 1.0, "{share}");
    let expected = coordinator.engine().aggregator().parameters().to_vec();
    drop(coordinator);
    let Some(world) = kit::world(1) else { return };
    let (coordinator, share) = run(&world, numbers, tasks, by(Some(Codec::exact()))).await;
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(model), bits(&expected));
    assert!(share < 0.75, "{share}");
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_in_eight_bits_are_a_third_of_the_whole_and_the_journal_gives_the_same_model() {
    let (numbers, tasks) = (100_000, 40);
    let Some(world) = kit::world(3) else { return };
    let settings = Settings {
        checkpoint_every: 10,
        ..by(Some(int8()))
    };
    let (coordinator, share) = run(&world, numbers, tasks, settings).await;
    // Each device gets one model whole, and a quarter of one for every other task.
    let expected = (3.0 + 37.0 / 4.0) / 40.0;
    assert!(share < 1.1 * expected, "{share} {expected}");
    let model = coordinator.engine().aggregator().parameters();
    let replayed = world.replay(rules(3, numbers, tasks));
    assert_eq!(bits(&replayed.parameters), bits(model));
    assert_eq!(replayed.mixed.len() as u64, tasks);
    let begin = distance_from_wishes(&vec![0.0; numbers], &world.devices);
    assert!(distance_from_wishes(model, &world.devices) < begin);
}

/// A device by hand that has answered a task, has the model that it was of, and is told to make the next one of that.
struct Second {
    world: World,
    hand: Hand,
    serving: tokio::task::JoinHandle<Coordinator>,
    /// The model of the first task.
    first: Vec<u8>,
    orders: Orders,
}

impl Second {
    async fn of(numbers: usize, differences: Codec) -> Option<Self> {
        let world = kit::world(1)?;
        let config = rules(1, numbers, 2);
        let coordinator = world.coordinator(config, by(Some(differences))).unwrap();
        let run = coordinator.engine().run();
        let serving = serving(coordinator, &Stop::new());
        let mut hand = Hand::of(world.join(0), run).await;
        let first = vec![0; numbers * 4];
        let task = hand.assignment().await;
        assert_eq!(task.model, Digest::of(&first));
        hand.holds = Some(task.model);
        hand.answer(&task, numbers).await;
        let orders = hand
            .orders_when("there is a second task", |orders| {
                orders.assignment.is_some_and(|open| open.task != task.task)
            })
            .await;
        Some(Self {
            world,
            hand,
            serving,
            first,
            orders,
        })
    }

    fn task(&self) -> Assignment {
        self.orders.assignment.unwrap()
    }

    /// Has a device that has the model of the first task do the second.
    async fn left_to_a_device(self) -> Coordinator {
        let folder = self.world.path("device-0");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("model-{}", Digest::of(&self.first));
        std::fs::write(folder.join(name), &self.first).unwrap();
        let numbers = self.first.len() / 4;
        let stop = Stop::new();
        let device = self.world.device(0, numbers, Duration::ZERO, &stop);
        let coordinator = self.serving.await.unwrap();
        device.await.unwrap().unwrap();
        assert_eq!(coordinator.status().devices[0].counted, 2);
        coordinator
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_has_lost_its_model_is_given_the_whole_one_for_the_same_task() {
    let numbers = 1000;
    let Some(mut second) = Second::of(numbers, Codec::exact()).await else {
        return;
    };
    let task = second.task();
    let difference = second.orders.difference.unwrap();
    assert_eq!(difference.base, Digest::of(&second.first));
    assert_eq!((difference.result, difference.exact), (task.model, true));
    let hand = &mut second.hand;
    hand.holds = None;
    let sign = hand.alive().seal(&hand.join.key);
    hand.say(sign).await;
    let orders = hand
        .orders_when("the model comes whole", |orders| {
            orders.difference.is_none()
        })
        .await;
    assert_eq!(orders.assignment, Some(task));
    // For this task it stays so, whatever the device says now.
    hand.holds = Some(difference.base);
    let sign = hand.alive().seal(&hand.join.key);
    hand.say(sign).await;
    hand.answer(&task, numbers).await;
    let orders = hand
        .orders_when("the run is over", |orders| orders.finished.is_some())
        .await;
    assert!(orders.difference.is_none());
    second.serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_fetched_and_made_into_the_model_that_was_signed() {
    let Some(second) = Second::of(100_000, Codec::exact()).await else {
        return;
    };
    let coordinator = second.left_to_a_device().await;
    // The whole model was not needed; the device had the other by hand.
    assert!(coordinator.status().bytes_down < 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_that_was_tampered_with_is_noticed_and_the_whole_model_fetched() {
    let numbers = 1000;
    // Once no message, once a message that gives another model.
    for well_formed in [false, true] {
        let Some(second) = Second::of(numbers, int8()).await else {
            return;
        };
        let (task, difference) = (second.task(), second.orders.difference.unwrap());
        assert!(!difference.exact);
        let subjects = &second.hand.subjects;
        let run = second.hand.run;
        let subject = subjects.difference_chunk(run, task.version, difference.base, 0);
        let place = Place {
            run,
            version: task.version,
            piece: 0,
        };
        let other = vec![1; numbers * 4];
        let (base, there) = (difference.base, &second.first);
        let made = place.make(&int8(), 5, base, there, &other).unwrap();
        let forged = match well_formed {
            true => made.message,
            false => b"no message".to_vec(),
        };
        let wire = second.world.wire("forger").await;
        let answer = wire.request(subject, forged.into()).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["error"], serde_json::Value::Null, "{answer}");
        let coordinator = second.left_to_a_device().await;
        assert!(coordinator.status().bytes_down >= numbers as u64 * 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_has_lost_what_a_device_has_sends_the_whole_model() {
    let numbers = 1000;
    let Some(world) = kit::world(1) else { return };
    let config = rules(1, numbers, 3);
    let coordinator = world.coordinator(config.clone(), by(Some(int8()))).unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let first = serving(coordinator, &stop);
    let mut hand = Hand::of(world.join(0), run).await;
    let task = hand.assignment().await;
    hand.holds = Some(task.model);
    hand.answer(&task, numbers).await;
    let second = |orders: &Orders| orders.assignment.is_some_and(|open| open.task != task.task);
    let orders = hand.orders_when("there is a second task", second).await;
    let difference = orders.difference.unwrap();
    stop.set();
    drop(first.await.unwrap());

    let held = world.fleet.run_folder().join("held");
    std::fs::write(held.join(difference.result.to_string()), "torn").unwrap();
    let coordinator = world.coordinator(config, by(Some(int8()))).unwrap();
    let last = serving(coordinator, &Stop::new());
    hand.holds = Some(difference.result);
    let task = orders.assignment.unwrap();
    hand.answer(&task, numbers).await;
    let third = |orders: &Orders| orders.assignment.is_some_and(|open| open.task > task.task);
    let orders = hand.orders_when("there is a third task", third).await;
    assert_eq!(orders.difference, None);
    hand.answer(&orders.assignment.unwrap(), numbers).await;
    last.await.unwrap();
}

/// Serves until it is told to stop, aside.
fn serving(mut coordinator: Coordinator, stop: &Stop) -> tokio::task::JoinHandle<Coordinator> {
    let stop = stop.clone();
    tokio::spawn(async move {
        serve(&mut coordinator, &stop, LIMIT).await;
        coordinator
    })
}
