//! Every strategy, event by event, against what was computed by hand; and whole runs of it.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use std::collections::BTreeMap;

use fedact_federation::aggregator::{
    Action, Aggregator, Client, Config, Contents, EndReason, Event, Update,
};
use fedact_federation::central::{CentralRun, CentralSetting};
use fedact_federation::clock::DeviceClock;
use fedact_federation::device::DropOut;
use fedact_federation::history::Record;
use fedact_federation::layout::Layout;
use fedact_federation::simulation::Host;
use fedact_federation::strategy::{
    Average, Calibration, Combination, FedCompass, Moments, Privacy, ServerOptimizer, ServerStep,
    Strategy, UpdateWeights,
};
use fedact_federation::validation::Refusal;
use kit::{
    CLIPS, FOUR_TO_ONE, LOGISTIC, Logistic, by, cached, every_strategy, fedasync, fedavg, fedbuff,
    participants, rules, weighted,
};

/// A server for a model of one number, which is 0, and clients of so many samples each.
fn server(strategy: Strategy, samples: &[u64]) -> Aggregator {
    let config = Config {
        max_refusals_in_a_row: 100,
        ..Config::unbounded(strategy, samples.iter().copied(), Layout::vector(1), 1000)
    };
    Aggregator::new(config, vec![0.0])
}

/// A task as it was sent: number, version, samples.
type Sent = (u64, u64, u64);

fn sent(actions: &[Action], to: usize) -> Option<Sent> {
    actions.iter().find_map(|action| match action {
        Action::Send {
            client,
            task,
            version,
            samples,
        } if *client == to => Some((*task, *version, *samples)),
        _ => None,
    })
}

fn ready(server: &mut Aggregator, client: usize) -> Sent {
    sent(&server.handle(Event::ClientReady { client }), client).unwrap()
}

fn answer(client: usize, (task, base_version, samples): Sent, change: f32) -> Event {
    Event::UpdateArrived(Update {
        client,
        task,
        base_version,
        samples,
        layout: Layout::vector(1).fingerprint(),
        contents: Contents::Change(vec![change]),
    })
}

/// A client works on what it is sent and answers with this change.
fn work(server: &mut Aggregator, client: usize, change: f32) -> Vec<Action> {
    let task = ready(server, client);
    server.handle(answer(client, task, change))
}

fn model(server: &Aggregator) -> f32 {
    server.parameters()[0]
}

fn close(actual: f32, expected: f64) {
    assert!(
        (f64::from(actual) - expected).abs() < 1e-6,
        "{actual} for {expected}"
    );
}

fn weights(actions: &[Action]) -> Vec<f64> {
    let weights = actions.iter().filter_map(|action| match action {
        Action::Mixed { weight, .. } => Some(*weight),
        _ => None,
    });
    weights.collect()
}

#[test]
fn fedbuff_steps_with_every_k_changes_by_their_staleness() {
    let mut server = server(fedbuff(2, ServerStep::default()), &[10, 10, 10]);
    let slow = ready(&mut server, 2);
    assert!(
        work(&mut server, 0, 2.0).is_empty(),
        "the buffer is not full"
    );
    assert_eq!(model(&server), 0.0);
    // (2 + 4) / 2 = 3.
    let actions = work(&mut server, 1, 4.0);
    assert_eq!(weights(&actions), [0.5, 0.5]);
    close(model(&server), 3.0);
    // A fresh 1 and a 2 that is one version old: (1 + 2/√2) / 2.
    work(&mut server, 0, 1.0);
    let actions = server.handle(answer(2, slow, 2.0));
    let late = 2.0_f64.sqrt() / 4.0;
    let weights = weights(&actions);
    assert!(
        (weights[0] - 0.5).abs() < 1e-12 && (weights[1] - late).abs() < 1e-12,
        "{weights:?}"
    );
    close(model(&server), 3.0 + 0.5 + 2.0 * late);
    assert_eq!(server.version(), 2);
}

#[test]
fn a_buffer_that_is_not_full_at_the_end_makes_a_last_and_shorter_step() {
    let mut server = server(fedbuff(4, ServerStep::default()), &[10]);
    work(&mut server, 0, 2.0);
    let reason = EndReason::NoClientsLeft;
    let actions = server.handle(Event::Stop { reason });
    assert_eq!(weights(&actions), [0.25]);
    close(model(&server), 0.5);
    // What has reached its target is left alone.
    let mut server = self::server(fedbuff(4, ServerStep::default()), &[10]);
    work(&mut server, 0, 2.0);
    let reason = EndReason::TargetReached;
    let actions = server.handle(Event::Stop { reason });
    assert_eq!(actions, [Action::Finished { reason }]);
    assert_eq!(model(&server), 0.0);
}

#[test]
fn changes_staler_than_the_limit_are_dropped() {
    let Strategy::FedBuff(mut rules) = fedbuff(1, ServerStep::default()) else {
        panic!("another strategy");
    };
    rules.max_staleness = Some(1);
    let mut server = server(Strategy::FedBuff(rules), &[10, 10]);
    let slow = ready(&mut server, 1);
    work(&mut server, 0, 1.0);
    work(&mut server, 0, 1.0);
    server.handle(answer(1, slow, 1.0));
    assert_eq!(server.refusals()[&Refusal::TooStale], 1);
    assert_eq!(server.version(), 2);
}

#[test]
fn a_round_may_step_by_another_optimizer() {
    let adam = ServerOptimizer::Adam(Moments {
        learning_rate: 0.1,
        beta1: 0.5,
        beta2: 0.75,
        tau: 0.1,
    });
    let mut server = server(fedavg(by(adam)), &[10, 30]);
    let tasks = [ready(&mut server, 0), ready(&mut server, 1)];
    server.handle(answer(0, tasks[0], 4.0));
    server.handle(answer(1, tasks[1], 0.0));
    // Δ = (10·4 + 30·0)/40 = 1, m = 0.5, v = 0.75·0.01 + 0.25 = 0.2575.
    close(model(&server), 0.05 / (0.2575_f64.sqrt() + 0.1));
}

#[test]
fn no_update_counts_for_more_samples_than_the_cap() {
    let config = server(fedavg(ServerStep::default()), &[10, 1000])
        .config()
        .clone();
    let capped = Config {
        max_samples: Some(10),
        ..config
    };
    let mut server = Aggregator::new(capped, vec![0.0]);
    let tasks = [ready(&mut server, 0), ready(&mut server, 1)];
    server.handle(answer(0, tasks[0], 4.0));
    let actions = server.handle(answer(1, tasks[1], 0.0));
    assert_eq!(weights(&actions), [0.5, 0.5]);
    close(model(&server), 2.0);
}

#[test]
fn changes_in_a_buffer_count_by_their_clips_or_by_their_clients_share() {
    // 10 and 30 clips: half and one and a half times the mean of 20.
    let mut server = server(weighted(2, UpdateWeights::Clips), &[10, 30]);
    work(&mut server, 0, 4.0);
    let actions = work(&mut server, 1, 4.0);
    assert_eq!(weights(&actions), [0.25, 0.75]);
    close(model(&server), 4.0);

    // The small client sends three times before the large one does.
    let mut server = self::server(weighted(4, UpdateWeights::Share), &[10, 30]);
    let large = ready(&mut server, 1);
    for _ in 0..3 {
        work(&mut server, 0, 1.0);
    }
    let actions = server.handle(answer(1, large, 1.0));
    // A quarter of 10 clips each, over the mean of 20; three quarters of all 60.
    let (small, big) = (0.25 * 10.0 / 20.0, 0.75 * 60.0 / 20.0);
    assert_eq!(
        weights(&actions),
        [small, small, small, big].map(|one| one / 4.0)
    );
    close(model(&server), (3.0 * small + big) / 4.0);
    // 30 of the 40 since are the large one's.
    work(&mut server, 0, 0.0);
    work(&mut server, 0, 0.0);
    work(&mut server, 0, 0.0);
    let actions = work(&mut server, 1, 0.0);
    assert_eq!(weights(&actions)[0], 0.25 * 40.0 / 20.0 / 4.0);
}

#[test]
fn by_share_clients_come_to_what_they_count_for_in_fedavg_whatever_their_speed() {
    let clips = [5_u64, 10, 20, 45];
    let mut server = server(weighted(6, UpdateWeights::Share), &clips);
    // In every turn client 0 sends eight times, 1 and 2 twice, and 3 once.
    let turn = [0, 0, 1, 0, 2, 0, 0, 0, 1, 2, 0, 0, 3];
    let mut sums = [0.0; 4];
    let mut work_done = 0;
    for _ in 0..6 {
        for client in turn {
            work_done += clips[client];
            for action in work(&mut server, client, 1.0) {
                if let Action::Mixed { client, weight, .. } = action {
                    sums[client] += weight;
                }
            }
        }
    }
    // 13 full buffers of 6: n_i/n of the work in tasks of the mean client, by K, less what came since the last change.
    assert_eq!(server.version(), 13);
    for (client, sum) in sums.into_iter().enumerate() {
        let share = clips[client] as f64 / 80.0;
        let expected = share * work_done as f64 / 20.0 / 6.0;
        let of_a_turn = share * (work_done as f64 / 6.0) / 20.0 / 6.0;
        assert!(
            sum <= expected + 1e-9 && sum > expected - of_a_turn,
            "{client}: {sum} for {expected}"
        );
    }
}

#[test]
fn no_weight_moves_the_model_further_than_its_client_went_and_newcomers_count_from_when_they_came()
{
    let mut server = server(weighted(2, UpdateWeights::Share), &[10, 10]);
    let slow = ready(&mut server, 1);
    for _ in 0..20 {
        work(&mut server, 0, 0.0);
    }
    let added = Event::ClientAdded {
        client: Client {
            samples_per_task: 10,
        },
    };
    server.handle(added);
    // A third of 10 clips by 10, and then 22 tasks by 3, which is more than 2.
    work(&mut server, 2, 3.0);
    let actions = server.handle(answer(1, slow, 3.0));
    let weights = weights(&actions);
    assert!((weights[0] - 1.0 / 6.0).abs() < 1e-12, "{weights:?}");
    assert_eq!(weights[1], 1.0);
    close(model(&server), 3.5);
}

#[test]
fn a_robust_rule_and_a_private_step_count_heads() {
    for step in [
        kit::with(Combination::Median),
        ServerStep {
            privacy: Some(Privacy {
                clip: 10.0,
                noise: 1e-9,
                delta: 1e-5,
            }),
            ..ServerStep::default()
        },
    ] {
        let Strategy::FedBuff(mut rules) = weighted(2, UpdateWeights::Share) else {
            panic!("another strategy");
        };
        rules.step = step;
        let mut server = server(Strategy::FedBuff(rules), &[10, 90]);
        work(&mut server, 0, 2.0);
        let actions = work(&mut server, 1, 4.0);
        assert_eq!(weights(&actions), [0.5, 0.5]);
        close(model(&server), 3.0);
    }
}

#[test]
fn the_model_that_is_kept_is_an_average_and_clients_train_from_the_last_version() {
    let averaged = |strategy, share| {
        let config = server(strategy, &[10, 10]).config().clone();
        let config = Config {
            average: Some(Average { share }),
            ..config
        };
        Aggregator::new(config, vec![0.0])
    };
    // Versions 2, 6 and 7: their mean is 5. What clients are sent is the version.
    let mut server = averaged(fedbuff(1, ServerStep::default()), 1.0);
    assert_eq!(server.model()[0], 0.0);
    for (change, version, mean) in [(2.0, 2.0, 2.0), (4.0, 6.0, 4.0), (1.0, 7.0, 5.0)] {
        work(&mut server, 0, change);
        close(model(&server), version);
        close(server.model()[0], mean);
    }
    // The second counts 1/(1 + 0.5), the third 1/(1 + 0.5·2): 2 + 4·2/3 = 14/3, then halfway to 7.
    let mut server = averaged(fedavg(ServerStep::default()), 0.5);
    for (change, average) in [(2.0, 2.0), (4.0, 14.0 / 3.0), (1.0, 35.0 / 6.0)] {
        let tasks = [ready(&mut server, 0), ready(&mut server, 1)];
        server.handle(answer(0, tasks[0], change));
        server.handle(answer(1, tasks[1], change));
        close(server.model()[0], average);
    }
    // FedAsync: 0.6·5 = 3 and 0.4·3 + 0.6·8 = 6.
    let mut server = averaged(fedasync(), 1.0);
    for (trained, average) in [(5.0, 3.0), (8.0, 4.5)] {
        let (task, base_version, samples) = ready(&mut server, 0);
        server.handle(Event::UpdateArrived(Update {
            client: 0,
            task,
            base_version,
            samples,
            layout: Layout::vector(1).fingerprint(),
            contents: Contents::Parameters(vec![trained]),
        }));
        close(server.model()[0], average);
    }
}

#[test]
fn tests_are_of_the_average() {
    for (name, strategy) in every_strategy() {
        let members = participants(&FOUR_TO_ONE, 0.1, 1);
        let (mut config, setting) = rules(strategy, members, 320, LOGISTIC);
        config.average = Some(Average { share: 0.25 });
        let mut host = Logistic::new(8, 3);
        let simulation = kit::run((config, setting), &mut host);
        let server = simulation.aggregator();
        assert_ne!(server.model(), server.parameters(), "{name}");
        let tested = host.evaluate(server.model()).unwrap();
        assert_eq!(simulation.last_score(), Some(tested), "{name}");
        assert!(tested.top1 > 0.9, "{name}: {}", tested.top1);
    }
}

#[test]
fn ca2fl_corrects_a_buffer_by_what_its_clients_sent_last() {
    let mut server = server(cached(Calibration::Ca2fl, 2, 1.0), &[10; 4]);
    // Nothing is known: h = 0, v = (4 + 8)/2 = 6; then h = 12/4 = 3.
    work(&mut server, 0, 4.0);
    work(&mut server, 1, 8.0);
    close(model(&server), 6.0);
    // v = 3 + ((6 - 4) + (2 - 0))/2 = 5; then h = (6 + 8 + 2)/4 = 4.
    work(&mut server, 0, 6.0);
    work(&mut server, 2, 2.0);
    close(model(&server), 11.0);
    // The same client twice: v = 4 + ((7 - 6) + (9 - 7))/2 = 5.5.
    work(&mut server, 0, 7.0);
    work(&mut server, 0, 9.0);
    close(model(&server), 16.5);
}

#[test]
fn ace_goes_along_the_mean_of_what_all_sent_last() {
    let mut server = server(cached(Calibration::Ace, 1, 0.5), &[10; 3]);
    // 0.5·4; 0.5·(4 + 8)/2; 0.5·(6 + 8)/2; 0.5·(6 + 8 + 1)/3.
    for (client, change, expected) in [(0, 4.0, 2.0), (1, 8.0, 5.0), (0, 6.0, 8.5), (2, 1.0, 11.0)]
    {
        work(&mut server, client, change);
        close(model(&server), expected);
    }
}

#[test]
fn a_private_step_clips_adds_noise_and_says_what_it_told() {
    let private = ServerStep {
        privacy: Some(Privacy {
            clip: 1.0,
            noise: 1e-9,
            delta: 1e-5,
        }),
        ..ServerStep::default()
    };
    let mut server = server(fedavg(private), &[10, 30]);
    let tasks = [ready(&mut server, 0), ready(&mut server, 1)];
    server.handle(answer(0, tasks[0], 4.0));
    // Clipped to 1, and both count alike whatever their samples: (1 + 0.5)/2, with next to no noise.
    server.handle(answer(1, tasks[1], 0.5));
    close(model(&server), 0.75);
    assert_eq!(server.clipped(), 1);
    assert_eq!(server.privacy_spent().unwrap().squared_contributions, 1);

    // Two changes of one client in a buffer tell four times as much of it as one.
    let mut server = self::server(fedbuff(2, private), &[10, 10]);
    work(&mut server, 0, 0.1);
    work(&mut server, 0, 0.1);
    work(&mut server, 0, 0.1);
    work(&mut server, 1, 0.1);
    assert_eq!(server.privacy_spent().unwrap().squared_contributions, 5);
    assert_eq!(self::server(fedasync(), &[10]).privacy_spent(), None);
}

#[test]
fn fedcompass_lets_a_group_arrive_together() {
    let compass = FedCompass {
        min_work: 0.5,
        max_work: 4.0,
        ..FedCompass::default()
    };
    let mut server = server(Strategy::FedCompass(compass), &[10, 10]);
    let at = |server: &mut Aggregator, now: f64, event: Event| server.handle_at(now, event);
    let ready = |client| Event::ClientReady { client };
    // First tasks are ordinary ones, and count at once: 1/2 of each change.
    let fast = sent(&at(&mut server, 0.0, ready(0)), 0).unwrap();
    let slow = sent(&at(&mut server, 0.0, ready(1)), 1).unwrap();
    assert_eq!((fast.2, slow.2), (10, 10));
    at(&mut server, 10.0, answer(0, fast, 2.0));
    close(model(&server), 1.0);
    // 1 s a sample: as much as it may, 40 samples, expected back at 50, at the latest at 10 + 1.2·40.
    let actions = at(&mut server, 10.0, ready(0));
    let fast = sent(&actions, 0).unwrap();
    assert_eq!(fast.2, 40);
    assert!(actions.contains(&Action::GroupOpened {
        group: 0,
        closes_at: 58.0
    }));
    // The slow one, 2 s a sample, is back at 20 with a change of staleness 1, and has 30 s: 15 samples.
    at(&mut server, 20.0, answer(1, slow, 2.0));
    close(model(&server), 1.0 + 1.0 / 2.0_f64.sqrt());
    let slow = sent(&at(&mut server, 20.0, ready(1)), 1).unwrap();
    assert_eq!(slow.2, 15);
    // Both are back at 50; the first waits for the second, and both get work again.
    let before = model(&server);
    assert!(at(&mut server, 50.0, answer(0, fast, 2.0)).is_empty());
    assert_eq!(sent(&at(&mut server, 50.0, ready(0)), 0), None);
    let actions = at(&mut server, 50.0, answer(1, slow, 4.0));
    assert_eq!(weights(&actions).len(), 2);
    // The fast one's base was version 1, the slow one's 2: staleness 1 and 0.
    close(
        model(&server),
        f64::from(before) + 1.0 / 2.0_f64.sqrt() + 2.0,
    );
    assert_eq!(
        sent(&actions, 0),
        None,
        "the slow one has not said that it is ready"
    );
    let actions = at(&mut server, 50.0, ready(1));
    assert_eq!(sent(&actions, 0).unwrap().2, 40);
    assert_eq!(sent(&actions, 1).unwrap().2, 20);
}

#[test]
fn a_group_closes_without_its_late_members_and_takes_them_into_the_next() {
    let mut server = server(Strategy::FedCompass(FedCompass::default()), &[10, 10]);
    let ready = |client| Event::ClientReady { client };
    let mut tasks = [(0, 0, 0); 2];
    for (client, task) in tasks.iter_mut().enumerate() {
        *task = sent(&server.handle_at(0.0, ready(client)), client).unwrap();
    }
    for (client, task) in tasks.iter_mut().enumerate() {
        server.handle_at(10.0, answer(client, *task, 0.0));
        *task = sent(&server.handle_at(10.0, ready(client)), client).unwrap();
    }
    // Both in group 0, expected at 35 and closed at 40. One comes, the other does not.
    server.handle_at(35.0, answer(0, tasks[0], 2.0));
    assert_eq!(sent(&server.handle_at(35.0, ready(0)), 0), None);
    let actions = server.handle_at(40.0, Event::RoundDeadline { round: 0 });
    assert_eq!(weights(&actions).len(), 1);
    let next = sent(&actions, 0).unwrap();
    // The late change waits for the group that is under way.
    let version = server.version();
    assert!(weights(&server.handle_at(45.0, answer(1, tasks[1], 2.0))).is_empty());
    assert_eq!(server.version(), version);
    let actions = server.handle_at(60.0, answer(0, next, 2.0));
    assert_eq!(weights(&actions).len(), 2);
}

#[test]
fn every_strategy_learns_on_unequal_devices() {
    for (name, strategy) in every_strategy() {
        let members = participants(&FOUR_TO_ONE, 0.1, 1);
        let mut host = Logistic::new(8, 3);
        let simulation = kit::run(rules(strategy, members, 320, LOGISTIC), &mut host);
        assert_eq!(
            simulation.aggregator().finished(),
            Some(EndReason::BudgetSpent)
        );
        let top1 = simulation.last_score().unwrap().top1;
        assert!(top1 > 0.9, "{name}: {top1}");
    }
}

#[test]
fn fedcompass_gives_fast_devices_more_work_and_little_staleness() {
    let mut staleness = BTreeMap::new();
    for (name, strategy) in [
        ("fedasync", fedasync()),
        (
            "fedcompass",
            Strategy::FedCompass(FedCompass {
                max_work: 4.0,
                min_work: 1.0,
                ..FedCompass::default()
            }),
        ),
    ] {
        let members = participants(&FOUR_TO_ONE, 0.02, 1);
        let mut host = Logistic::new(8, 3);
        let simulation = kit::run(rules(strategy, members, 320, LOGISTIC), &mut host);
        staleness.insert(name, simulation.totals().mean_staleness());
        if name == "fedcompass" {
            let mut samples = BTreeMap::<String, Vec<u64>>::new();
            for record in &host.records {
                if let Record::Task {
                    client,
                    samples: of_task,
                    ..
                } = record
                {
                    samples.entry(client.clone()).or_default().push(*of_task);
                }
            }
            let mean = |client: &str| {
                let tasks = &samples[client];
                tasks.iter().sum::<u64>() as f64 / tasks.len() as f64
            };
            assert!(mean("g00") > 1.5 * mean("g04"), "{samples:?}");
        }
    }
    assert!(
        staleness["fedcompass"] < staleness["fedasync"] / 2.0,
        "{staleness:?}"
    );
}

#[test]
fn a_run_ends_when_it_is_good_enough_and_says_so() {
    for (name, strategy) in every_strategy() {
        let members = participants(&FOUR_TO_ONE, 0.1, 1);
        let (config, mut setting) = rules(strategy, members, 320, LOGISTIC);
        setting.target_top1 = Some(0.85);
        let mut host = Logistic::new(8, 3);
        let simulation = kit::run((config, setting), &mut host);
        assert_eq!(
            simulation.aggregator().finished(),
            Some(EndReason::TargetReached),
            "{name}"
        );
        assert!(simulation.aggregator().samples() < 320 * CLIPS);
        let Some(Record::End { reason, top1, .. }) = host.records.last() else {
            panic!("{name}: no end");
        };
        assert_eq!(reason, "target-reached");
        assert!(
            *top1 >= 0.85,
            "{name}: the model that is kept is the one that was good enough"
        );
    }
}

#[test]
fn a_run_at_the_centre_ends_when_it_is_good_enough() {
    let members = participants(&[1.0, 1.0], 0.0, 1);
    let centre = participants(&[100.0], 0.0, 1).remove(0);
    let setting = |target| CentralSetting {
        participants: members.clone(),
        clip_bytes: vec![1_000; 2],
        centre: centre.summary.clone(),
        clock: centre.clock.clone(),
        budget_samples: 64 * CLIPS,
        evaluate_every_samples: 8 * CLIPS,
        samples_per_client_epoch: CLIPS as f64,
        batch_size: 4,
        target_top1: Some(target),
    };
    // The centre's clips are a third client's here.
    for (target, versions) in [(0.0, 0), (0.6, 1), (1.1, 8)] {
        let mut host = Logistic::new(3, 3);
        let parameters = vec![0.0; LOGISTIC];
        let mut run =
            CentralRun::begin(setting(target), parameters, kit::start(), &mut host).unwrap();
        let reason = loop {
            if let Some(reason) = run.step(&mut host).unwrap() {
                break reason;
            }
        };
        let expected = if target > 1.0 {
            EndReason::BudgetSpent
        } else {
            EndReason::TargetReached
        };
        assert_eq!(reason, expected);
        assert_eq!(run.version(), versions);
        let ends = host
            .records
            .iter()
            .filter(|record| matches!(record, Record::End { .. }));
        assert_eq!(ends.count(), 1);
    }
}

#[test]
fn devices_that_drop_out_and_return_stall_no_strategy() {
    for (name, strategy) in every_strategy() {
        let mut members = participants(&FOUR_TO_ONE, 0.1, 1);
        for client in [0, 1, 6] {
            let mut profile = members[client].clock.profile().clone();
            profile.drop_out = Some(DropOut {
                probability: 0.5,
                return_seconds: 30.0,
            });
            let rate = members[client].clock.clips_per_second();
            members[client].clock = DeviceClock::new(profile, rate, 1, client as u64);
        }
        let mut host = Logistic::new(8, 3);
        let simulation = kit::run(rules(strategy, members, 160, LOGISTIC), &mut host);
        assert_eq!(
            simulation.aggregator().finished(),
            Some(EndReason::BudgetSpent),
            "{name}"
        );
        assert!(simulation.totals().lost > 0);
    }
}
