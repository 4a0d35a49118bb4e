//! Models and updates whose transfer breaks off, a disk that is full, and files that are no longer needed.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::time::Duration;

use fedact_federation::aggregator::EndReason;
use fedact_fleet::Stop;
use fedact_fleet::coordinator::{Coordinator, Ended, Settings};
use fedact_fleet::wire::{CHUNK_BYTES, Orders, Subjects};
use kit::hand::Hand;
use kit::problem::rules;
use kit::{bits, serve};

const LIMIT: Duration = Duration::from_secs(180);

/// Pieces that had come before a transfer broke off.
const BEFORE: usize = 9;

/// Serves until it is told to stop, aside.
fn serving(mut coordinator: Coordinator, stop: &Stop) -> tokio::task::JoinHandle<Coordinator> {
    let stop = stop.clone();
    tokio::spawn(async move {
        serve(&mut coordinator, &stop, LIMIT).await;
        coordinator
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_goes_on_where_it_stopped_at_another_coordinator() {
    let Some(world) = kit::world(1) else { return };
    let numbers = 1_000_000;
    let config = rules(1, numbers, 1);
    let open = || world.coordinator(config.clone(), Settings::default());
    let coordinator = open().unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let first = serving(coordinator, &stop);
    let mut hand = Hand::of(world.join(0), run).await;
    let task = hand.assignment().await;
    let update = hand.update(&task, numbers);
    let chunks = Hand::chunks(&task, &update);
    assert!(chunks.len() > BEFORE + 3, "{}", chunks.len());
    let offer = hand.offer(&task, &update).seal(&hand.join.key);
    hand.say(offer.clone()).await;
    for chunk in &chunks[..BEFORE] {
        hand.say(chunk.clone()).await;
    }
    let next = (BEFORE * CHUNK_BYTES) as u64;
    let wants_the_next = |orders: &Orders| orders.wanted.is_some_and(|wanted| wanted.from == next);
    hand.say(offer.clone()).await;
    hand.orders_when("the next piece is wanted", wants_the_next)
        .await;
    stop.set();
    drop(first.await.unwrap());
    drop(hand);

    let last = serving(open().unwrap(), &Stop::new());
    let hand = Hand::of(world.join(0), run).await;
    // What the first coordinator said is there until the second one says something.
    hand.orders_when("the second coordinator is there", |orders| {
        orders.wanted.is_none()
    })
    .await;
    hand.say(offer).await;
    hand.orders_when("the next piece is wanted", wants_the_next)
        .await;
    for chunk in &chunks[BEFORE..] {
        hand.say(chunk.clone()).await;
    }
    let coordinator = last.await.unwrap();
    assert_eq!(coordinator.status().devices[0].counted, 1);
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let Some(world) = kit::world(1) else { return };
    let numbers = 1_000_000;
    let config = rules(1, numbers, 1);
    let coordinator = world.coordinator(config, Settings::default()).unwrap();
    let run = coordinator.engine().run();
    let coordinator = serving(coordinator, &Stop::new());
    let mut hand = Hand::of(world.join(0), run).await;
    let task = hand.assignment().await;
    // An earlier process of the device had fetched some pieces, and half of another one.
    let (subjects, mut fetched) = (hand.subjects.clone(), Vec::new());
    for piece in 0..=BEFORE as u64 {
        let subject = subjects.chunk(run, task.version, piece);
        let question = Subjects::last(&subjects.model_stream(), &subject);
        let answer = hand.client.request(question, "".into()).await.unwrap();
        assert_eq!(answer.payload.len(), CHUNK_BYTES);
        fetched.extend_from_slice(&answer.payload);
    }
    fetched.truncate(fetched.len() - CHUNK_BYTES / 2);
    drop(hand);
    let folder = world.path("device-0");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("fetching-{}", task.model));
    std::fs::write(file, &fetched).unwrap();
    // Those pieces are nowhere else any more: a device that asked for them would wait for ever.
    let wire = world.wire("purger").await;
    for piece in 0..BEFORE as u64 {
        let filter = serde_json::json!({"filter": subjects.chunk(run, task.version, piece)});
        let purge = format!("$JS.API.STREAM.PURGE.{}", subjects.model_stream());
        let answer = wire
            .request(purge, filter.to_string().into())
            .await
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["purged"], 1, "{answer}");
    }
    let device = world.device(0, numbers, Duration::ZERO, &Stop::new());
    let coordinator = coordinator.await.unwrap();
    device.await.unwrap().unwrap();
    assert_eq!(coordinator.status().devices[0].counted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_slows_the_run_and_does_not_end_it() {
    // Room for two models of a megabyte and little else, where three devices want three.
    let Some(world) = kit::world_of(3, false, 1, 2_600_000) else {
        return;
    };
    let (numbers, tasks) = (250_000, 24);
    let config = rules(3, numbers, tasks);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let stop = Stop::new();
    // Long enough for all three to have come, and to work on three versions.
    let pause = Duration::from_millis(100);
    let devices = [0, 1, 2].map(|device| world.device(device, numbers, pause, &stop));
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    let trouble = coordinator.status().trouble.unwrap_or_default();
    assert!(trouble.contains("the NATS server refuses"), "{trouble}");
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let replayed = world.replay(config);
    assert_eq!(replayed.mixed.len() as u64, tasks);
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&replayed.parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_what_is_missing_though_another_ones_model_has_no_room() {
    // Room for one model of a megabyte, where two are needed.
    let Some(world) = kit::world_of(2, false, 1, 1_500_000) else {
        return;
    };
    let (numbers, tasks) = (250_000, 3);
    let coordinator = world
        .coordinator(rules(2, numbers, tasks), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let coordinator = serving(coordinator, &stop);
    let mut first = Hand::of(world.join(0), run).await;
    let mut second = Hand::of(world.join(1), run).await;
    let (task, slow) = (first.assignment().await, second.assignment().await);
    // The next model of the first device waits until the update of the second one is there.
    first.answer(&task, numbers).await;
    let update = second.update(&slow, numbers);
    let chunks = Hand::chunks(&slow, &update);
    second
        .say(second.offer(&slow, &update).seal(&second.join.key))
        .await;
    second.say(chunks[0].clone()).await;
    second.say(chunks[2].clone()).await;
    let wants_the_second = |orders: &Orders| {
        let wanted = orders.wanted.map(|wanted| wanted.from);
        wanted == Some(CHUNK_BYTES as u64)
    };
    second
        .orders_when("the second piece is wanted", wants_the_second)
        .await;
    for chunk in &chunks[1..] {
        second.say(chunk.clone()).await;
    }
    let next = |orders: &Orders| orders.assignment.is_some_and(|open| open.task > slow.task);
    first.orders_when("there is a new task", next).await;
    stop.set();
    let coordinator = coordinator.await.unwrap();
    assert_eq!(coordinator.engine().aggregator().version(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_full_disk_stopped_half_way_leaves_nothing_there() {
    // Room for some pieces of sixteen, which are all on their way when the server says that it has no room for the next.
    let Some(world) = kit::world_of(1, false, 1, 1_500_000) else {
        return;
    };
    let coordinator = world
        .coordinator(rules(1, 1_000_000, 1), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let coordinator = serving(coordinator, &stop);
    let mut hand = Hand::of(world.join(0), run).await;
    let wire = world.wire("other").await;
    let stream = hand.subjects.model_stream();
    let ask = async |question: String, payload: Vec<u8>| -> serde_json::Value {
        loop {
            // The server, or the stream, may not be there yet.
            if let Ok(answer) = wire.request(question.clone(), payload.clone().into()).await {
                return serde_json::from_slice(&answer.payload).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    hand.orders_when("it is known", |_| true).await;
    let alive = hand.alive().seal(&hand.join.key);
    hand.say(alive).await;
    let state = async || ask(format!("$JS.API.STREAM.INFO.{stream}"), Vec::new()).await;
    while state().await["state"].is_null() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Others come and go meanwhile, so that there is room again for pieces after one that was refused.
    let other = hand.subjects.chunk(run, u64::MAX, 0);
    let mut last = 0;
    while last < 1000 {
        let kept = ask(other.clone(), vec![0; CHUNK_BYTES]).await;
        if let Some(sequence) = kept["seq"].as_u64() {
            last = sequence;
            let which = serde_json::json!({"seq": sequence, "no_erase": true});
            let delete = format!("$JS.API.STREAM.MSG.DELETE.{stream}");
            ask(delete, which.to_string().into()).await;
        }
    }
    stop.set();
    let trouble = coordinator.await.unwrap().status().trouble.unwrap();
    assert!(trouble.contains("the NATS server refuses"), "{trouble}");
    let left = state().await;
    assert_eq!(left["state"]["messages"], 0, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_go_with_the_checkpoint_that_contains_them_unless_they_are_kept() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (64, 60);
    let config = rules(2, numbers, tasks);
    let settings = Settings {
        checkpoint_every: 10,
        ..Settings::default()
    };
    let mut coordinator = world
        .forgetful_coordinator(config.clone(), settings.clone())
        .unwrap();
    let stop = Stop::new();
    let devices = [0, 1].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    serve(&mut coordinator, &stop, LIMIT).await;
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let updates = world.fleet.run_folder().join("updates");
    assert!(std::fs::read_dir(updates).unwrap().count() < 10);
    let model = coordinator.engine().aggregator().parameters().to_vec();
    drop(coordinator);
    // A restart needs none but those after the checkpoint.
    let again = world
        .forgetful_coordinator(config.clone(), settings)
        .unwrap();
    assert_eq!(bits(again.engine().aggregator().parameters()), bits(&model));
    drop(again);
    let scratch = world.path("scratch");
    let replayed = fedact_fleet::engine::replay(&world.fleet.run_folder(), config, &scratch);
    let error = replayed.unwrap_err().to_string();
    assert!(error.contains("keep_updates"), "{error}");
}
