//! Whole runs on the virtual clock, with a trainer that is a formula.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use std::collections::BTreeMap;
use std::convert::Infallible;

use fedact_federation::aggregator::{Config, EndReason};
use fedact_federation::central::{CentralRun, CentralSetting};
use fedact_federation::clock::DeviceClock;
use fedact_federation::device::DropOut;
use fedact_federation::history::Record;
use fedact_federation::simulation::{Assignment, Host, Participant, Score, Setting, Simulation};
use fedact_federation::strategy::{ServerStep, Strategy};
use kit::{CLIPS, FOUR_TO_ONE, fedasync, participants, run, start};
use proptest::prelude::*;

/// Moves each parameter half-way to a target of the client's own; some clients may send rubbish.
#[derive(Default)]
struct Formula {
    records: Vec<Record>,
    rubbish_from: Vec<usize>,
}

impl Host for Formula {
    type Error = Infallible;

    fn train(&mut self, task: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        if self.rubbish_from.contains(&task.client) {
            return Ok(match task.nth % 3 {
                0 => vec![f32::NAN; base.len()],
                1 => vec![1e30; base.len()],
                _ => vec![0.0; base.len() + 1],
            });
        }
        let target = 1.0 + task.client as f32 * 0.01;
        Ok(base
            .iter()
            .map(|number| (number + target) / 2.0 + task.nth as f32 * 1e-5)
            .collect())
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Score, Infallible> {
        let loss = f64::from((parameters[0] - 1.0).abs());
        Ok(Score {
            top1: 1.0 - loss,
            loss,
        })
    }

    fn record(&mut self, record: Record) -> Result<(), Infallible> {
        self.records.push(record);
        Ok(())
    }
}

fn fedavg() -> Strategy {
    kit::fedavg(ServerStep::default())
}

/// Rules for a model of four numbers, with a fixed bound on norms.
fn rules(
    strategy: Strategy,
    participants: Vec<Participant>,
    client_epochs: u64,
) -> (Config, Setting) {
    let (config, setting) = kit::rules(strategy, participants, client_epochs, 4);
    let config = Config {
        max_update_distance: Some(100.0),
        ..config
    };
    (config, setting)
}

fn begin(config: Config, setting: Setting, host: &mut Formula) -> Simulation {
    Simulation::begin(config, setting, vec![0.0; 4], start(), host).unwrap()
}

#[test]
fn all_three_strategies_do_equal_work() {
    let rates = &FOUR_TO_ONE;
    let mut host = Formula::default();
    let asynchronous = run(
        rules(fedasync(), participants(rates, 0.1, 1), 64),
        &mut host,
    );
    let synchronous = run(rules(fedavg(), participants(rates, 0.1, 1), 64), &mut host);
    let mut central = CentralRun::begin(
        CentralSetting {
            participants: participants(rates, 0.1, 1),
            clip_bytes: vec![1_000_000; 8],
            centre: participants(&[100.0], 0.0, 1)[0].summary.clone(),
            clock: participants(&[100.0], 0.0, 1)[0].clock.clone(),
            budget_samples: 64 * CLIPS,
            evaluate_every_samples: 8 * CLIPS,
            samples_per_client_epoch: CLIPS as f64,
            batch_size: 4,
            target_top1: None,
        },
        vec![0.0; 4],
        start(),
        &mut host,
    )
    .unwrap();
    while central.step(&mut host).unwrap().is_none() {}
    assert_eq!(asynchronous.aggregator().samples(), 64 * CLIPS);
    assert_eq!(synchronous.aggregator().samples(), 64 * CLIPS);
    assert_eq!(central.samples(), 64 * CLIPS);
    assert_eq!(central.client_epochs(), 64.0);
    assert_eq!(asynchronous.client_epochs(), 64.0);
}

#[test]
fn with_fewer_at_a_time_all_work_the_same_share_of_the_time() {
    let mut host = Formula::default();
    let (config, setting) = rules(fedasync(), participants(&FOUR_TO_ONE, 0.2, 3), 256);
    let half = Config {
        concurrency: Some(4),
        ..config
    };
    run((half, setting), &mut host);
    let mut changes = Vec::new();
    let mut worked = BTreeMap::<String, (f64, u64)>::new();
    for record in &host.records {
        if let Record::Task {
            client,
            start,
            upload_end,
            ..
        } = record
        {
            changes.extend([(*start, 1), (*upload_end, -1)]);
            let (seconds, tasks) = worked.entry(client.clone()).or_default();
            *seconds += upload_end - start;
            *tasks += 1;
        }
    }
    // At the same time, one's end comes before the next one's start.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let at_a_time = changes.iter().scan(0, |working, (_, change)| {
        *working += change;
        Some(*working)
    });
    assert_eq!(at_a_time.max(), Some(4));
    let seconds: Vec<f64> = worked.values().map(|(seconds, _)| *seconds).collect();
    let (least, most) = seconds
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), one| {
            (least.min(*one), most.max(*one))
        });
    let longest = CLIPS as f64 * 1.5;
    assert!(most - least < longest, "{seconds:?}");
    let tasks: Vec<u64> = worked.values().map(|(_, tasks)| *tasks).collect();
    assert!(
        tasks.iter().max() > tasks.iter().min().map(|least| 2 * least).as_ref(),
        "{tasks:?}"
    );
}

#[test]
fn a_synchronous_round_takes_as_long_as_its_slowest_member() {
    let mut host = Formula::default();
    let members = participants(&FOUR_TO_ONE, 0.2, 3);
    let simulation = run(rules(fedavg(), members, 24), &mut host);
    let mut ends = BTreeMap::<u64, f64>::new();
    for record in &host.records {
        if let Record::Task {
            base_version,
            start,
            upload_end,
            ..
        } = record
        {
            let begun = if *base_version == 0 {
                0.0
            } else {
                ends[&(base_version - 1)]
            };
            assert_eq!(
                *start, begun,
                "a round starts when the one before has closed"
            );
            let end = ends.entry(*base_version).or_default();
            *end = end.max(*upload_end);
        }
    }
    assert_eq!(ends.len(), 3);
    assert_eq!(simulation.now(), ends[&2]);
    for record in &host.records {
        if let Record::Update {
            time,
            version,
            staleness,
            ..
        } = record
        {
            assert_eq!(*time, ends[&(version - 1)]);
            assert_eq!(*staleness, 0);
        }
    }
}

#[test]
fn asynchronous_work_takes_less_time_than_synchronous_on_unequal_devices() {
    let mut host = Formula::default();
    let time = |strategy, rates: &[f64], host: &mut Formula| {
        run(rules(strategy, participants(rates, 0.1, 1), 160), host).now()
    };
    let asynchronous = time(fedasync(), &FOUR_TO_ONE, &mut host);
    let synchronous = time(fedavg(), &FOUR_TO_ONE, &mut host);
    // Without links and jitter: 160 tasks at 4 x 4 + 4 x 1 = 20 clips a second against 20 rounds of the
    // slow ones' 12 seconds: 96 to 240, a saving of 60%.
    let saving = 1.0 - asynchronous / synchronous;
    assert!((0.5..0.75).contains(&saving), "saving {saving}");
    // On equal devices without jitter there is nothing to save.
    let equal = [2.0; 8];
    let time = |strategy, host: &mut Formula| {
        run(rules(strategy, participants(&equal, 0.0, 1), 160), host).now()
    };
    let saving = 1.0 - time(fedasync(), &mut host) / time(fedavg(), &mut host);
    assert!(saving.abs() < 1e-9, "saving {saving}");
}

#[test]
fn a_run_survives_clients_that_send_rubbish() {
    let mut clean = Formula::default();
    run(
        rules(fedasync(), participants(&FOUR_TO_ONE, 0.1, 1), 160),
        &mut clean,
    );
    for strategy in [fedasync(), fedavg()] {
        let mut host = Formula {
            rubbish_from: vec![1, 5],
            ..Formula::default()
        };
        let members = participants(&FOUR_TO_ONE, 0.1, 1);
        let simulation = run(rules(strategy, members, 160), &mut host);
        assert_eq!(
            simulation.aggregator().finished(),
            Some(EndReason::BudgetSpent)
        );
        assert!(
            simulation.totals().refused > 20,
            "{:?}",
            simulation.totals()
        );
        let codes: Vec<&str> = simulation
            .aggregator()
            .refusals()
            .keys()
            .map(|reason| reason.code())
            .collect();
        assert_eq!(codes, ["wrong-layout", "not-finite", "too-far"]);
        assert!(simulation.last_score().unwrap().top1 > 0.95);
        for record in &host.records {
            if let Record::Update {
                refused,
                weight,
                client,
                ..
            } = record
            {
                assert_eq!(refused.is_some(), client == "g01" || client == "g05");
                assert_eq!(refused.is_some(), *weight == 0.0);
            }
        }
    }
}

#[test]
fn devices_that_drop_out_and_return_do_not_stall_a_run() {
    for strategy in [fedasync(), fedavg()] {
        let mut members = participants(&FOUR_TO_ONE, 0.1, 1);
        for (client, member) in members.iter_mut().enumerate().take(3) {
            let mut profile = member.clock.profile().clone();
            profile.drop_out = Some(DropOut {
                probability: 0.5,
                return_seconds: 30.0,
            });
            let rate = member.clock.clips_per_second();
            member.clock = DeviceClock::new(profile, rate, 1, client as u64);
        }
        let mut host = Formula::default();
        let simulation = run(rules(strategy, members, 80), &mut host);
        assert_eq!(
            simulation.aggregator().finished(),
            Some(EndReason::BudgetSpent)
        );
        assert!(simulation.totals().lost > 0);
    }
}

#[test]
fn a_round_deadline_bounds_the_round() {
    let mut members = participants(&[4.0, 4.0, 4.0, 0.1], 0.1, 1);
    members.truncate(4);
    let (config, mut setting) = rules(fedavg(), members, 40);
    setting.round_deadline_seconds = Some(10.0);
    let mut host = Formula::default();
    let simulation = run((config, setting), &mut host);
    // The slow client needs 120 s a task; rounds close after 10 s without it.
    let rounds = simulation.aggregator().version();
    assert!(simulation.now() <= rounds as f64 * 10.0 + 1e-9);
    assert!(rounds >= 12, "{rounds}");
}

#[test]
fn the_first_record_is_the_start_then_the_model_before_learning_and_the_last_is_the_end() {
    let mut host = Formula::default();
    run(
        rules(fedasync(), participants(&[1.0, 2.0], 0.1, 1), 16),
        &mut host,
    );
    assert!(matches!(host.records[0], Record::Start { .. }));
    assert!(matches!(
        host.records[1],
        Record::Evaluation {
            time: 0.0,
            version: 0,
            samples: 0,
            ..
        }
    ));
    let Some(Record::End {
        client_epochs,
        bytes_up,
        samples,
        ..
    }) = host.records.last()
    else {
        panic!("{:?}", host.records.last());
    };
    assert_eq!(*client_epochs, 16.0);
    assert_eq!(*samples, 16 * CLIPS);
    assert_eq!(*bytes_up, 16 * (4 * 4 + 64));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn time_never_goes_back_and_staleness_is_the_versions_made_in_between(
        rates in prop::collection::vec(0.2..8.0_f64, 1..9),
        seed in 0..1000_u64,
        jitter in 0.0..0.5_f64,
    ) {
        let mut host = Formula::default();
        run(rules(fedasync(), participants(&rates, jitter, seed), 60), &mut host);
        let mut now = 0.0;
        let mut version = 0;
        let mut made_at = vec![0.0];
        let mut sent_at = BTreeMap::new();
        for record in &host.records {
            match record {
                Record::Task { client, start, download_end, training_end, upload_end, .. } => {
                    prop_assert!(start < download_end);
                    prop_assert!(download_end < training_end);
                    prop_assert!(training_end < upload_end);
                    prop_assert!(*upload_end >= now);
                    sent_at.insert(client.clone(), *start);
                }
                Record::Update { time, client, base_version, version: new, staleness, .. } => {
                    prop_assert!(*time >= now);
                    now = *time;
                    version += 1;
                    prop_assert_eq!(*new, version);
                    prop_assert_eq!(*staleness, version - 1 - base_version);
                    // The base is the newest version that existed when the task was sent.
                    let sent = sent_at[client];
                    prop_assert!(made_at[*base_version as usize] <= sent);
                    if let Some(next) = made_at.get(*base_version as usize + 1) {
                        prop_assert!(*next >= sent);
                    }
                    made_at.push(now);
                }
                Record::Evaluation { time, .. } | Record::End { time, .. } => {
                    prop_assert!(*time >= now);
                }
                Record::Start { .. } => {}
            }
        }
    }
}

#[test]
fn a_run_follows_from_its_seed() {
    let records = |seed| {
        let mut host = Formula::default();
        run(
            rules(fedasync(), participants(&FOUR_TO_ONE, 0.2, seed), 40),
            &mut host,
        );
        host.records
    };
    assert_eq!(records(1), records(1));
    assert_ne!(records(1), records(2));
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_resumed() {
    let mut host = Formula::default();
    let (config, setting) = rules(fedasync(), participants(&FOUR_TO_ONE, 0.2, 1), 40);
    let mut simulation = begin(config.clone(), setting.clone(), &mut host);
    for _ in 0..20 {
        simulation.step(&mut host).unwrap();
    }
    let snapshot = simulation.snapshot();
    let mut short = snapshot.clone();
    let oldest = *short.versions.keys().next().unwrap();
    short.versions.remove(&oldest);
    assert!(Simulation::resume(config.clone(), setting.clone(), short).is_none());
    let mut other = snapshot.clone();
    other.state.clone_from(&snapshot.state);
    let (fewer, fewer_setting) = rules(fedasync(), participants(&[1.0], 0.2, 1), 40);
    assert!(Simulation::resume(fewer, fewer_setting, other).is_none());
    assert!(Simulation::resume(config, setting, snapshot).is_some());
}
