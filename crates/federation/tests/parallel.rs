//! Tasks trained side by side leave what tasks trained one after the other leave.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod kit;

use fedact_federation::aggregator::Config;
use fedact_federation::clock::DeviceClock;
use fedact_federation::device::DropOut;
use fedact_federation::message::{Codec, Numbers};
use fedact_federation::simulation::{Setting, Simulation, Uplink};
use fedact_federation::strategy::{FedAvg, Strategy};
use fedact_federation::validation::NormBound;
use kit::{
    Attack, CLIPS, FOUR_TO_ONE, LOGISTIC, Logistic, every_strategy, participants, rules, start,
};
use proptest::prelude::*;

/// Unequal devices of which one loses every third task.
fn fleet_rules(strategy: &Strategy, seed: u64, lossy: bool) -> (Config, Setting) {
    let mut members = participants(&FOUR_TO_ONE, 0.3, seed);
    let mut profile = members[2].clock.profile().clone();
    profile.drop_out = Some(DropOut {
        probability: 0.3,
        return_seconds: 5.0,
    });
    let rate = members[2].clock.clips_per_second();
    members[2].clock = DeviceClock::new(profile, rate, seed, 2);
    let (mut config, mut setting) = rules(strategy.clone(), members, 64, LOGISTIC);
    setting.round_deadline_seconds = Some(20.0);
    if lossy {
        config.norm_bound = Some(NormBound::default());
        setting.uplink = Uplink {
            codec: Codec {
                numbers: Numbers::Int8,
                keep: Some(0.5),
                ..Codec::default()
            },
            feedback: true,
        };
    }
    (config, setting)
}

fn every_way() -> Vec<(&'static str, Strategy)> {
    let over_selected = Strategy::FedAvg(FedAvg {
        clients_per_round: Some(5),
        over_selection: 0.4,
        ..FedAvg::default()
    });
    let mut all = every_strategy();
    all.push(("fedavg, over-selected", over_selected));
    all
}

fn bits(simulation: &Simulation) -> Vec<u32> {
    let numbers = simulation.aggregator().parameters().iter();
    numbers.map(|number| number.to_bits()).collect()
}

/// Compared as text, for a loss that is not a number equals nothing.
fn text(host: &Logistic) -> String {
    serde_json::to_string(&host.records).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_number_of_workers_gives_the_same_model_and_history_under_every_strategy(
        seed in 0..1000_u64,
        workers in 2..12_usize,
        lossy in any::<bool>(),
    ) {
        for (name, strategy) in every_way() {
            let problem = |workers| {
                Logistic::new(8, 3).attacked(&[(4, Attack::Everything)]).with_workers(workers)
            };
            let (mut one, mut many) = (problem(1), problem(workers));
            let expected = kit::run(fleet_rules(&strategy, seed, lossy), &mut one);
            let found = kit::run(fleet_rules(&strategy, seed, lossy), &mut many);
            prop_assert_eq!(bits(&found), bits(&expected), "{}", name);
            prop_assert_eq!(text(&many), text(&one), "{}", name);
            prop_assert_eq!(found.totals(), expected.totals(), "{}", name);
        }
    }

    #[test]
    fn a_run_goes_on_with_another_number_of_workers(
        seed in 0..1000_u64,
        cut in 0..80_usize,
        before in 1..6_usize,
        after in 1..6_usize,
    ) {
        for (name, strategy) in every_way() {
            let mut whole = Logistic::new(8, 3);
            let expected = kit::run(fleet_rules(&strategy, seed, true), &mut whole);
            let mut host = Logistic::new(8, 3).with_workers(before);
            let (config, setting) = fleet_rules(&strategy, seed, true);
            let mut simulation =
                Simulation::begin(config, setting, vec![0.0; LOGISTIC], start(), &mut host).unwrap();
            for _ in 0..cut {
                simulation.step(&mut host).unwrap();
            }
            let (config, setting) = fleet_rules(&strategy, seed, true);
            let mut simulation =
                Simulation::resume(config, setting, simulation.snapshot()).unwrap();
            let mut host = host.with_workers(after);
            while simulation.step(&mut host).unwrap().is_none() {}
            prop_assert_eq!(bits(&simulation), bits(&expected), "{}", name);
            prop_assert_eq!(text(&host), text(&whole), "{}", name);
        }
    }
}

#[test]
fn tasks_that_overlap_are_trained_together_and_hardly_any_in_vain() {
    for (name, strategy) in every_way() {
        let trained = |workers| {
            let mut host = Logistic::new(8, 3).with_workers(workers);
            let members = participants(&FOUR_TO_ONE, 0.3, 1);
            let run = kit::run(rules(strategy.clone(), members, 64, LOGISTIC), &mut host);
            assert!(run.aggregator().samples() >= 64 * CLIPS, "{name}");
            (host.trained, host.largest_batch)
        };
        let (alone, one) = trained(1);
        let (together, three) = trained(3);
        assert_eq!(one, 1, "{name}");
        assert_eq!(three, 3, "{name}");
        // A client has one task at a time, so no more than one result of each may be left over.
        let range = alone..alone + FOUR_TO_ONE.len();
        assert!(range.contains(&together), "{name}: {together} for {alone}");
    }
}
