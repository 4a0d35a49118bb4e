//! How updates travel in a run: what is counted are the bytes of their messages, and what arrives is what was in them.

mod kit;

use fedact_federation::aggregator::EndReason;
use fedact_federation::history::Record;
use fedact_federation::message::{Codec, Numbers};
use fedact_federation::simulation::{Simulation, Uplink};
use kit::{FOUR_TO_ONE, LOGISTIC, Logistic, fedasync, fedbuff, participants, rules};

fn run(uplink: &Uplink, buffered: bool) -> (Simulation, Vec<Record>) {
    let strategy = if buffered {
        fedbuff(4, Default::default())
    } else {
        fedasync()
    };
    let (config, mut setting) = rules(strategy, participants(&FOUR_TO_ONE, 0.2, 1), 64, LOGISTIC);
    setting.uplink = uplink.clone();
    let mut host = Logistic::new(8, 3);
    let simulation = kit::run((config, setting), &mut host);
    (simulation, host.records)
}

/// Bytes that tasks took to upload, and that the server's decisions were about.
fn told(records: &[Record]) -> (u64, u64) {
    let mut sums = (0, 0);
    for record in records {
        match record {
            Record::Task { bytes_up, .. } => sums.0 += bytes_up,
            Record::Update { bytes_up, .. } => sums.1 += bytes_up,
            _ => {}
        }
    }
    sums
}

#[test]
fn a_plain_message_is_four_bytes_a_number_and_its_header() {
    let (simulation, records) = run(&Uplink::default(), false);
    let tasks = simulation.totals().updates;
    assert_eq!(
        simulation.totals().bytes_up,
        tasks * (4 * LOGISTIC as u64 + 64)
    );
    assert_eq!(
        told(&records),
        (simulation.totals().bytes_up, simulation.totals().bytes_up)
    );
}

#[test]
fn an_exact_codec_with_zstd_changes_the_bytes_and_nothing_else_that_is_learned() {
    let packed = Uplink {
        codec: Codec {
            zstd: Some(3),
            ..Codec::default()
        },
        feedback: false,
    };
    let (plain, _) = run(&Uplink::default(), true);
    let (small, records) = run(&packed, true);
    // A strategy that takes changes gets the very same numbers.
    assert_eq!(
        small.aggregator().parameters(),
        plain.aggregator().parameters()
    );
    assert!(small.totals().bytes_up <= plain.totals().bytes_up);
    let (tasks, updates) = told(&records);
    assert_eq!(tasks, small.totals().bytes_up);
    assert!(updates <= tasks, "a buffer may be half full in the end");
}

#[test]
fn a_lossy_codec_sends_less_in_less_time_and_learns_as_much() {
    let lossy = Uplink {
        codec: Codec {
            numbers: Numbers::Int8,
            keep: Some(0.5),
            ..Codec::default()
        },
        feedback: true,
    };
    let (plain, _) = run(&Uplink::default(), false);
    let (small, _) = run(&lossy, false);
    assert!(small.totals().bytes_up < plain.totals().bytes_up);
    assert!(small.now() < plain.now());
    assert_ne!(
        small.aggregator().parameters(),
        plain.aggregator().parameters()
    );
    let score = |simulation: &Simulation| simulation.last_score().map(|score| score.top1);
    assert!(
        score(&small) > score(&plain).map(|top1| top1 - 0.03),
        "{:?}",
        score(&small)
    );
}

#[test]
fn devices_that_lose_every_task_end_the_run_and_it_says_so() {
    let mut members = participants(&FOUR_TO_ONE, 0.2, 1);
    for member in &mut members {
        member.clock = member.clock.clone().with_deadline(Some(0.01));
    }
    let (config, mut setting) = rules(fedasync(), members, 64, LOGISTIC);
    setting.max_losses_in_a_row = 40;
    let simulation = kit::run((config, setting), &mut Logistic::new(8, 3));
    assert_eq!(
        simulation.aggregator().finished(),
        Some(EndReason::AllTasksLost)
    );
    assert_eq!(
        (simulation.totals().lost, simulation.totals().updates),
        (40, 0)
    );
    assert!(
        simulation.totals().energy.joules() > 0.0,
        "a lost task has cost what it took"
    );
}
