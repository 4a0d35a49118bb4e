//! A fleet whose people change: devices that come later, servers that do not follow, certificates that end.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fedact_federation::aggregator::EndReason;
use fedact_federation::strategy::{FedAvg, Privacy, ServerStep, Strategy};
use fedact_fleet::client::{Awaited, Client, Ended as Left, Told};
use fedact_fleet::coordinator::{Ended, Settings, Status};
use fedact_fleet::engine::clients_at_start;
use fedact_fleet::identity::Join;
use fedact_fleet::setup::{Fleet, Taken};
use fedact_fleet::{FleetError, Stop};
use kit::problem::{Point, SAMPLES, point, rules};
use kit::{bits, name, serve};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use time::OffsetDateTime;
use tokio::task::{JoinHandle, spawn_blocking};

const LIMIT: Duration = Duration::from_secs(60);
const NUMBERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(20);

fn client(fleet: &Fleet, folder: PathBuf, device: &str) -> Client<Point> {
    let join = Join::read(&fleet.join_path(&name(device))).unwrap();
    let trainer = Point {
        point: point(device, NUMBERS),
        pause: PAUSE,
    };
    Client::new(join, folder, trainer)
}

/// Adds a device when the run has come to some events, and lets it take part.
fn newcomer(
    world: &kit::World,
    device: &'static str,
    stop: &Stop,
) -> JoinHandle<Result<Left, FleetError>> {
    let (fleet, folder, stop) = (world.fleet.clone(), world.path(device), stop.clone());
    tokio::spawn(async move {
        let journal = fleet.run_folder().join("journal");
        while std::fs::metadata(&journal).map_or(0, |metadata| metadata.len()) < 1000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let adding = fleet.clone();
        let told = spawn_blocking(move || adding.add(&[name(device)]));
        let told = told.await.unwrap().unwrap();
        assert_eq!(told[0].taken, Taken::Read);
        client(&fleet, folder, device).take_part(&stop).await
    })
}

/// Sets a switch when the status of the current run is as wanted.
fn when(fleet: &Fleet, wanted: impl Fn(&Status) -> bool + Send + 'static, switch: &Stop) {
    let (fleet, switch) = (fleet.clone(), switch.clone());
    std::thread::spawn(move || {
        while !Status::read(&fleet.run_folder()).is_ok_and(|status| wanted(&status)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        switch.set();
    });
}

fn newcomers_welcome() -> Settings {
    Settings {
        newcomers: Some(SAMPLES),
        checkpoint_every: 7,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_are_added_take_part_in_the_run_over_restarts_and_it_is_what_its_journal_gives()
 {
    let Some(world) = kit::world(1) else { return };
    let config = rules(1, NUMBERS, 150);
    let open = || {
        world
            .coordinator(config.clone(), newcomers_welcome())
            .unwrap()
    };
    let mut coordinator = open();
    let (leave, pause) = (Stop::new(), Stop::new());
    let first = world.device(0, NUMBERS, PAUSE, &leave);
    let second = newcomer(&world, "pi-1", &leave);
    let counted = |status: &Status| status.devices.get(1).is_some_and(|pi| pi.counted > 2);
    when(&world.fleet, counted, &pause);
    assert_eq!(serve(&mut coordinator, &pause, LIMIT).await, Ended::Stopped);
    drop(coordinator);

    // One more while nobody serves.
    let fleet = world.fleet.clone();
    spawn_blocking(move || fleet.add(&[name("pi-2")]).unwrap())
        .await
        .unwrap();
    let third = client(&world.fleet, world.path("pi-2"), "pi-2");
    let switch = leave.clone();
    let third = tokio::spawn(async move { third.take_part(&switch).await });
    assert_eq!(
        clients_at_start(&world.fleet.run_folder()).unwrap(),
        Some(1)
    );
    let mut coordinator = open();
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    for device in [first, second, third] {
        let left = device.await.unwrap().unwrap();
        assert_eq!(left, Left::Finished("budget-spent".into()));
    }
    let status = coordinator.status();
    let counted: Vec<u64> = status.devices.iter().map(|device| device.counted).collect();
    assert!(
        counted.len() == 3 && counted.iter().all(|counted| *counted > 0),
        "{counted:?}"
    );
    assert_eq!(counted.iter().sum::<u64>(), 150);
    assert_eq!(status.next_run, []);
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&world.replay(config).parameters), bits(model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_counts_on_its_devices_leaves_newcomers_to_the_next_one_and_says_so() {
    let Some(world) = kit::world(1) else { return };
    let mut config = rules(1, NUMBERS, 60);
    config.strategy = Strategy::FedAvg(FedAvg {
        step: ServerStep {
            privacy: Some(Privacy {
                clip: 1.0,
                noise: 0.1,
                delta: 1e-5,
            }),
            ..ServerStep::default()
        },
        ..FedAvg::default()
    });
    let mut coordinator = world.coordinator(config, newcomers_welcome()).unwrap();
    let stop = Stop::new();
    let first = world.device(0, NUMBERS, PAUSE, &stop);
    let second = newcomer(&world, "pi-1", &stop);
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    first.await.unwrap().unwrap();
    let status = coordinator.status();
    assert_eq!(status.next_run, [name("pi-1")]);
    assert_eq!(status.devices.len(), 1);
    assert_eq!(status.turned.get("unknown-client"), None, "{status:#?}");
    drop(coordinator);

    // It is still there when the next run begins.
    let _ = world.fleet.begin_run("second").unwrap();
    let mut coordinator = world
        .coordinator(rules(2, NUMBERS, 5), Settings::default())
        .unwrap();
    let ended = serve(&mut coordinator, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    let left = second.await.unwrap().unwrap();
    assert_eq!(left, Left::Finished("budget-spent".into()));
    assert_eq!(coordinator.status().devices[1].counted, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_when_the_last_run_is_over_waits_for_the_next_one() {
    let Some(world) = kit::world(1) else { return };
    let mut coordinator = world
        .coordinator(rules(1, NUMBERS, 3), Settings::default())
        .unwrap();
    let had_a_part = client(&world.fleet, world.path("device"), "nano-0");
    let having = tokio::spawn(async move { had_a_part.take_part(&Stop::new()).await });
    serve(&mut coordinator, &Stop::new(), LIMIT).await;
    drop(coordinator);
    assert_eq!(
        having.await.unwrap().unwrap(),
        Left::Finished("budget-spent".into())
    );

    // The same one again: it has left that run already.
    let (heard, waiting) = std::sync::mpsc::channel();
    let again = client(&world.fleet, world.path("device"), "nano-0").telling(move |told| {
        if let Told::Waits(awaited) = told {
            heard.send(*awaited).unwrap();
        }
    });
    let again = tokio::spawn(async move { again.take_part(&Stop::new()).await });
    let waiting = spawn_blocking(move || (waiting.recv_timeout(LIMIT).unwrap(), waiting));
    let (awaited, _waiting) = waiting.await.unwrap();
    assert_eq!(awaited, Awaited::NextRun);

    let _ = world.fleet.begin_run("second").unwrap();
    let mut second = world
        .coordinator(rules(1, NUMBERS, 4), Settings::default())
        .unwrap();
    let ended = serve(&mut second, &Stop::new(), LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    assert_eq!(
        again.await.unwrap().unwrap(),
        Left::Finished("budget-spent".into())
    );
    // While it waited it said nothing that the second run would have had to turn away.
    assert_eq!(second.status().turned.get("other-run"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_its_configuration_is_found_out_and_follows_when_it_is_started_again()
{
    let Some(mut world) = kit::world(2) else {
        return;
    };
    let fleet = world.fleet.clone();
    let revoke = move |device: &'static str| {
        let fleet = fleet.clone();
        async move {
            let told = spawn_blocking(move || fleet.revoke(device).unwrap());
            told.await.unwrap()[0].taken
        }
    };
    // As somebody does who wants to give it more of the disk.
    let path = world.fleet.server_configuration();
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = ("max_file_store: 1073741824", "max_file_store: 2147483648");
    assert!(text.contains(before), "{text}");
    std::fs::write(&path, text.replace(before, after)).unwrap();
    assert_eq!(
        revoke("nano-0").await,
        Taken::Refused,
        "{}",
        world.server_log()
    );
    world.kill_server();
    world.start_server();
    // What was edited is still there, and the device is out.
    assert!(std::fs::read_to_string(&path).unwrap().contains(after));
    let join = world.join(0);
    let trying = Client::new(
        join,
        world.path("revoked"),
        Point {
            point: vec![0.0; 4],
            pause: PAUSE,
        },
    );
    let error = trying.take_part(&Stop::new()).await.unwrap_err();
    assert!(matches!(error, FleetError::NotLetIn { .. }), "{error}");
    assert_eq!(revoke("nano-1").await, Taken::Read);
    world.kill_server();
    assert_eq!(revoke("nano-1").await, Taken::Away);
}

/// Gives the server a certificate of the fleet's authority that is good from one moment to another.
fn certify(world: &kit::World, (from, until): (OffsetDateTime, OffsetDateTime)) {
    let folder = world.path("fleet/tls");
    let key = |name: &str| {
        KeyPair::from_pem(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority
        .distinguished_name
        .push(DnType::CommonName, "fedact fleet lab");
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(authority, key("authority.key"));
    let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    server.not_before = from;
    server.not_after = until;
    let certificate = server.signed_by(&key("server.key"), &issuer).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_out_of_date_are_named_with_the_day_and_renewed_without_telling_the_devices()
 {
    let Some(mut world) = kit::world_with(1, true) else {
        return;
    };
    for (years, words) in [
        (
            (2001, 2019),
            ["good until 2019-03-31", "fedact fleet renew"],
        ),
        ((2096, 2099), ["begins on 2096-01-01", "timedatectl"]),
    ] {
        let (from, until) = years;
        let days = (date_time_ymd(from, 1, 1), date_time_ymd(until, 3, 31));
        certify(&world, days);
        world.kill_server();
        world.start_server();
        let device = client(&world.fleet, world.path("device"), "nano-0");
        let stop = Stop::new();
        let error = tokio::time::timeout(LIMIT, device.take_part(&stop));
        let error = error.await.unwrap().unwrap_err();
        assert!(matches!(error, FleetError::OutOfDate { .. }), "{error}");
        for part in words {
            assert!(error.to_string().contains(part), "no {part:?} in {error}");
        }
    }
    let fleet = world.fleet.clone();
    let renewed = spawn_blocking(move || fleet.renew().unwrap())
        .await
        .unwrap();
    // The server that runs has read it.
    assert_eq!(
        renewed.servers[0].taken,
        Taken::Read,
        "{}",
        world.server_log()
    );
    let mut coordinator = world
        .coordinator(rules(1, NUMBERS, 3), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let device = world.device(0, NUMBERS, Duration::ZERO, &stop);
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    device.await.unwrap().unwrap();
}

/// The next thing of a kind that a device tells.
async fn hears<T: Send + 'static>(
    told: Receiver<Told>,
    which: impl Fn(&Told) -> Option<T> + Send + 'static,
) -> (T, Receiver<Told>) {
    let hearing = spawn_blocking(move || {
        loop {
            if let Some(it) = which(&told.recv_timeout(LIMIT).unwrap()) {
                return (it, told);
            }
        }
    });
    hearing.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_connected_when_a_certificate_ends_say_so_and_come_back_when_it_is_renewed() {
    let Some(mut world) = kit::world_with(1, true) else {
        return;
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = OffsetDateTime::from_unix_timestamp(seconds.as_secs() as i64).unwrap();
    let lives = Duration::from_secs(10);
    let ended = Instant::now() + lives + Duration::from_secs(1);
    certify(&world, (now - Duration::from_secs(60), now + lives));
    world.kill_server();
    world.start_server();
    let (heard, told) = channel();
    let device = client(&world.fleet, world.path("device"), "nano-0").telling(move |told| {
        let _ = heard.send(told.clone());
    });
    let stop = Stop::new();
    let switch = stop.clone();
    let device = tokio::spawn(async move { device.take_part(&switch).await });
    let mut coordinator = world
        .coordinator(rules(1, NUMBERS, 1_000_000), Settings::default())
        .unwrap();
    let pause = Stop::new();
    let folder = world.fleet.run_folder();
    let serving = pause.clone();
    let serving = tokio::spawn(async move {
        let ended = serve(&mut coordinator, &serving, LIMIT).await;
        (ended, coordinator)
    });
    let task = |told: &Told| matches!(told, Told::Task(_)).then_some(());
    let ((), told) = hears(told, task).await;
    tokio::time::sleep_until(ended.into()).await;
    // Connections that there are go on; whoever connects again is shown the certificate.
    world.kill_server();
    world.start_server();
    let disbelief = |told: &Told| match told {
        Told::ServerAway { disbelief } => disbelief.clone(),
        _ => None,
    };
    let (words, told) = hears(told, disbelief).await;
    let until = (now + lives).date().to_string();
    let expected = [
        "its certificate was good until",
        &until,
        "fedact fleet renew",
    ];
    for part in expected {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    // The coordinator's status as well.
    let trouble = || Status::read(&folder).unwrap().trouble.unwrap_or_default();
    let limit = Instant::now() + LIMIT;
    while !expected.iter().all(|part| trouble().contains(part)) {
        assert!(Instant::now() < limit, "{}", trouble());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let fleet = world.fleet.clone();
    spawn_blocking(move || fleet.renew().unwrap())
        .await
        .unwrap();
    let back = |told: &Told| matches!(told, Told::ServerThere).then_some(());
    let ((), told) = hears(told, back).await;
    // And it works as before.
    let decided = |told: &Told| matches!(told, Told::Decided(_)).then_some(());
    hears(told, decided).await;
    pause.set();
    stop.set();
    let (left, coordinator) = serving.await.unwrap();
    assert_eq!(left, Ended::Stopped);
    assert!(coordinator.status().devices[0].counted > 0);
    assert_eq!(device.await.unwrap().unwrap(), Left::Stopped);
}
