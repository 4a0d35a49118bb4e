//! Whole runs over a real NATS server.

mod kit;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fedact_federation::aggregator::{Config, EndReason};
use fedact_federation::message::{Codec, Decoder, Numbers};
use fedact_federation::simulation::Score;
use fedact_federation::strategy::{Average, FedAvg, Strategy};
use fedact_fleet::client::{Client, Ended as Left, Told, Trainer, TrainerError, Work};
use fedact_fleet::coordinator::{Ended, Judge, Settings, Status};
use fedact_fleet::wire::{CHUNK_BYTES, Orders, Up};
use fedact_fleet::{Digest, Stop};
use futures_util::StreamExt;
use kit::hand::Hand;
use kit::problem::{SAMPLES, rules};
use kit::{bits, distance, distance_from_wishes, optimum, serve};

const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_five_devices_ends_and_is_what_its_journal_gives() {
    let Some(world) = kit::world(5) else { return };
    let (numbers, tasks) = (64, 60);
    let config = rules(5, numbers, tasks);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let decided = Arc::new(Mutex::new(Vec::new()));
    let devices: Vec<_> = (0..5)
        .map(|device| {
            let decided = Arc::clone(&decided);
            world.device_telling(device, numbers, Duration::ZERO, &stop, move |told| {
                if let Told::Decided(verdict) = told {
                    assert_eq!(verdict.refused, None);
                    decided.lock().unwrap().push((device, verdict.task));
                }
            })
        })
        .collect();
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in devices {
        let left = device.await.unwrap().unwrap();
        assert_eq!(left, Left::Finished("budget-spent".into()));
    }
    let model = coordinator.engine().aggregator().parameters().to_vec();
    let replayed = world.replay(config);
    assert_eq!(bits(&replayed.parameters), bits(&model));
    assert_eq!(replayed.finished, Some(EndReason::BudgetSpent));
    assert_eq!(replayed.mixed.len() as u64, tasks);
    assert!(replayed.mixed.values().all(|times| *times == 1));
    assert_eq!(replayed.mixed, replayed.updates);
    // Every outcome that a device was told is in the journal, and every one in the journal was told.
    let mut decided = decided.lock().unwrap().clone();
    decided.sort_unstable();
    let mixed: Vec<_> = replayed.mixed.keys().copied().collect();
    assert_eq!(decided, mixed);
    // It learned something: FedAsync stays about what the devices want.
    let begin = distance_from_wishes(&vec![0.0; numbers], &world.devices);
    let end = distance_from_wishes(&model, &world.devices);
    assert!(end < begin, "{begin} {end}");
    let status = Status::read(&world.fleet.run_folder()).unwrap();
    assert_eq!(status.finished.as_deref(), Some("budget-spent"));
    assert_eq!(
        status
            .devices
            .iter()
            .map(|device| device.counted)
            .sum::<u64>(),
        tasks
    );
    // Updates that were under way when the budget was spent, and offers made again for want of an answer; nothing else.
    for code in status.turned.keys() {
        let harmless = ["run-finished", "task-already-applied"].contains(&code.as_str());
        assert!(harmless, "{:?}", status.turned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_updates_of_many_pieces_travel_whole() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (300_000, 6);
    let config = rules(2, numbers, tasks);
    let settings = Settings {
        codec: Codec {
            zstd: None,
            ..Codec::default()
        },
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config.clone(), settings).unwrap();
    let stop = Stop::new();
    let devices = [0, 1].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let status = coordinator.status();
    assert!(status.bytes_up >= tasks * numbers as u64 * 4, "{status:#?}");
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_codecs_with_feedback_give_what_the_journal_gives() {
    let Some(world) = kit::world(3) else { return };
    let (numbers, tasks) = (500, 30);
    let config = rules(3, numbers, tasks);
    let settings = Settings {
        codec: Codec {
            numbers: Numbers::Int8,
            keep: Some(0.3),
            ..Codec::default()
        },
        feedback: true,
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config.clone(), settings).unwrap();
    let stop = Stop::new();
    let devices = [0, 1, 2].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    serve(&mut coordinator, &stop, LIMIT).await;
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let model = coordinator.engine().aggregator().parameters();
    let begin = distance_from_wishes(&vec![0.0; numbers], &world.devices);
    assert!(distance_from_wishes(model, &world.devices) < begin);
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_come_twice_in_the_wrong_order_or_not_at_all_are_asked_for_and_count_once() {
    let Some(world) = kit::world(1) else { return };
    let (numbers, tasks) = (200_000, 2);
    let config = rules(1, numbers, tasks);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let join = world.join(0);
    let by_hand = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        for _ in 0..tasks {
            let task = hand.assignment().await;
            let update = hand.update(&task, numbers);
            let mut chunks = Hand::chunks(&task, &update);
            assert!(chunks.len() >= 4);
            let offer = hand.offer(&task, &update).seal(&hand.join.key);
            // A chunk before its offer, the offer twice, the second chunk lost, the others twice and turned round.
            hand.say(chunks[1].clone()).await;
            hand.say(offer.clone()).await;
            hand.say(offer.clone()).await;
            hand.say(chunks[0].clone()).await;
            hand.say(chunks[0].clone()).await;
            hand.say(chunks[3].clone()).await;
            hand.say(chunks[2].clone()).await;
            let second = CHUNK_BYTES as u64;
            hand.orders_when("the second piece is wanted", |orders| {
                orders.wanted.is_some_and(|wanted| wanted.from == second)
            })
            .await;
            chunks.remove(0);
            for chunk in &chunks {
                hand.say(chunk.clone()).await;
            }
            let told = |orders: &Orders| {
                let verdict = orders.verdict.as_ref();
                verdict
                    .is_some_and(|verdict| verdict.task == task.task && verdict.refused.is_none())
            };
            hand.orders_when("the update counts", told).await;
            // All of it once more.
            hand.say(offer).await;
            for chunk in chunks {
                hand.say(chunk).await;
            }
        }
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    by_hand.abort();
    let replayed = world.replay(config);
    assert_eq!(replayed.mixed.len() as u64, tasks);
    assert!(replayed.updates.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_device_loses_its_task_and_gets_another_when_it_is_back() {
    let Some(world) = kit::world(2) else { return };
    // The other device is busy for eight seconds at least, four times the lease.
    let (numbers, tasks) = (16, 200);
    let config = rules(2, numbers, tasks);
    let settings = Settings {
        lease: Duration::from_secs(2),
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config.clone(), settings).unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let join = world.join(1);
    let back = Stop::new();
    let heard_of = back.clone();
    // The first device takes a task, and is not heard of until it has lost it.
    let silent = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        let first = hand.assignment().await;
        hand.orders_when("the task is gone", |orders| orders.assignment.is_none())
            .await;
        let second = hand.assignment().await;
        assert!(second.task > first.task, "{second:?}");
        heard_of.set();
    });
    let slow = world.device(0, numbers, Duration::from_millis(40), &stop);
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    slow.await.unwrap().unwrap();
    silent.await.unwrap();
    assert!(back.is_set());
    let status = coordinator.status();
    assert!(status.devices[1].lost >= 1, "{status:#?}");
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_close_at_their_deadline_when_a_device_stays_away() {
    let Some(world) = kit::world(3) else { return };
    let (numbers, tasks) = (16, 12);
    let mut config = rules(3, numbers, tasks);
    config.strategy = Strategy::FedAvg(FedAvg::default());
    let settings = Settings {
        round_deadline: Some(Duration::from_millis(700)),
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config.clone(), settings).unwrap();
    let stop = Stop::new();
    let devices = [0, 2].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_devices_says_what_it_waits_for_and_ends_when_its_patience_does() {
    let Some(world) = kit::world(2) else { return };
    let config = rules(2, 4, 10);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let switch = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        switch.set();
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Stopped);
    let status = Status::read(&world.fleet.run_folder()).unwrap();
    assert_eq!(
        status.waits_for.as_deref(),
        Some("a device: none of 2 is there")
    );
    drop(coordinator);
    let settings = Settings {
        patience: Some(Duration::from_millis(300)),
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config, settings).unwrap();
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::NoClientsLeft));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_fails_gives_its_task_back_and_a_run_of_lost_tasks_ends() {
    struct Broken;
    impl Trainer for Broken {
        fn train(&mut self, _: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
            Err("the camera is covered".into())
        }
    }
    let Some(world) = kit::world(1) else { return };
    let settings = Settings {
        max_losses_in_a_row: 2,
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(rules(1, 4, 10), settings).unwrap();
    let stop = Stop::new();
    let client = Client::new(world.join(0), world.path("device-0"), Broken);
    let switch = stop.clone();
    let device = tokio::spawn(async move { client.take_part(&switch).await });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::AllTasksLost));
    let left = device.await.unwrap().unwrap();
    assert_eq!(left, Left::Finished("all-tasks-lost".into()));
    let trouble = coordinator.status().trouble.unwrap_or_default();
    assert!(trouble.contains("the camera is covered"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_goes_from_one_run_to_the_next() {
    let Some(world) = kit::world(1) else { return };
    let numbers = 16;
    let config = rules(1, numbers, 1_000_000);
    let mut first = world.coordinator(config, Settings::default()).unwrap();
    let (leave, stop) = (Stop::new(), Stop::new());
    let device = world.device(0, numbers, Duration::from_millis(5), &leave);
    let (journal, switch) = (world.fleet.run_folder().join("journal"), stop.clone());
    std::thread::spawn(move || {
        while std::fs::metadata(&journal).map_or(0, |metadata| metadata.len()) < 3000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        switch.set();
    });
    let ended = serve(&mut first, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Stopped);
    let run = first.engine().run();
    drop(first);

    // A few orders are all that the second run needs, fewer than the device has seen of the first one.
    world.fleet.begin_run("second").unwrap();
    let config = rules(1, numbers, 3);
    let mut second = world.coordinator(config, Settings::default()).unwrap();
    assert_ne!(second.engine().run(), run);
    let ended = serve(&mut second, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    let left = device.await.unwrap().unwrap();
    assert_eq!(left, Left::Finished("budget-spent".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_devices_would_have_to_be_told_too_much_does_not_begin() {
    let Some(world) = kit::world(1) else { return };
    let settings = Settings {
        trainer: serde_json::json!({"model": {"classes": vec!["a class of many"; 70_000]}}),
        ..Settings::default()
    };
    let error = world.coordinator(rules(1, 4, 10), settings).unwrap_err();
    let error = error.to_string();
    for word in ["`settings.model.classes`", "921600", "give the run less"] {
        assert!(error.contains(word), "{error}");
    }
    let begun = std::fs::read_dir(world.fleet.run_folder()).unwrap();
    assert_eq!(begun.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_served_by_one_process_and_under_its_own_rules() {
    let Some(world) = kit::world(1) else { return };
    let first = world
        .coordinator(rules(1, 4, 10), Settings::default())
        .unwrap();
    let second = world.coordinator(rules(1, 4, 10), Settings::default());
    let error = second.unwrap_err().to_string();
    assert!(error.contains("served by another process"), "{error}");
    drop(first);
    let other = world.coordinator(rules(1, 4, 11), Settings::default());
    let error = other.unwrap_err().to_string();
    assert!(error.contains("budget_samples"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_all_its_streams_is_given_new_ones_and_the_run_goes_on() {
    let Some(mut world) = kit::world(2) else {
        return;
    };
    let (numbers, tasks) = (100_000, 60);
    let config = rules(2, numbers, tasks);
    let settings = Settings {
        lease: Duration::from_secs(5),
        ..Settings::default()
    };
    let mut coordinator = world.coordinator(config.clone(), settings).unwrap();
    let stop = Stop::new();
    let pause = Duration::from_millis(30);
    let devices = [0, 1].map(|device| world.device(device, numbers, pause, &stop));
    let journal = world.fleet.run_folder().join("journal");
    // In the midst of the run, as far as the journal tells.
    let wiped = std::thread::spawn(move || {
        while std::fs::metadata(&journal).map_or(0, |metadata| metadata.len()) < 2000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        world.wipe_server();
        world.start_server();
        world
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    let world = wiped.join().unwrap();
    for device in devices {
        let left = device.await.unwrap().unwrap();
        assert_eq!(left, Left::Finished("budget-spent".into()));
    }
    let replayed = world.replay(config);
    assert_eq!(replayed.mixed.len() as u64, tasks);
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&replayed.parameters), bits(model));
}

/// Finds every model right whose distance from a point is less than this.
#[derive(Debug)]
struct Near(Vec<f32>, f32);

impl Judge for Near {
    fn test(&mut self, parameters: &[f32]) -> Result<Score, TrainerError> {
        let distance = distance(parameters, &self.0);
        Ok(Score {
            top1: f64::from(u8::from(distance < self.1)),
            loss: f64::from(distance),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_model_is_good_enough_ends_and_its_tests_are_in_the_journal() {
    let Some(world) = kit::world(1) else { return };
    let numbers = 64;
    let config = rules(1, numbers, 1000);
    let goal = optimum(&world.devices, numbers);
    let far = distance(&vec![0.0; numbers], &goal);
    let near = Near(goal, far / 10.0);
    let coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let mut coordinator = coordinator.judged(Box::new(near), 2 * SAMPLES, Some(1.0));
    let stop = Stop::new();
    let device = world.device(0, numbers, Duration::ZERO, &stop);
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::TargetReached));
    let left = device.await.unwrap().unwrap();
    assert_eq!(left, Left::Finished("target-reached".into()));
    let tested = coordinator.status().tested.unwrap();
    assert_eq!(tested.top1, 1.0);
    assert_eq!(tested.version, coordinator.engine().aggregator().version());
    assert!(tested.loss.unwrap() < f64::from(far) / 10.0, "{tested:?}");
    let replayed = world.replay(config);
    assert_eq!(replayed.progress.tested, Some(tested));
    assert_eq!(replayed.finished, Some(EndReason::TargetReached));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_average_of_versions_is_tested_and_kept_and_devices_train_from_the_last_one() {
    let Some(world) = kit::world(1) else { return };
    let (numbers, tasks) = (64, 6);
    let config = Config {
        average: Some(Average { share: 1.0 }),
        ..rules(1, numbers, tasks)
    };
    let goal = optimum(&world.devices, numbers);
    let near = Near(goal.clone(), 0.0);
    let coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let mut coordinator = coordinator.judged(Box::new(near), SAMPLES, None);
    let stop = Stop::new();
    let device = world.device(0, numbers, Duration::ZERO, &stop);
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    device.await.unwrap().unwrap();
    let server = coordinator.engine().aggregator();
    // The versions go towards the goal, so that their mean is behind the last one.
    let [of_model, of_version] =
        [server.model(), server.parameters()].map(|numbers| distance(numbers, &goal));
    assert!(of_version < of_model, "{of_version} {of_model}");
    let tested = coordinator.status().tested.unwrap();
    assert_eq!(tested.loss, Some(f64::from(of_model)));
    assert_eq!(bits(&world.replay(config).parameters), bits(server.model()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_a_device_is_signs_of_life_offers_and_pieces_of_updates() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (100_000, 6);
    let config = rules(2, numbers, tasks);
    let mut coordinator = world.coordinator(config, Settings::default()).unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    // Everything that anybody but the coordinator says in the fleet's account, as the coordinator may read it.
    let roster = world.fleet.roster().unwrap();
    let wire = async_nats::ConnectOptions::new()
        .nkey(world.fleet.coordinator_key().unwrap().seed().unwrap())
        .custom_inbox_prefix("_INBOX.lab.wire")
        .connect(&roster.address)
        .await
        .unwrap();
    let mut said = wire.subscribe("fleet.lab.up.>").await.unwrap();
    wire.flush().await.unwrap();
    let read = tokio::spawn(async move {
        let mut read = Vec::new();
        while let Some(message) = said.next().await {
            read.push((message.subject.to_string(), message.payload));
        }
        read
    });
    let devices = [0, 1].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    serve(&mut coordinator, &stop, LIMIT).await;
    for device in devices {
        device.await.unwrap().unwrap();
    }
    wire.drain().await.unwrap();
    let mut updates: BTreeMap<(String, Digest), Vec<u8>> = BTreeMap::new();
    let mut offered: BTreeMap<Digest, u64> = BTreeMap::new();
    for (subject, bytes) in read.await.unwrap() {
        let place = roster.place(subject.strip_prefix("fleet.lab.up.").unwrap());
        let device = &roster.devices[place.unwrap()];
        let message = Up::open(&bytes, &roster.fleet, run, &device.name, &device.key).unwrap();
        match message {
            Up::Alive(_) => assert!(bytes.len() < 300, "{}", bytes.len()),
            Up::Offer(offer) => {
                assert!(bytes.len() < 500, "{}", bytes.len());
                offered.insert(offer.digest, offer.bytes);
            }
            Up::Failed(failed) => panic!("{failed:?}"),
            Up::Chunk(chunk) => {
                let update = updates.entry((subject, chunk.digest)).or_default();
                if update.len() as u64 == chunk.offset {
                    update.extend(chunk.bytes);
                }
            }
        }
    }
    assert!(updates.len() as u64 >= tasks);
    // The pieces are those of updates, and an update is the difference that training made: nothing else goes up.
    let decoder = Decoder::new(&coordinator.engine().aggregator().config().layout);
    for ((_, digest), update) in updates {
        assert_eq!(offered.get(&digest), Some(&(update.len() as u64)));
        assert_eq!(Digest::of(&update), digest);
        assert_eq!(decoder.decode(&update).unwrap().delta.len(), numbers);
    }
}
