//! A run that is killed, whenever, and goes on from what was kept ends as if nothing had happened.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use fedact_federation::aggregator::Config;
use fedact_federation::clock::{DeviceClock, derived_rng};
use fedact_federation::device::DropOut;
use fedact_federation::message::{Codec, Numbers};
use fedact_federation::simulation::{Participant, Setting, Simulation, Uplink};
use fedact_federation::strategy::{Average, Strategy};
use fedact_federation::validation::NormBound;
use kit::{Attack, FOUR_TO_ONE, LOGISTIC, Logistic, every_strategy, participants, rules, start};
use proptest::prelude::*;
use rand::Rng;

/// Unequal devices, two of which lose tasks now and then.
fn fleet(seed: u64) -> Vec<Participant> {
    let mut members = participants(&FOUR_TO_ONE, 0.3, seed);
    for client in [2, 7] {
        let mut profile = members[client].clock.profile().clone();
        profile.drop_out = Some(DropOut {
            probability: 0.3,
            return_seconds: 5.0,
        });
        let rate = members[client].clock.clips_per_second();
        members[client].clock = DeviceClock::new(profile, rate, seed, client as u64);
    }
    members
}

/// Half the numbers in a byte each; what is left out is sent later.
fn small() -> Uplink {
    Uplink {
        codec: Codec {
            numbers: Numbers::Int8,
            keep: Some(0.5),
            zstd: Some(1),
            ..Codec::default()
        },
        feedback: true,
    }
}

fn bits(simulation: &Simulation) -> Vec<u32> {
    let server = simulation.aggregator();
    let numbers = server.parameters().iter().chain(server.model().iter());
    numbers.map(|number| number.to_bits()).collect()
}

/// Compared as text, for a loss that is not a number equals nothing.
fn text(host: &Logistic) -> String {
    serde_json::to_string(&host.records).unwrap()
}

/// A run as it is once its process was killed: what was kept of it goes through its file format.
fn killed(simulation: &Simulation, (config, setting): (Config, Setting)) -> Simulation {
    let mut snapshot = simulation.snapshot();
    let json = serde_json::to_string(&snapshot.state).unwrap();
    snapshot.state = serde_json::from_str(&json).unwrap();
    Simulation::resume(config, setting, snapshot).unwrap()
}

/// Rules under which devices drop out, rounds have a deadline, norms are bounded and messages lossy; with every other seed
/// only three devices work at a time, and with two of three the model is an average.
fn adverse(strategy: &Strategy, seed: u64, client_epochs: u64) -> (Config, Setting) {
    let (mut config, mut setting) = rules(strategy.clone(), fleet(seed), client_epochs, LOGISTIC);
    config.norm_bound = Some(NormBound::default());
    config.concurrency = (seed % 2 == 1).then_some(3);
    config.average = (seed % 3 != 1).then_some(Average { share: 0.3 });
    setting.round_deadline_seconds = Some(20.0);
    setting.uplink = small();
    (config, setting)
}

fn begin(rules: (Config, Setting), host: &mut Logistic) -> Simulation {
    let (config, setting) = rules;
    Simulation::begin(config, setting, vec![0.0; LOGISTIC], start(), host).unwrap()
}

#[test]
fn a_run_killed_after_any_of_its_events_ends_bit_for_bit_the_same() {
    for (seed, (name, strategy)) in every_strategy().into_iter().enumerate() {
        let rules = || adverse(&strategy, seed as u64, 32);
        let problem = || Logistic::new(8, 3).attacked(&[(4, Attack::Everything)]);
        let mut whole = problem();
        let mut expected = begin(rules(), &mut whole);
        let mut events = 1;
        while expected.step(&mut whole).unwrap().is_none() {
            events += 1;
        }
        assert!(events > 30, "{name}: {events}");

        let mut host = problem();
        let mut simulation = begin(rules(), &mut host);
        for event in 0..events {
            // This one goes on alone from here, with what has been recorded so far.
            let mut records = problem();
            records.records.clone_from(&host.records);
            let mut resumed = killed(&simulation, rules());
            while resumed.step(&mut records).unwrap().is_none() {}
            assert_eq!(bits(&resumed), bits(&expected), "{name}, event {event}");
            assert_eq!(text(&records), text(&whole), "{name}, event {event}");
            simulation.step(&mut host).unwrap();
        }
    }
}

#[test]
fn a_run_killed_at_200_points_of_its_course_ends_bit_for_bit_the_same() {
    for (seed, (name, strategy)) in every_strategy().into_iter().enumerate() {
        let rules = || adverse(&strategy, seed as u64, 400);
        let mut whole = Logistic::new(8, 3);
        let expected = kit::run(rules(), &mut whole);

        let mut host = Logistic::new(8, 3);
        let mut simulation = begin(rules(), &mut host);
        let mut random = derived_rng(seed as u64, &[99]);
        let mut kills = 0;
        while simulation.step(&mut host).unwrap().is_none() {
            if random.random::<f64>() < 0.75 {
                simulation = killed(&simulation, rules());
                kills += 1;
            }
        }
        assert!(kills >= 200, "{name}: {kills} kills");
        assert_eq!(bits(&simulation), bits(&expected), "{name}");
        assert_eq!(text(&host), text(&whole), "{name}");
        assert_eq!(simulation.totals(), expected.totals(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_run_resumed_after_any_event_ends_bit_for_bit_the_same_under_every_strategy(
        cut in 0..90_usize,
        seed in 0..1000_u64,
        bounded in any::<bool>(),
        lossy in any::<bool>(),
    ) {
        for (name, strategy) in every_strategy() {
            let rules = || {
                let (mut config, mut setting) = rules(strategy.clone(), fleet(seed), 64, LOGISTIC);
                config.norm_bound = bounded.then(NormBound::default);
                setting.round_deadline_seconds = Some(20.0);
                if lossy {
                    setting.uplink = small();
                }
                (config, setting)
            };
            let problem = || Logistic::new(8, 3).attacked(&[(4, Attack::Everything)]);
            let mut whole = problem();
            let expected = kit::run(rules(), &mut whole);

            let mut host = problem();
            let mut simulation = begin(rules(), &mut host);
            for _ in 0..cut {
                simulation.step(&mut host).unwrap();
            }
            let mut resumed = killed(&simulation, rules());
            while resumed.step(&mut host).unwrap().is_none() {}

            prop_assert_eq!(bits(&resumed), bits(&expected), "{}", name);
            prop_assert_eq!(text(&host), text(&whole), "{}", name);
            prop_assert_eq!(resumed.totals(), expected.totals(), "{}", name);
            prop_assert_eq!(resumed.aggregator().rows(), expected.aggregator().rows(), "{}", name);
        }
    }
}

#[test]
fn a_snapshot_that_lacks_its_average_or_has_one_too_many_is_not_resumed() {
    let rules = |share: Option<f64>| {
        let (mut config, setting) = rules(kit::fedasync(), fleet(1), 64, LOGISTIC);
        config.average = share.map(|share| Average { share });
        (config, setting)
    };
    let mut host = Logistic::new(8, 3);
    let mut simulation = begin(rules(Some(0.5)), &mut host);
    // Before the first version there is nothing to average.
    killed(&simulation, rules(Some(0.5)));
    while simulation.aggregator().version() == 0 {
        simulation.step(&mut host).unwrap();
    }
    let resumed = |share, snapshot| {
        let (config, setting) = rules(share);
        Simulation::resume(config, setting, snapshot).is_some()
    };
    let whole = simulation.snapshot();
    let mut lacking = whole.clone();
    lacking.rows.remove("average");
    assert!(resumed(Some(0.5), whole.clone()));
    assert!(!resumed(Some(0.5), lacking));
    assert!(!resumed(None, whole));
}

#[test]
fn a_snapshot_that_lacks_a_row_is_not_resumed() {
    for (name, strategy) in every_strategy() {
        let rules = || rules(strategy.clone(), fleet(1), 64, LOGISTIC);
        let mut host = Logistic::new(8, 3);
        let mut simulation = begin(rules(), &mut host);
        let gathered = |simulation: &Simulation| {
            let rows = simulation.aggregator().rows();
            rows.into_keys()
                .find(|row| row.starts_with("sum/") || row.starts_with("held/"))
        };
        let mut found = None;
        for _ in 0..60 {
            simulation.step(&mut host).unwrap();
            found = gathered(&simulation);
            if found.is_some() {
                break;
            }
        }
        // FedAsync and ACE gather nothing between two events.
        let Some(row) = found else {
            assert!(["fedasync", "ace"].contains(&name), "{name}");
            continue;
        };
        let whole = simulation.snapshot();
        let mut lacking = whole.clone();
        lacking.rows.remove(&row);
        let (config, setting) = rules();
        assert!(
            Simulation::resume(config, setting, lacking).is_none(),
            "{name}"
        );
        let (config, setting) = rules();
        assert!(
            Simulation::resume(config, setting, whole).is_some(),
            "{name}"
        );
    }
}
