//! Clients that come when the run is under way, and those that say only then how many clips they have.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use std::sync::Arc;

use fedact_federation::aggregator::{Action, Aggregator, Client, Config, Contents, Event, Update};
use fedact_federation::layout::Layout;
use fedact_federation::strategy::Strategy;

const SAMPLES: u64 = 10;

fn server(strategy: Strategy) -> Aggregator {
    let config = Config {
        max_refusals_in_a_row: 100,
        ..Config::unbounded(strategy, [SAMPLES; 2], Layout::vector(2), 1000)
    };
    Aggregator::new(config, vec![0.0, 0.0])
}

fn added() -> Event {
    Event::ClientAdded {
        client: Client {
            samples_per_task: 2 * SAMPLES,
        },
    }
}

/// The task that a client is sent by these actions, with its base version and its samples.
fn sent(actions: &[Action], to: usize) -> Option<(u64, u64, u64)> {
    actions.iter().find_map(|action| match *action {
        Action::Send {
            client,
            task,
            version,
            samples,
        } if client == to => Some((task, version, samples)),
        _ => None,
    })
}

/// Answers a task.
fn answer(server: &mut Aggregator, client: usize, task: (u64, u64, u64)) -> Vec<Action> {
    let numbers = vec![0.5, -0.5];
    let contents = match server.config().strategy.takes_parameters() {
        true => Contents::Parameters(numbers),
        false => Contents::Change(numbers),
    };
    server.handle(Event::UpdateArrived(Update {
        client,
        task: task.0,
        base_version: task.1,
        samples: task.2,
        layout: Layout::vector(2).fingerprint(),
        contents,
    }))
}

fn counts(actions: &[Action], of: usize) -> bool {
    let mixed = |action: &Action| matches!(action, Action::Mixed { client, .. } if *client == of);
    actions.iter().any(mixed)
}

#[test]
fn a_newcomer_has_a_task_of_its_own_size_and_its_update_counts() {
    let mut server = server(kit::fedasync());
    assert_eq!(server.handle(Event::ClientReady { client: 2 }), []);
    assert_eq!(server.handle(added()), []);
    let task = sent(&server.handle(Event::ClientReady { client: 2 }), 2).unwrap();
    assert_eq!(task.2, 2 * SAMPLES);
    assert!(counts(&answer(&mut server, 2, task), 2));
    assert_eq!(server.samples(), 2 * SAMPLES);
    assert_eq!(server.config().clients.len(), 3);
}

#[test]
fn a_round_that_is_open_does_not_wait_for_a_newcomer_and_the_next_one_asks_it() {
    let mut server = server(kit::fedavg(Default::default()));
    let first = sent(&server.handle(Event::ClientReady { client: 0 }), 0).unwrap();
    server.handle(added());
    assert_eq!(
        sent(&server.handle(Event::ClientReady { client: 2 }), 2),
        None
    );
    let second = sent(&server.handle(Event::ClientReady { client: 1 }), 1).unwrap();
    answer(&mut server, 0, first);
    let actions = answer(&mut server, 1, second);
    assert_eq!(server.version(), 1);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::RoundOpened { asked: 3, .. }))
    );
    assert!(sent(&actions, 2).is_some(), "{actions:?}");
}

#[test]
fn a_server_goes_on_from_what_was_kept_with_its_newcomer() {
    let mut server = server(kit::fedbuff(2, Default::default()));
    server.handle(added());
    let task = sent(&server.handle(Event::ClientReady { client: 2 }), 2).unwrap();
    let (state, parameters) = (server.state().clone(), Arc::clone(server.parameters()));
    let config = server.config().clone();
    let restored = Aggregator::restore(config, state.clone(), parameters, &server.rows());
    answer(&mut restored.unwrap(), 2, task);
    // Rules of the beginning do not fit any more.
    let mut fewer = server.config().clone();
    fewer.clients.pop();
    let parameters = Arc::clone(server.parameters());
    assert!(Aggregator::restore(fewer, state, parameters, &server.rows()).is_none());
}

#[test]
fn strategies_that_count_on_the_clients_of_the_beginning_stay_with_those() {
    for (name, strategy) in kit::every_strategy() {
        let admits = strategy.admits_newcomers();
        let mut server = server(strategy);
        server.handle(added());
        let clients = server.config().clients.len();
        assert_eq!(clients, if admits { 3 } else { 2 }, "{name}");
        let served = !server.handle(Event::ClientReady { client: 2 }).is_empty();
        assert!(admits || !served, "{name}");
    }
}

fn holds(client: usize, samples_per_task: u64) -> Event {
    Event::ClientHolds {
        client,
        samples_per_task,
        budget_samples: 100_000,
    }
}

#[test]
fn a_client_that_says_what_it_holds_has_tasks_of_that_length_from_the_next_one_on() {
    for (name, strategy) in kit::every_strategy() {
        let mut server = server(strategy);
        server.handle(Event::ClientReady { client: 1 });
        let open = sent(&server.handle(Event::ClientReady { client: 0 }), 0);
        let open = open.unwrap_or_else(|| panic!("{name} gives no task"));
        assert_eq!(server.handle(holds(0, 7)), [], "{name}");
        // The task that is open keeps its length.
        assert_eq!(open.2, SAMPLES, "{name}");
        assert!(
            !answer(&mut server, 0, open)
                .iter()
                .any(|action| matches!(action, Action::Refused { .. })),
            "{name}"
        );
        assert_eq!(server.config().clients[0].samples_per_task, 7, "{name}");
        // Of nobody that is known: nothing.
        assert_eq!(server.handle(holds(9, 7)), [], "{name}");
        server.handle(Event::ClientLost { client: 1 });
        let actions = server.handle(Event::ClientReady { client: 0 });
        if let Some(task) = sent(&actions, 0) {
            assert!(task.2 == 7 || name.contains("compass"), "{name}: {task:?}");
        }
    }
}

#[test]
fn updates_weigh_what_their_clients_hold_up_to_the_cap() {
    let weights = |strategy: Strategy, max_samples| {
        let config = Config {
            max_refusals_in_a_row: 100,
            max_samples,
            ..Config::unbounded(strategy, [SAMPLES; 2], Layout::vector(2), 100_000)
        };
        let mut server = Aggregator::new(config, vec![0.0, 0.0]);
        server.handle(holds(0, 30));
        server.handle(holds(1, 90));
        let first = sent(&server.handle(Event::ClientReady { client: 0 }), 0).unwrap();
        let second = sent(&server.handle(Event::ClientReady { client: 1 }), 1).unwrap();
        assert_eq!((first.2, second.2), (30, 90));
        let mut actions = answer(&mut server, 0, first);
        actions.extend(answer(&mut server, 1, second));
        let weights = actions.iter().filter_map(|action| match action {
            Action::Mixed { weight, .. } => Some(*weight),
            _ => None,
        });
        weights.collect::<Vec<f64>>()
    };
    assert_eq!(weights(kit::fedavg(Default::default()), None), [0.25, 0.75]);
    assert_eq!(
        weights(kit::fedavg(Default::default()), Some(30)),
        [0.5, 0.5]
    );
    let compass = |max_samples| {
        let all = kit::every_strategy().into_iter();
        let (_, compass) = all
            .into_iter()
            .find(|(name, _)| name.contains("compass"))
            .unwrap();
        weights(compass, max_samples)
    };
    // A client's share of all samples, by which FedCompass goes; the second comes one version late.
    let [first, second] = compass(None)[..] else {
        panic!()
    };
    let [fair, even] = compass(Some(30))[..] else {
        panic!()
    };
    assert!(
        (first - 0.25).abs() < 1e-9 && (fair - 0.5).abs() < 1e-9,
        "{first} {fair}"
    );
    assert!((second / even - 1.5).abs() < 1e-9, "{second} {even}");
}

#[test]
fn a_run_ends_where_what_its_clients_hold_says() {
    let mut server = server(kit::fedasync());
    let first = sent(&server.handle(Event::ClientReady { client: 0 }), 0).unwrap();
    server.handle(Event::ClientHolds {
        client: 0,
        samples_per_task: 4,
        budget_samples: SAMPLES + 1,
    });
    assert_eq!(server.config().budget_samples, SAMPLES + 1);
    answer(&mut server, 0, first);
    assert_eq!(server.finished(), None);
    let second = sent(&server.handle(Event::ClientReady { client: 0 }), 0).unwrap();
    let actions = answer(&mut server, 0, second);
    let over = actions
        .iter()
        .any(|action| matches!(action, Action::Finished { .. }));
    assert!(over && server.samples() == SAMPLES + 4, "{actions:?}");
}
