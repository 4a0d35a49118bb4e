//! What the server may be told beside the three published ways: every further strategy, its end, its privacy.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

mod bars;

use bars::{finished, job, params, survives_a_kill, weights};
use fedact_federate::run;
use fedact_federation::history::Record;
use fedact_stage::{Event, Metrics, Reporter};
use serde_json::{Value, json};

/// Params of every strategy but the first three, each with something that the server remembers.
fn further_strategies() -> Vec<Value> {
    let mut all = Vec::new();
    for (strategy, more) in [
        (
            "fedbuff",
            json!({"buffer_size": 3, "server": {"kind": "sgd", "momentum": 0.5}}),
        ),
        ("fadas", json!({"buffer_size": 2})),
        (
            "fedbuff",
            json!({"buffer_size": 2, "update_weights": "share", "average_last": 0.5}),
        ),
        (
            "fedbuff",
            json!({"combination": {"kind": "median"}, "norm_bound": {}}),
        ),
        ("ca2fl", json!({"buffer_size": 2})),
        ("ace", json!({})),
        ("fedcompass", json!({"allotment": {"max_work": 3.0}})),
        (
            "fedcompass",
            json!({"local_epochs": 0.5, "server": {"kind": "sgd", "momentum": 0.9, "look_ahead": 1}}),
        ),
    ] {
        let mut params = params(strategy);
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        all.push(params);
    }
    all
}

#[test]
fn every_further_strategy_runs_to_its_end_and_tells_its_rules() {
    let folder = tempfile::tempdir().unwrap();
    for params in further_strategies() {
        let strategy = params["strategy"].as_str().unwrap().to_owned();
        let job = job(folder.path(), params.clone());
        let (metrics, history) = finished(&job);
        assert_eq!(metrics["strategy"], params["strategy"]);
        assert_eq!(metrics["end"], "budget-spent", "{strategy}");
        assert!(metrics["versions"].as_u64().unwrap() > 0, "{strategy}");
        let server = &metrics["server"]["kind"];
        assert_eq!(server, if strategy == "fadas" { "fadas" } else { "sgd" });
        match strategy.as_str() {
            "fedcompass" => assert_eq!(metrics.get("buffer_size"), None),
            "ace" => assert_eq!(metrics["buffer_size"], 1),
            _ => assert!(metrics["buffer_size"].as_u64().unwrap() > 1),
        }
        let told = |key: &str, default: Value| params.get(key).cloned().unwrap_or(default);
        assert_eq!(
            metrics.get("average_last"),
            params.get("average_last"),
            "{strategy}"
        );
        if ["fedbuff", "fadas"].contains(&strategy.as_str()) {
            let weights = told("update_weights", json!("equal"));
            assert_eq!(metrics["update_weights"], weights);
        }
        let counted = metrics["updates"].as_u64().unwrap() + metrics["refused"].as_u64().unwrap();
        let told = history
            .iter()
            .filter(|record| matches!(record, Record::Update { .. }));
        assert_eq!(counted, told.count() as u64, "{strategy}");
        let sizes: std::collections::BTreeSet<u64> = history
            .iter()
            .filter_map(|record| match record {
                Record::Task { samples, .. } => Some(*samples),
                _ => None,
            })
            .collect();
        assert_eq!(
            sizes.len() > 1,
            strategy == "fedcompass",
            "{strategy}: {sizes:?}"
        );
    }
}

#[test]
fn an_average_is_tested_and_saved_and_nobody_trains_from_it() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["fedasync", "fedavg", "fedbuff"] {
        let plain = params(strategy);
        let mut averaged = plain.clone();
        averaged["average_last"] = json!(1.0);
        let plain = job(&folder.path().join("plain"), plain);
        let averaged = job(&folder.path().join("averaged"), averaged);
        let (_, last) = finished(&plain);
        let (metrics, history) = finished(&averaged);
        let work = |history: &[Record]| {
            let of_work =
                |record: &&Record| matches!(record, Record::Task { .. } | Record::Update { .. });
            history.iter().filter(of_work).cloned().collect::<Vec<_>>()
        };
        assert_eq!(work(&history), work(&last), "{strategy}");
        assert_ne!(weights(&averaged), weights(&plain), "{strategy}");
        let losses = |history: &[Record]| {
            let loss = |record: &Record| match record {
                Record::Evaluation { loss, .. } => Some(*loss),
                _ => None,
            };
            history.iter().filter_map(loss).collect::<Vec<f64>>()
        };
        assert_ne!(losses(&history), losses(&last), "{strategy}");
        // The last test and the metrics are of what was saved.
        let tested = *losses(&history).last().unwrap();
        let saved = metrics["loss"].as_f64().unwrap();
        assert!((tested - saved).abs() < 1e-9, "{tested} {saved}");
    }
}

#[test]
fn tasks_of_half_a_pass_go_on_in_the_clips_and_come_to_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    // One client of 48 clips: eight steps of six in a pass. Without momentum, which begins anew with every task, and with a rate that
    // does not fall, two tasks of four steps are one of eight.
    let run = |local_epochs: f64| {
        let mut params = params("fedavg");
        for (key, value) in [
            ("clients", json!(1)),
            ("local_epochs", json!(local_epochs)),
            ("momentum", json!(0.0)),
            ("final_learning_rate", json!(1.0)),
            ("budget", json!({"client_epochs": 3})),
            ("partition", json!({"by": "even"})),
        ] {
            params[key] = value;
        }
        let job = job(folder.path(), params);
        let (metrics, history) = finished(&job);
        let tasks: Vec<(u64, u64)> = history
            .iter()
            .filter_map(|record| match record {
                Record::Task { samples, steps, .. } => Some((*samples, *steps)),
                _ => None,
            })
            .collect();
        (metrics, tasks)
    };
    let (whole, whole_tasks) = run(1.0);
    let (halves, half_tasks) = run(0.5);
    assert_eq!(whole_tasks, [(48, 8); 3]);
    assert_eq!(half_tasks, [(24, 4); 6]);
    assert_eq!(halves["samples"], whole["samples"]);
    assert_eq!(halves["versions"], 6);
    let loss = |metrics: &Metrics| metrics["loss"].as_f64().unwrap();
    let (expected, found) = (loss(&whole), loss(&halves));
    assert!((expected - found).abs() < 1e-3, "{expected} and {found}");
    // A fifth of a pass, 9.6 clips, is nearest to two steps, a quarter: the same work in twelve tasks.
    let (fifths, tasks) = run(0.2);
    assert_eq!(tasks, [(12, 2); 12]);
    assert_eq!(fifths["client_epochs"], 3.0);
}

#[test]
fn a_private_run_tells_what_it_has_spent_and_what_few_clients_cost() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = params("fedbuff");
    params["privacy"] = json!({"clip": 1.0, "noise": 0.5});
    params["budget"] = json!({"client_epochs": 8});
    let job = job(folder.path(), params);
    let messages = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&messages);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Message { text, .. } = event {
            sink.lock().unwrap().push(text.clone());
        }
    });
    let metrics = run(&job, &reporter).unwrap();
    assert!(metrics["privacy"]["epsilon"].as_f64().unwrap() > 1.0);
    let messages = messages.lock().unwrap().join("\n");
    assert!(
        messages.contains("differential privacy: epsilon"),
        "{messages}"
    );
    assert!(messages.contains("with 4 clients the noise"), "{messages}");
}

#[test]
fn a_run_that_is_good_enough_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["fedasync", "fedbuff", "central"] {
        let mut params = params(strategy);
        params["target_top1"] = json!(0.01);
        let job = job(folder.path(), params);
        let (metrics, history) = finished(&job);
        assert_eq!(metrics["end"], "target-reached", "{strategy}");
        let Some(Record::End { reason, .. }) = history.last() else {
            panic!("{:?}", history.last());
        };
        assert_eq!(reason, "target-reached");
        assert!(
            metrics["client_epochs"].as_f64().unwrap() < 24.0,
            "{strategy}"
        );
    }
}

#[test]
fn a_killed_run_of_every_further_strategy_ends_bit_for_bit_the_same() {
    for params in further_strategies() {
        survives_a_kill(params);
    }
}

#[test]
fn updates_are_as_small_as_the_codec_makes_them_and_clips_lie_where_the_partition_puts_them() {
    let folder = tempfile::tempdir().unwrap();
    let plain = params("fedasync");
    let mut small = plain.clone();
    small["codec"] = json!({"numbers": "int8", "zstd": 1});
    small["partition"] = json!({"by": "labels", "beta": 0.3});
    let (large, _) = finished(&job(&folder.path().join("plain"), plain));
    let (metrics, history) = finished(&job(folder.path(), small.clone()));
    let bytes = |metrics: &fedact_stage::Metrics| {
        metrics["bytes_up"].as_f64().unwrap() / metrics["samples"].as_f64().unwrap()
    };
    assert!(
        2.0 * bytes(&metrics) < bytes(&large),
        "{} {}",
        bytes(&metrics),
        bytes(&large)
    );
    assert!(metrics["joules"].as_f64().unwrap() > 0.0);
    let Record::Start { clients, .. } = &history[0] else {
        panic!("{:?}", history[0]);
    };
    assert!(
        clients
            .iter()
            .all(|client| client.id.starts_with("client-")),
        "{clients:?}"
    );
    survives_a_kill(small);
}

#[test]
fn any_number_of_workers_leaves_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = further_strategies();
    all.extend([params("fedasync"), params("fedavg")]);
    let mut small = params("fedasync");
    small["codec"] = json!({"numbers": "int8", "keep": 0.25});
    all.push(small);
    for mut params in all {
        let strategy = params["strategy"].clone();
        params["budget"] = json!({"client_epochs": 12});
        let left = |workers: usize| {
            let mut params = params.clone();
            params["workers"] = json!(workers);
            let job = job(folder.path(), params);
            finished(&job);
            let history = std::fs::read_to_string(job.output.join("history.jsonl")).unwrap();
            // The first line tells the params, and so the workers.
            let (_, events) = history.split_once('\n').unwrap();
            (weights(&job), events.to_owned())
        };
        let (model, history) = left(1);
        for workers in [2, 3] {
            let (other, events) = left(workers);
            assert!(
                other == model,
                "{strategy}, {workers} workers: another model"
            );
            assert_eq!(events, history, "{strategy}, {workers} workers");
        }
    }
}

#[test]
fn a_killed_run_of_two_workers_ends_bit_for_bit_the_same() {
    for strategy in ["fedasync", "fedavg"] {
        let mut params = params(strategy);
        params["workers"] = json!(2);
        survives_a_kill(params);
    }
}
