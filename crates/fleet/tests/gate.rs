//! Who gets in, and what becomes of those who do not mean well.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::collections::BTreeMap;
use std::time::Duration;

use fedact_federation::aggregator::EndReason;
use fedact_fleet::client::{Awaited, Client, Told};
use fedact_fleet::coordinator::{Ended, Settings};
use fedact_fleet::identity::{Join, Key};
use fedact_fleet::setup::{Fleet, Setup, Taken};
use fedact_fleet::wire::{MOST_UP_BYTES, Orders, Subjects};
use fedact_fleet::{FleetError, Stop};
use kit::hand::Hand;
use kit::problem::{Point, rules};
use kit::{bits, name, serve};

const LIMIT: Duration = Duration::from_secs(60);

/// What becomes of a device that tries to get in with this.
async fn tries(world: &kit::World, join: Join) -> Result<(), FleetError> {
    let trainer = Point {
        point: vec![0.0; 4],
        pause: Duration::ZERO,
    };
    let client = Client::new(join, world.path("stranger"), trainer);
    let trying = tokio::time::timeout(LIMIT, async move { client.take_part(&Stop::new()).await });
    trying.await.unwrap().map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_fleet_does_not_know_is_not_let_in() {
    let Some(world) = kit::world(1) else { return };
    let mut join = world.join(0);
    join.key = Key::generate();
    let error = tries(&world, join).await.unwrap_err();
    assert!(matches!(error, FleetError::NotLetIn { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_may_publish_as_itself_and_read_what_it_must_and_nothing_else() {
    let Some(world) = kit::world(2) else { return };
    let mut coordinator = world
        .coordinator(rules(2, 4, 1), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let switch = stop.clone();
    let (own, other) = (world.join(0), world.join(1).device);
    let trying = tokio::spawn(async move {
        let mut hand = Hand::of(own, run).await;
        let (subjects, own) = (hand.subjects.clone(), hand.join.device.clone());
        hand.assignment().await;
        assert!(hand.complaints.lock().unwrap().is_empty());
        let forbidden_to_publish = [
            subjects.up(&other),
            subjects.down(&own),
            subjects.run(),
            subjects.chunk(run, 0, 0),
            format!("$JS.API.STREAM.INFO.{}", subjects.up_stream()),
            format!("$JS.API.STREAM.DELETE.{}", subjects.up_stream()),
            format!("$JS.API.STREAM.CREATE.{}", "MINE"),
            format!(
                "$JS.API.CONSUMER.DURABLE.CREATE.{}.me",
                subjects.up_stream()
            ),
            format!("$JS.API.STREAM.MSG.GET.{}", subjects.up_stream()),
            format!("$JS.API.DIRECT.GET.{}", subjects.down_stream()),
            format!(
                "$JS.API.DIRECT.GET.{}.{}",
                subjects.down_stream(),
                subjects.down(&other)
            ),
            format!("$JS.ACK.{}.coordinator.1.1.1.1.1", subjects.up_stream()),
            format!("{}.x", subjects.inbox(&other)),
        ];
        for subject in &forbidden_to_publish {
            hand.client
                .publish(subject.clone(), "{}".into())
                .await
                .unwrap();
            hand.client.flush().await.unwrap();
        }
        let forbidden_to_read = [
            subjects.up(&own),
            subjects.every_up(),
            subjects.down(&other),
            subjects.every_down(),
            subjects.every_model(),
            format!("{}.>", subjects.inbox(&other)),
            "_INBOX.>".into(),
            ">".into(),
        ];
        let mut held = Vec::new();
        for subject in &forbidden_to_read {
            held.push(hand.client.subscribe(subject.clone()).await.unwrap());
            hand.client.flush().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let complaints = hand.complaints.lock().unwrap().clone();
        for subject in forbidden_to_publish.iter().chain(&forbidden_to_read) {
            let named = format!("\"{}\"", subject.to_lowercase());
            let refused = complaints
                .iter()
                .any(|complaint| complaint.to_lowercase().contains(&named));
            assert!(refused, "{subject} was allowed: {complaints:#?}");
        }
        switch.set();
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Stopped);
    trying.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_replayed_tampered_and_foreign_messages_are_counted_and_change_nothing() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (16, 40);
    let config = rules(2, numbers, tasks);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let (join, other) = (world.join(1), world.join(0));
    let bad = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        let first = hand.assignment().await;
        // An update that counts, and is sent again when another task is open.
        let update = hand.update(&first, numbers);
        let offer = hand.offer(&first, &update);
        let sealed = offer.seal(&hand.join.key);
        hand.say(sealed.clone()).await;
        for chunk in Hand::chunks(&first, &update) {
            hand.say(chunk).await;
        }
        let next = |orders: &Orders| {
            orders
                .assignment
                .is_some_and(|open| open.task != first.task)
        };
        let orders = hand.orders_when("there is a second task", next).await;
        let second = orders.assignment.unwrap();
        hand.say(sealed.clone()).await; // task-already-applied

        let mut never_given = offer.clone();
        never_given.task = 1_000_000;
        hand.say(never_given.seal(&hand.join.key)).await; // unknown-task

        let update = hand.update(&second, numbers);
        let offer = hand.offer(&second, &update);
        hand.say(offer.seal(&other.key)).await; // wrong-signature
        let mut changed = offer.seal(&hand.join.key);
        *changed.last_mut().unwrap() ^= 1;
        hand.say(changed).await; // wrong-signature
        let mut foreign = offer.clone();
        foreign.run ^= 1;
        hand.say(foreign.seal(&hand.join.key)).await; // other-run
        let mut foreign = offer.clone();
        foreign.fleet = name("zoo");
        hand.say(foreign.seal(&hand.join.key)).await; // other-fleet
        let mut foreign = offer.clone();
        foreign.device = other.device.clone();
        hand.say(foreign.seal(&hand.join.key)).await; // other-device
        let alive = hand.alive().seal(&hand.join.key);
        hand.say(alive.clone()).await;
        hand.say(alive).await; // replayed
        hand.say(b"GET / HTTP/1.1".to_vec()).await; // no-message
        let mut version = sealed.clone();
        version[4] = 9;
        hand.say(version).await; // other-format-version
        let mut kind = sealed;
        kind[5] = 77;
        hand.say(kind).await; // malformed

        // The bytes are not those that were signed.
        hand.say(offer.seal(&hand.join.key)).await;
        let mut tampered = Hand::chunks(&second, &update);
        *tampered[0].last_mut().unwrap() ^= 1;
        hand.say(tampered.remove(0)).await; // damaged
        let again = |orders: &Orders| orders.wanted.is_some_and(|wanted| wanted.from == 0);
        hand.orders_when("all of it is wanted again", again).await;

        // Signed, and no update: the task is closed, and another one follows.
        let nonsense = vec![7; 300];
        hand.say(hand.offer(&second, &nonsense).seal(&hand.join.key))
            .await;
        for chunk in Hand::chunks(&second, &nonsense) {
            hand.say(chunk).await;
        }
        let orders = hand
            .orders_when("the nonsense was refused", |orders| {
                let verdict = orders.verdict.as_ref();
                verdict.is_some_and(|verdict| verdict.task == second.task)
                    && orders.assignment.is_some()
            })
            .await;
        assert_eq!(
            orders.verdict.unwrap().refused.as_deref(),
            Some("no-message")
        );
        let third = orders.assignment.unwrap();

        // An offer of more bytes than this model can have is refused before any of them is kept.
        let mut huge = hand.offer(&third, &nonsense);
        huge.bytes = 1 << 40;
        hand.say(huge.seal(&hand.join.key)).await; // too-large
        let orders = hand
            .orders_when("the offer was refused", |orders| {
                let verdict = orders.verdict.as_ref();
                verdict.is_some_and(|verdict| verdict.task == third.task)
            })
            .await;
        assert_eq!(
            orders.verdict.unwrap().refused.as_deref(),
            Some("too-large")
        );

        // And the server itself takes nothing that is longer than a message can be.
        let subject = hand.subjects.up(&hand.join.device);
        let long = vec![0; MOST_UP_BYTES + 1];
        let answer = hand.client.request(subject, long.into()).await.unwrap();
        assert!(String::from_utf8_lossy(&answer.payload).contains("error"));
    });
    let bad = tokio::time::timeout(LIMIT, bad);
    let pause = Duration::from_millis(10);
    let switch = stop.clone();
    let watch = tokio::spawn(async move {
        bad.await.unwrap().unwrap();
        switch.set();
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    watch.await.unwrap();
    let expected = [
        ("task-already-applied", 1),
        ("unknown-task", 1),
        ("wrong-signature", 2),
        ("other-run", 1),
        ("other-fleet", 1),
        ("other-device", 1),
        ("replayed", 1),
        ("no-message", 1),
        ("other-format-version", 1),
        ("malformed", 1),
        ("damaged", 1),
        ("too-large", 1),
    ];
    let expected: BTreeMap<String, u64> = expected
        .map(|(code, count)| (code.to_owned(), count))
        .into();
    let status = coordinator.status();
    assert_eq!(status.turned, expected);
    assert_eq!(status.devices[1].counted, 1);
    assert_eq!(status.devices[1].refused, 2);

    // A good device finishes the run.
    let good = world.device(0, numbers, pause, &Stop::new());
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    good.await.unwrap().unwrap();
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_that_somebody_kept_is_not_believed_by_a_coordinator_that_was_started_again()
{
    let Some(world) = kit::world(1) else { return };
    let config = rules(1, 4, 10);
    let open = || {
        world
            .coordinator(config.clone(), Settings::default())
            .unwrap()
    };
    let mut coordinator = open();
    let run = coordinator.engine().run();
    let (join, stop) = (world.join(0), Stop::new());
    let switch = stop.clone();
    let first = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        let task = hand.assignment().await;
        // One that counts: the device is away when its task is lost, and gets another one by it.
        hand.fail(&task).await;
        hand.orders_when("the task is gone", |orders| orders.assignment.is_none())
            .await;
        let kept = hand.alive().seal(&hand.join.key);
        hand.say(kept.clone()).await;
        let orders = hand.orders_when("there is another", |orders| orders.assignment.is_some());
        let task = orders.await.assignment.unwrap();
        hand.fail(&task).await;
        hand.orders_when("that is gone too", |orders| orders.assignment.is_none())
            .await;
        switch.set();
        (hand, kept)
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    let (hand, kept) = first.await.unwrap();
    drop(coordinator);

    let mut coordinator = open();
    let before = coordinator.engine().progress().members[0].given_tasks;
    let stop = Stop::new();
    let switch = stop.clone();
    let second = tokio::spawn(async move {
        let latest = hand.orders().await.unwrap().sequence;
        for _ in 0..3 {
            hand.say(kept.clone()).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let orders = hand.orders_when("they are of the new process", |orders| {
            Orders::process_of(orders.sequence) > Orders::process_of(latest)
        });
        // All that it has is that they are said again.
        assert_eq!(orders.await.assignment, None);
        switch.set();
        hand
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    let mut hand = second.await.unwrap();
    let status = coordinator.status();
    assert_eq!(status.devices[0].silent_seconds, None, "{status:#?}");
    let member = &coordinator.engine().progress().members[0];
    assert_eq!(member.given_tasks, before, "{member:?}");

    // The device itself, which reads its orders, has a task at once.
    let stop = Stop::new();
    let switch = stop.clone();
    let third = tokio::spawn(async move {
        hand.assignment().await;
        switch.set();
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    third.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_version_is_turned_away_with_words_and_says_so_itself() {
    let Some(world) = kit::world(1) else { return };
    let mut coordinator = world
        .coordinator(rules(1, 4, 10), Settings::default())
        .unwrap();
    let run = coordinator.engine().run();
    let (join, stop) = (world.join(0), Stop::new());
    let switch = stop.clone();
    let older = tokio::spawn(async move {
        let mut hand = Hand::of(join, run).await;
        // As the second version had it, which could not say how many clips there are.
        let mut alive = hand.alive().seal(&hand.join.key);
        alive[4] = 2;
        hand.say(alive).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        switch.set();
    });
    assert_eq!(serve(&mut coordinator, &stop, LIMIT).await, Ended::Stopped);
    older.await.unwrap();
    let status = coordinator.status();
    assert_eq!(status.turned.get("other-format-version"), Some(&1));
    let trouble = status.trouble.unwrap_or_default();
    for part in ["nano-0 speaks another version", "same version of fedact"] {
        assert!(trouble.contains(part), "no {part:?} in {trouble}");
    }
    assert_eq!(coordinator.engine().progress().members[0].given_tasks, 0);

    // The other way round: what the coordinator has said of the run is of a version to come.
    let wire = world.wire("later").await;
    let hand = Hand::of(world.join(0), run).await;
    let subjects = hand.subjects.clone();
    let last = Subjects::last(&subjects.down_stream(), &subjects.run());
    let mut later = hand
        .client
        .request(last, "".into())
        .await
        .unwrap()
        .payload
        .to_vec();
    later[4] += 1;
    wire.request(subjects.run(), later.into()).await.unwrap();
    let (heard, told) = std::sync::mpsc::channel();
    let stop = Stop::new();
    let device = world.device_telling(0, 4, Duration::ZERO, &stop, move |told| {
        if let Told::Waits(awaited) = told {
            heard.send(*awaited).unwrap();
        }
    });
    let awaited = tokio::task::spawn_blocking(move || told.recv_timeout(LIMIT).unwrap());
    assert_eq!(awaited.await.unwrap(), Awaited::SameVersion);
    stop.set();
    device.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_floods_harms_itself_alone() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (16, 40);
    let config = rules(2, numbers, tasks);
    let mut coordinator = world.coordinator(config, Settings::default()).unwrap();
    let run = coordinator.engine().run();
    let stop = Stop::new();
    let join = world.join(1);
    let flooding = tokio::spawn(async move {
        let hand = Hand::of(join, run).await;
        let subject = hand.subjects.up(&hand.join.device);
        let garbage = bytes::Bytes::from(vec![1_u8; 10_000]);
        loop {
            for _ in 0..200 {
                hand.client
                    .publish(subject.clone(), garbage.clone())
                    .await
                    .unwrap();
            }
            hand.client.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let good = world.device(0, numbers, Duration::ZERO, &stop);
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    good.await.unwrap().unwrap();
    flooding.abort();
    let status = coordinator.status();
    assert_eq!(status.devices[0].counted, tasks);
    assert!(status.turned["no-message"] > 0, "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_sent_away_and_stays_out_and_the_run_goes_on() {
    let Some(world) = kit::world(2) else { return };
    let (numbers, tasks) = (16, 40);
    let config = rules(2, numbers, tasks);
    let mut coordinator = world.coordinator(config, Settings::default()).unwrap();
    let stop = Stop::new();
    let pause = Duration::from_millis(30);
    let good = world.device(0, numbers, pause, &stop);
    let bad = world.device(1, numbers, pause, &stop);
    let fleet = world.fleet.clone();
    let revoking = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(fleet.revoke("nano-1").unwrap()[0].taken, Taken::Read);
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    revoking.await.unwrap();
    good.await.unwrap().unwrap();
    let sent_away = tokio::time::timeout(LIMIT, bad).await.unwrap().unwrap();
    let error = sent_away.unwrap_err();
    assert!(matches!(error, FleetError::NotLetIn { .. }), "{error}");
    let again = tries(&world, world.join(1)).await.unwrap_err();
    assert!(matches!(again, FleetError::NotLetIn { .. }), "{again}");
    let status = coordinator.status();
    assert!(status.devices[1].revoked, "{status:#?}");
    let unknown = world.fleet.revoke("nano-9").unwrap_err().to_string();
    assert!(unknown.contains("nano-9"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_tls_ends_and_a_foreign_certificate_is_not_believed() {
    let Some(world) = kit::world_with(2, true) else {
        return;
    };
    let (numbers, tasks) = (16, 8);
    let mut coordinator = world
        .coordinator(rules(2, numbers, tasks), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let join = world.join(0);
    assert!(join.address.starts_with("tls://"), "{}", join.address);
    let devices = [0, 1].map(|device| world.device(device, numbers, Duration::ZERO, &stop));
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in devices {
        device.await.unwrap().unwrap();
    }
    // Another fleet's authority, and none at all.
    let setup = Setup {
        tls_on_loopback: true,
        store_bytes: 1 << 20,
        ..Setup::on_loopback(name("zoo"), world.ports[0], vec![name("nano-0")])
    };
    let zoo = Fleet::init(&world.path("zoo"), &setup).unwrap();
    let mut join = world.join(0);
    join.authority = zoo.authority().unwrap();
    let error = tries(&world, join).await.unwrap_err();
    assert!(matches!(error, FleetError::NotLetIn { .. }), "{error}");
    let mut join = world.join(0);
    join.authority = None;
    let error = tries(&world, join).await.unwrap_err();
    assert!(matches!(error, FleetError::Certificate { .. }), "{error}");
    // The certificate is for an address, not for a name that leads there.
    let mut join = world.join(0);
    join.address = join.address.replace("127.0.0.1", "localhost");
    let error = tries(&world, join).await.unwrap_err();
    assert!(matches!(error, FleetError::NotLetIn { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_another_machine_without_tls() {
    let Some(world) = kit::world(1) else { return };
    let mut join = world.join(0);
    join.address = "nats://192.0.2.1:4222".into();
    let error = tries(&world, join).await.unwrap_err().to_string();
    assert!(error.contains("without TLS"), "{error}");
}
