//! The strategies beside each other, at equal work, over several seeds: logistic regression whose clients hold more
//! of one class than of the other.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use std::collections::BTreeMap;

use fedact_federation::central::{CentralRun, CentralSetting};
use fedact_federation::strategy::Strategy;
use kit::{CLIPS, FOUR_TO_ONE, LOGISTIC, Logistic, every_strategy, participants, rules, start};

const SEEDS: std::ops::Range<u64> = 0..6;
const CLIENT_EPOCHS: u64 = 192;

/// Means over the seeds.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    top1: f64,
    loss: f64,
    seconds: f64,
}

fn mean(runs: impl Iterator<Item = Mean>) -> Mean {
    let runs: Vec<Mean> = runs.collect();
    let of = |what: fn(&Mean) -> f64| runs.iter().map(what).sum::<f64>() / runs.len() as f64;
    Mean {
        top1: of(|run| run.top1),
        loss: of(|run| run.loss),
        seconds: of(|run| run.seconds),
    }
}

fn with_clients(strategy: &Strategy, rates: &[f64]) -> Mean {
    mean(SEEDS.map(|seed| {
        let members = participants(rates, 0.1, seed);
        let rules = rules(strategy.clone(), members, CLIENT_EPOCHS, LOGISTIC);
        let simulation = kit::run(rules, &mut Logistic::new(8, seed));
        let score = simulation.last_score().unwrap();
        Mean {
            top1: score.top1,
            loss: score.loss,
            seconds: simulation.now(),
        }
    }))
}

fn at_the_centre() -> Mean {
    mean(SEEDS.map(|seed| {
        let members = participants(&FOUR_TO_ONE, 0.1, seed);
        let centre = participants(&[100.0], 0.0, seed).remove(0);
        let setting = CentralSetting {
            clip_bytes: vec![1_000; members.len()],
            participants: members,
            centre: centre.summary,
            clock: centre.clock,
            budget_samples: CLIENT_EPOCHS * CLIPS,
            evaluate_every_samples: 8 * CLIPS,
            samples_per_client_epoch: CLIPS as f64,
            batch_size: 1,
            target_top1: None,
        };
        let mut host = Logistic::new(8, seed);
        let mut run = CentralRun::begin(setting, vec![0.0; LOGISTIC], start(), &mut host).unwrap();
        while run.step(&mut host).unwrap().is_none() {}
        Mean {
            top1: run.score().top1,
            loss: run.score().loss,
            seconds: run.now(),
        }
    }))
}

fn all(rates: &[f64]) -> BTreeMap<&'static str, Mean> {
    every_strategy()
        .into_iter()
        .map(|(name, strategy)| (name, with_clients(&strategy, rates)))
        .collect()
}

#[test]
fn at_equal_work_no_strategy_ends_a_point_below_the_centre_and_none_waits_but_fedavg() {
    let centre = at_the_centre();
    assert!(centre.top1 > 0.9, "{centre:?}");
    let means = all(&FOUR_TO_ONE);
    let synchronous = means["fedavg"].seconds;
    for (name, mean) in &means {
        assert!(
            mean.top1 > centre.top1 - 0.01,
            "{name}: {mean:?} of {centre:?}"
        );
        if !name.starts_with("fedavg") {
            // Without links 192 tasks are done at 4 x 4 + 4 x 1 = 20 clips a second in place of 24 rounds of the
            // slow ones' 12 seconds: 40%.
            assert!(
                mean.seconds < 0.5 * synchronous,
                "{name}: {mean:?} of {synchronous}"
            );
        }
    }
}

#[test]
fn remembering_every_client_or_counting_it_by_its_share_takes_away_the_bias_towards_fast_ones() {
    // Those who hold more of one class are sixteen times as fast as those who hold more of the other.
    let means = all(&[16.0, 1.0, 16.0, 1.0, 16.0, 1.0, 16.0, 1.0]);
    let unbiased = means["fedavg"].top1;
    let without_bias = ["ca2fl", "ace", "fedbuff, by share"];
    for name in without_bias {
        assert!(means[name].top1 > unbiased - 0.005, "{name}: {means:?}");
    }
    for name in ["fedasync", "fedbuff"] {
        assert!(means[name].top1 < unbiased - 0.008, "{name}: {means:?}");
        for other in without_bias {
            assert!(
                means[other].loss < 0.9 * means[name].loss,
                "{name}, {other}: {means:?}"
            );
        }
    }
}
