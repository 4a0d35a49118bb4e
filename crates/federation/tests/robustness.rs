//! Clients that send rubbish, by mistake or on purpose, and what keeps a run whole.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use fedact_federation::aggregator::{Config, EndReason};
use fedact_federation::history::Record;
use fedact_federation::simulation::{Setting, Simulation};
use fedact_federation::strategy::{Calibration, Combination, FedCompass, ServerStep, Strategy};
use fedact_federation::validation::{BeyondBound, NormBound};
use kit::{
    Attack, LOGISTIC, Logistic, cached, fedasync, fedavg, fedbuff, participants, rules, with,
};

/// Ten clients, half of them four times as fast; the two that will be bad are one of each.
const RATES: [f64; 10] = [4.0, 1.0, 4.0, 1.0, 4.0, 1.0, 4.0, 1.0, 4.0, 1.0];
const BAD: [usize; 2] = [2, 7];

/// What a run with 20% bad clients may lose against the same strategy without bad ones and without defence.
const TOLERATED: f64 = 0.03;

fn setting(strategy: Strategy, norm_bound: Option<NormBound>) -> (Config, Setting) {
    let (mut config, setting) = rules(strategy, participants(&RATES, 0.1, 1), 240, LOGISTIC);
    config.norm_bound = norm_bound;
    (config, setting)
}

fn accuracy(simulation: &Simulation) -> f64 {
    simulation.last_score().unwrap().top1
}

fn clean(strategy: Strategy) -> f64 {
    accuracy(&kit::run(
        setting(strategy, None),
        &mut Logistic::new(10, 3),
    ))
}

fn attacked(strategy: Strategy, bound: Option<NormBound>, attack: Attack) -> Simulation {
    let attacks = BAD.map(|client| (client, attack));
    let mut host = Logistic::new(10, 3).attacked(&attacks);
    kit::run(setting(strategy, bound), &mut host)
}

/// A bound that clips, and one that refuses.
fn bounds() -> [NormBound; 2] {
    [BeyondBound::Clip, BeyondBound::Refuse].map(|beyond| NormBound {
        beyond,
        ..NormBound::default()
    })
}

#[test]
fn a_fifth_of_bad_clients_costs_no_strategy_more_than_three_points() {
    let robust = |combination| [fedbuff(10, with(combination)), fedavg(with(combination))];
    let mut cases: Vec<(Strategy, Option<NormBound>)> = Vec::new();
    for combination in [
        Combination::TrimmedMean { share: 0.3 },
        Combination::Median,
        Combination::Krum { bad: 3, keep: 5 },
    ] {
        // A rule over a buffer withstands them without a bound on norms.
        cases.extend(robust(combination).map(|strategy| (strategy, None)));
    }
    for bound in bounds() {
        for strategy in [
            fedasync(),
            fedavg(ServerStep::default()),
            fedbuff(4, ServerStep::default()),
            cached(Calibration::Ca2fl, 4, 1.0),
            cached(Calibration::Ace, 1, 0.2),
            Strategy::FedCompass(FedCompass::default()),
        ] {
            cases.push((strategy, Some(bound)));
        }
    }
    for (strategy, bound) in cases {
        let expected = clean(strategy.clone());
        assert!(expected > 0.9, "{strategy:?} learned nothing: {expected}");
        let simulation = attacked(strategy.clone(), bound, Attack::Everything);
        let end = simulation.aggregator().finished();
        assert_eq!(end, Some(EndReason::BudgetSpent), "{strategy:?}");
        let reached = accuracy(&simulation);
        assert!(
            reached >= expected - TOLERATED,
            "{strategy:?}, {bound:?}: {reached} of {expected}"
        );
        let refusals = simulation.aggregator().refusals();
        let codes: Vec<&str> = refusals.keys().map(|reason| reason.code()).collect();
        for code in ["wrong-layout", "not-finite"] {
            assert!(codes.contains(&code), "{strategy:?}: {codes:?}");
        }
    }
}

#[test]
fn without_a_defence_the_same_clients_ruin_the_mean() {
    for strategy in [
        fedasync(),
        fedavg(ServerStep::default()),
        fedbuff(4, ServerStep::default()),
    ] {
        let reached = accuracy(&attacked(strategy.clone(), None, Attack::Everything));
        assert!(reached < 0.8, "{strategy:?}: {reached}");
    }
}

#[test]
fn changes_turned_round_are_outvoted_by_a_rule_over_the_buffer() {
    let expected = clean(fedbuff(10, ServerStep::default()));
    for combination in [
        Combination::TrimmedMean { share: 0.3 },
        Combination::Median,
        Combination::Krum { bad: 3, keep: 5 },
    ] {
        let simulation = attacked(fedbuff(10, with(combination)), None, Attack::Flip);
        let reached = accuracy(&simulation);
        assert!(
            reached >= expected - TOLERATED,
            "{combination:?}: {reached}"
        );
    }
}

#[test]
fn krum_refuses_what_it_leaves_out_with_a_reason() {
    let krum = with(Combination::Krum { bad: 3, keep: 5 });
    let attacks = BAD.map(|client| (client, Attack::Flip));
    let mut host = Logistic::new(10, 3).attacked(&attacks);
    kit::run(setting(fedbuff(10, krum), None), &mut host);
    let mut by_client = std::collections::BTreeMap::<bool, (u64, u64)>::new();
    for record in &host.records {
        if let Record::Update {
            client, refused, ..
        } = record
        {
            let bad = client == "g02" || client == "g07";
            let counts = by_client.entry(bad).or_default();
            counts.0 += 1;
            if let Some(reason) = refused {
                assert_eq!(reason, "outlier");
                counts.1 += 1;
            }
        }
    }
    let share = |bad: bool| by_client[&bad].1 as f64 / by_client[&bad].0 as f64;
    assert!(share(true) > 0.9, "{by_client:?}");
    assert!(share(false) < 0.5, "{by_client:?}");
}

#[test]
fn a_bound_on_norms_shows_what_it_did() {
    let [clip, refuse] = bounds();
    let clipped = attacked(fedasync(), Some(clip), Attack::Everything);
    assert!(clipped.aggregator().clipped() > 0);
    let refused = attacked(fedasync(), Some(refuse), Attack::Everything);
    assert_eq!(refused.aggregator().clipped(), 0);
    let codes: Vec<&str> = refused
        .aggregator()
        .refusals()
        .keys()
        .map(|reason| reason.code())
        .collect();
    assert!(codes.contains(&"unusual-norm"), "{codes:?}");
    assert!(codes.contains(&"norm-not-known-yet"), "{codes:?}");
}
