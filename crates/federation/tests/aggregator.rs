//! The server's state machine, event by event.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

use fedact_federation::aggregator::{
    Action, Aggregator, Config, Contents, EndReason, Event, Update,
};
use fedact_federation::layout::Layout;
use fedact_federation::strategy::{AlphaDecay, FedAsync, FedAvg, Mixing, Strategy};
use fedact_federation::validation::Refusal;

const SAMPLES: [u64; 3] = [10, 30, 10];

fn fedasync() -> Strategy {
    Strategy::FedAsync(FedAsync {
        alpha: 0.5,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::Polynomial { a: 1.0 },
        max_staleness: Some(2),
    })
}

fn config(strategy: Strategy, clients: usize) -> Config {
    let samples = SAMPLES.into_iter().take(clients);
    Config {
        max_refusals_in_a_row: 100,
        ..Config::unbounded(strategy, samples, Layout::vector(2), 1000)
    }
}

fn server(strategy: Strategy, clients: usize) -> Aggregator {
    Aggregator::new(config(strategy, clients), vec![0.0, 0.0])
}

/// Makes a client ready and gives the task it was sent, if any.
fn ready(server: &mut Aggregator, client: usize) -> Option<(u64, u64)> {
    sent(&server.handle(Event::ClientReady { client }), client)
}

fn sent(actions: &[Action], to: usize) -> Option<(u64, u64)> {
    actions.iter().find_map(|action| match action {
        Action::Send {
            client,
            task,
            version,
            ..
        } if *client == to => Some((*task, *version)),
        _ => None,
    })
}

/// An update with these numbers: as parameters or as a change, whichever the server takes.
fn update(
    server: &Aggregator,
    client: usize,
    (task, base_version): (u64, u64),
    numbers: &[f32],
) -> Update {
    let contents = if server.config().strategy.takes_parameters() {
        Contents::Parameters(numbers.to_vec())
    } else {
        Contents::Change(numbers.to_vec())
    };
    Update {
        client,
        task,
        base_version,
        samples: SAMPLES[client],
        layout: Layout::vector(2).fingerprint(),
        contents,
    }
}

fn refusal(actions: &[Action]) -> Option<Refusal> {
    actions.iter().find_map(|action| match action {
        Action::Refused { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn fedasync_mixes_each_update_at_once_by_its_staleness() {
    let mut server = server(fedasync(), 2);
    let first = ready(&mut server, 0).unwrap();
    let second = ready(&mut server, 1).unwrap();
    // Fresh: α = 0.5, so (0, 0) and (2, 4) give (1, 2).
    let actions = server.handle(Event::UpdateArrived(update(&server, 0, first, &[2.0, 4.0])));
    assert_eq!(
        actions,
        [Action::Mixed {
            client: 0,
            task: first.0,
            base_version: 0,
            version: 1,
            staleness: 0,
            weight: 0.5,
        }]
    );
    assert_eq!(server.parameters()[..], [1.0, 2.0]);
    // Staleness 1: α = 0.5 / 2, so (1, 2) and (5, 2) give (2, 2).
    let actions = server.handle(Event::UpdateArrived(update(
        &server,
        1,
        second,
        &[5.0, 2.0],
    )));
    assert!(
        matches!(actions[..], [Action::Mixed { staleness: 1, weight, .. }] if weight == 0.25),
        "{actions:?}"
    );
    assert_eq!(server.parameters()[..], [2.0, 2.0]);
    // The next task starts from what has just been mixed.
    assert_eq!(ready(&mut server, 0).unwrap().1, 2);
}

#[test]
fn fedavg_waits_for_all_and_weighs_by_samples() {
    let mut server = server(Strategy::FedAvg(FedAvg::default()), 2);
    let first = ready(&mut server, 0).unwrap();
    let second = ready(&mut server, 1).unwrap();
    assert!(
        server
            .handle(Event::UpdateArrived(update(&server, 0, first, &[4.0, 0.0])))
            .is_empty()
    );
    assert_eq!(ready(&mut server, 0), None, "the round is not over");
    assert_eq!(server.parameters()[..], [0.0, 0.0]);
    // (10·(4, 0) + 30·(0, 4)) / 40 = (1, 3); client 0 has been waiting and gets the next task.
    let actions = server.handle(Event::UpdateArrived(update(
        &server,
        1,
        second,
        &[0.0, 4.0],
    )));
    assert_eq!(server.parameters()[..], [1.0, 3.0]);
    let weights: Vec<f64> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Mixed {
                weight, version: 1, ..
            } => Some(*weight),
            _ => None,
        })
        .collect();
    assert_eq!(weights, [0.25, 0.75]);
    assert_eq!(sent(&actions, 0).unwrap().1, 1);
    assert_eq!(
        sent(&actions, 1),
        None,
        "client 1 has not said that it is ready"
    );
    assert_eq!(ready(&mut server, 1).unwrap().1, 1);
}

#[test]
fn every_kind_of_bad_update_is_refused_with_its_reason_and_changes_nothing() {
    type Spoil = fn(&mut Update);
    let cases: [(Spoil, Refusal); 9] = [
        (
            |u| u.contents.numbers_mut()[1] = f32::NAN,
            Refusal::NotFinite,
        ),
        (
            |u| u.contents.numbers_mut()[0] = f32::NEG_INFINITY,
            Refusal::NotFinite,
        ),
        (|u| u.contents.numbers_mut()[0] = 1e30, Refusal::TooFar),
        (|u| u.contents.numbers_mut().push(0.0), Refusal::WrongLayout),
        (|u| u.layout ^= 1, Refusal::WrongLayout),
        (
            |u| {
                u.contents = match u.contents.clone() {
                    Contents::Parameters(numbers) => Contents::Change(numbers),
                    Contents::Change(numbers) => Contents::Parameters(numbers),
                }
            },
            Refusal::WrongContents,
        ),
        (|u| u.samples = 1_000_000, Refusal::WrongSampleCount),
        (|u| u.base_version = 7, Refusal::UnknownBaseVersion),
        (|u| u.task = 99, Refusal::UnknownTask),
    ];
    for strategy in [fedasync(), Strategy::FedAvg(FedAvg::default())] {
        for (spoil, reason) in cases {
            let mut config = config(strategy.clone(), 2);
            config.max_update_distance = Some(10.0);
            let mut server = Aggregator::new(config, vec![0.0, 0.0]);
            let task = ready(&mut server, 0).unwrap();
            ready(&mut server, 1).unwrap();
            let mut bad = update(&server, 0, task, &[1.0, 1.0]);
            spoil(&mut bad);
            let actions = server.handle(Event::UpdateArrived(bad));
            assert_eq!(refusal(&actions), Some(reason));
            assert_eq!(server.refusals()[&reason], 1);
            assert_eq!(server.parameters()[..], [0.0, 0.0]);
            assert_eq!(server.version(), 0);
        }
    }
}

#[test]
fn strangers_and_repeats_are_refused() {
    let mut server = server(fedasync(), 2);
    let task = ready(&mut server, 0).unwrap();
    let good = update(&server, 0, task, &[2.0, 2.0]);
    let mut strange = good.clone();
    strange.client = 17;
    let actions = server.handle(Event::UpdateArrived(strange));
    assert_eq!(refusal(&actions), Some(Refusal::UnknownClient));
    let mut stolen = good.clone();
    stolen.client = 1;
    let actions = server.handle(Event::UpdateArrived(stolen));
    assert_eq!(refusal(&actions), Some(Refusal::UnknownTask));
    assert_eq!(
        refusal(&server.handle(Event::UpdateArrived(good.clone()))),
        None
    );
    let actions = server.handle(Event::UpdateArrived(good));
    assert_eq!(refusal(&actions), Some(Refusal::TaskAlreadyApplied));
    assert_eq!(server.version(), 1, "counted once");
    assert_eq!(server.samples(), 10, "and its work too");
}

#[test]
fn an_update_staler_than_the_limit_is_refused() {
    let mut server = server(fedasync(), 2);
    let slow = ready(&mut server, 1).unwrap();
    for _ in 0..3 {
        let task = ready(&mut server, 0).unwrap();
        server.handle(Event::UpdateArrived(update(&server, 0, task, &[1.0, 1.0])));
    }
    let actions = server.handle(Event::UpdateArrived(update(&server, 1, slow, &[1.0, 1.0])));
    assert_eq!(refusal(&actions), Some(Refusal::TooStale));
    assert_eq!(server.version(), 3);
}

#[test]
fn a_round_goes_on_without_the_lost_and_the_refused() {
    let mut server = server(Strategy::FedAvg(FedAvg::default()), 3);
    let first = ready(&mut server, 0).unwrap();
    let second = ready(&mut server, 1).unwrap();
    ready(&mut server, 2).unwrap();
    server.handle(Event::UpdateArrived(update(
        &server,
        0,
        first,
        &[f32::NAN, 0.0],
    )));
    server.handle(Event::ClientLost { client: 2 });
    assert_eq!(server.version(), 0);
    server.handle(Event::UpdateArrived(update(
        &server,
        1,
        second,
        &[1.0, 2.0],
    )));
    assert_eq!(server.version(), 1);
    assert_eq!(server.parameters()[..], [1.0, 2.0]);
}

#[test]
fn a_deadline_closes_its_own_round_and_the_late_are_refused() {
    let mut server = server(Strategy::FedAvg(FedAvg::default()), 2);
    let first = ready(&mut server, 0).unwrap();
    let late = ready(&mut server, 1).unwrap();
    server.handle(Event::UpdateArrived(update(&server, 0, first, &[1.0, 2.0])));
    assert!(server.handle(Event::RoundDeadline { round: 5 }).is_empty());
    server.handle(Event::RoundDeadline { round: 0 });
    assert_eq!(server.version(), 1);
    let actions = server.handle(Event::UpdateArrived(update(&server, 1, late, &[9.0, 9.0])));
    assert_eq!(refusal(&actions), Some(Refusal::LateForRound));
    assert_eq!(server.parameters()[..], [1.0, 2.0]);
}

#[test]
fn a_run_ends_when_its_budget_is_spent_and_sends_nothing_more() {
    let mut config = config(fedasync(), 1);
    config.budget_samples = 20;
    let mut server = Aggregator::new(config, vec![0.0, 0.0]);
    let task = ready(&mut server, 0).unwrap();
    server.handle(Event::UpdateArrived(update(&server, 0, task, &[1.0, 1.0])));
    let task = ready(&mut server, 0).unwrap();
    let actions = server.handle(Event::UpdateArrived(update(&server, 0, task, &[1.0, 1.0])));
    assert_eq!(
        actions.last(),
        Some(&Action::Finished {
            reason: EndReason::BudgetSpent
        })
    );
    assert_eq!(ready(&mut server, 0), None);
    let actions = server.handle(Event::UpdateArrived(update(&server, 0, task, &[1.0, 1.0])));
    assert_eq!(refusal(&actions), Some(Refusal::RunFinished));
}

#[test]
fn a_run_of_nothing_but_refusals_ends_and_outsiders_cannot_end_it() {
    let mut config = config(fedasync(), 1);
    config.max_refusals_in_a_row = 3;
    let mut server = Aggregator::new(config, vec![0.0, 0.0]);
    for _ in 0..10 {
        let mut strange = update(&server, 0, (0, 0), &[1.0, 1.0]);
        strange.client = 17;
        server.handle(Event::UpdateArrived(strange));
    }
    assert_eq!(server.finished(), None);
    for _ in 0..3 {
        let task = ready(&mut server, 0).unwrap();
        server.handle(Event::UpdateArrived(update(
            &server,
            0,
            task,
            &[f32::NAN, 1.0],
        )));
    }
    assert_eq!(server.finished(), Some(EndReason::AllUpdatesRefused));
}

#[test]
fn rounds_ask_a_sample_that_follows_from_the_seed() {
    let rounds = |seed: u64| -> Vec<Vec<usize>> {
        let mut config = config(
            Strategy::FedAvg(FedAvg {
                clients_per_round: Some(2),
                ..FedAvg::default()
            }),
            3,
        );
        config.seed = seed;
        let mut server = Aggregator::new(config, vec![0.0, 0.0]);
        let mut tasks = [None; 3];
        let mut rounds = Vec::new();
        for (client, task) in tasks.iter_mut().enumerate() {
            *task = ready(&mut server, client);
        }
        for _ in 0..12 {
            let asked: Vec<usize> = (0..3).filter(|client| tasks[*client].is_some()).collect();
            for client in &asked {
                let task = tasks[*client].take().unwrap();
                let actions = server.handle(Event::UpdateArrived(update(
                    &server, *client, task, &[0.0; 2],
                )));
                for (other, task) in tasks.iter_mut().enumerate() {
                    *task = task.or(sent(&actions, other));
                }
                let actions = server.handle(Event::ClientReady { client: *client });
                tasks[*client] = tasks[*client].or(sent(&actions, *client));
            }
            rounds.push(asked);
        }
        rounds
    };
    let first = rounds(1);
    assert!(first.iter().all(|round| round.len() == 2), "{first:?}");
    assert_eq!(first, rounds(1));
    assert_ne!(first, rounds(2));
}

#[test]
fn turns_go_to_those_that_worked_the_shortest_time() {
    let mut config = config(fedasync(), 3);
    config.concurrency = Some(1);
    let mut server = Aggregator::new(config, vec![0.0, 0.0]);
    let mut at = |seconds: f64, event: Event| server.handle_at(seconds, event);
    let tasks = |actions: &[Action]| -> Vec<(usize, u64)> {
        let sends = actions.iter().filter_map(|action| match action {
            Action::Send { client, task, .. } => Some((*client, *task)),
            _ => None,
        });
        sends.collect()
    };
    let readied: Vec<_> = (0..3)
        .map(|client| tasks(&at(0.0, Event::ClientReady { client })))
        .collect();
    assert_eq!(readied, [vec![(0, 0)], vec![], vec![]]);
    let done = |client: usize, task: u64| {
        Event::UpdateArrived(Update {
            client,
            task,
            base_version: task,
            samples: SAMPLES[client],
            layout: Layout::vector(2).fingerprint(),
            contents: Contents::Parameters(vec![0.0, 0.0]),
        })
    };
    // Client 0 worked 5 seconds, client 1 one; client 2 has not yet.
    assert_eq!(tasks(&at(5.0, done(0, 0))), [(1, 1)]);
    assert!(tasks(&at(5.0, Event::ClientReady { client: 0 })).is_empty());
    assert_eq!(tasks(&at(6.0, done(1, 1))), [(2, 2)]);
    assert!(tasks(&at(6.0, Event::ClientReady { client: 1 })).is_empty());
    // Client 2 is lost after two seconds: they count, and so does the place that it leaves.
    assert_eq!(tasks(&at(8.0, Event::ClientLost { client: 2 })), [(1, 3)]);
    assert!(tasks(&at(8.0, Event::ClientReady { client: 2 })).is_empty());
    // One that loses its turn in the line gets none.
    assert!(tasks(&at(9.0, Event::ClientLost { client: 2 })).is_empty());
    let end = at(12.0, Event::ClientLost { client: 1 });
    assert_eq!(tasks(&end), [(0, 4)]);
}
