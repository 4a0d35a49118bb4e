//! The events of a run as JSON, against docs/json.md.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use fedact_artifact::Digest;
use fedact_pipeline::{Estimate, Failure, NotRun, Outcome, Plan, RunEvent};
use fedact_stage::{Event, Level, Metrics};

/// One of each kind.
fn events() -> Vec<RunEvent> {
    let (step, key) = (|| "step".to_owned(), Digest::of("key"));
    let plan = Plan {
        steps: Vec::new(),
        forced: Default::default(),
    };
    let estimate = Estimate {
        seconds: 1.5,
        unknown: vec![step()],
    };
    let failure = Failure {
        message: "it went wrong".to_owned(),
        remedy: Some("make it right".to_owned()),
        invalid_input: false,
        log: Some(PathBuf::from("log")),
        log_tail: vec!["last words".to_owned()],
    };
    let report = Event::Message {
        level: Level::Info,
        text: "hello".to_owned(),
    };
    let needs = |step| NotRun::Needs { step };
    vec![
        RunEvent::Digesting {
            folder: PathBuf::from("videos"),
            done: 1,
            total: 2,
        },
        RunEvent::Planned { plan, estimate },
        RunEvent::FromStore {
            step: step(),
            key,
            output: key,
        },
        RunEvent::Waiting {
            step: step(),
            reason: "another run".to_owned(),
        },
        RunEvent::Started {
            step: step(),
            stage: "stage".to_owned(),
            key,
            cores: 2,
            resumed: true,
            last_seconds: Some(1.5),
        },
        RunEvent::Reported {
            step: step(),
            report,
        },
        RunEvent::Stopping {
            steps: vec![step()],
            within_seconds: 30.0,
        },
        RunEvent::Finished {
            step: step(),
            key,
            output: key,
            seconds: 1.5,
            unchanged: true,
            metrics: Metrics::default(),
            warnings: Vec::new(),
        },
        RunEvent::Failed {
            step: step(),
            failure,
        },
        RunEvent::NotRun {
            step: step(),
            reason: needs(step()),
        },
        RunEvent::Ended {
            outcome: Outcome::default(),
        },
    ]
}

/// The row of an event in the table, where each field stands in backticks, a nested one behind a dot.
fn row<'a>(page: &'a str, event: &str) -> &'a str {
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| `{event}` | ")));
    row.unwrap_or_else(|| panic!("{event} is not in the table"))
}

#[test]
fn every_event_is_in_the_table_with_all_its_fields_and_no_others() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md"))
        .unwrap();
    let table = page.split("| `event` | fields |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let events = events();
    assert_eq!(
        table.lines().filter(|line| line.starts_with("| `")).count(),
        events.len()
    );
    for event in events {
        let json = serde_json::to_value(&event).unwrap();
        let mut fields = json.as_object().unwrap().clone();
        let name = fields.shift_remove("event").unwrap();
        let row = row(table, name.as_str().unwrap());
        for field in fields.keys() {
            assert!(
                row.contains(&format!("`{field}`")) || row.contains(&format!("`{field}.")),
                "{field} of {name} is not in the table"
            );
        }
        // What is listed before anything is explained: names and dotted names.
        let listed = row.split('|').nth(2).unwrap();
        let names = listed.split('`').skip(1).step_by(2);
        let names = names.map(|name| name.split('.').next().unwrap());
        for listed in names.filter(|name| !VALUES.contains(name)) {
            assert!(fields.contains_key(listed), "{name} has no {listed}");
        }
    }
}

/// What stands in backticks there without being a field.
const VALUES: [&str; 5] = [
    "needs",
    "other-failure",
    "interrupted",
    "status",
    "--dry-run",
];
