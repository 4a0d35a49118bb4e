//! Whole runs over a real NATS server.

mod kit;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fedact_federation::aggregator::EndReason;
use fedact_fleet::Stop;
use fedact_fleet::client::{Ended as Left, Told};
use fedact_fleet::coordinator::{Ended, Settings, Status};
use kit::problem::rules;
use kit::{bits, distance, optimum, serve};

const LIMIT: Duration = Duration::from_secs(60);

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
    // It learned something: FedAsync stays about the mean of what the devices want.
    let optimum = optimum(&world.devices, numbers);
    let begin = distance(&vec![0.0; numbers], &optimum);
    assert!(distance(&model, &optimum) < begin, "{begin}");
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
    assert!(status.turned.is_empty(), "{:?}", status.turned);
}
