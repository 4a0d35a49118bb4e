//! A cluster of servers loses the one that leads, in the middle of a run.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

mod kit;

use std::time::{Duration, Instant};

use fedact_federation::aggregator::EndReason;
use fedact_fleet::Stop;
use fedact_fleet::coordinator::{Ended, Settings};
use kit::problem::rules;
use kit::{bits, serve};

const LIMIT: Duration = Duration::from_secs(240);

/// The server that leads the stream of what devices say, as soon as one does.
async fn leader(wire: &async_nats::Client) -> usize {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let question = "$JS.API.STREAM.INFO.FLEET-lab-UP";
        let answer = wire.request(question, "".into()).await;
        let answer = answer.ok().map(|answer| {
            serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap_or_default()
        });
        let name = answer
            .as_ref()
            .and_then(|answer| answer["cluster"]["leader"].as_str());
        if let Some(nth) = name.and_then(|name| name.strip_prefix("lab-")) {
            return nth.parse::<usize>().unwrap() - 1;
        }
        assert!(Instant::now() < limit, "nobody leads: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_its_leader_twice_loses_nothing() {
    let Some(mut world) = kit::world_of(3, true, 3, 1 << 30) else {
        return;
    };
    let (numbers, tasks) = (100_000, 60);
    let config = rules(3, numbers, tasks);
    let mut coordinator = world
        .coordinator(config.clone(), Settings::default())
        .unwrap();
    let stop = Stop::new();
    let pause = Duration::from_millis(30);
    let devices = [0, 1, 2].map(|device| world.device(device, numbers, pause, &stop));
    let killing = tokio::spawn(async move {
        let wire = world.wire("killer").await;
        for bytes in [3_000, 9_000] {
            world.journal_grown_to(bytes).await;
            let nth = leader(&wire).await;
            world.kill_server_at(nth);
            // The others choose another leader, and the run goes on without this one.
            world.journal_grown_to(bytes + 2_000).await;
            world.start_server_at(nth);
        }
        world
    });
    let ended = serve(&mut coordinator, &stop, LIMIT).await;
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    let world = killing.await.unwrap();
    for device in devices {
        device.await.unwrap().unwrap();
    }
    let replayed = world.replay(config);
    assert_eq!(replayed.mixed.len() as u64, tasks);
    assert_eq!(replayed.mixed, replayed.updates);
    assert!(replayed.mixed.values().all(|times| *times == 1));
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(&replayed.parameters), bits(model));
}
