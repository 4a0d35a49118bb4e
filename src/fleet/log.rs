//! `--log json`: what happens, as one JSON object a line on standard error, for `journalctl`, Loki and the like.
//!
//! A line is what `--json` would print on standard output, with `time` and `level` before it; so whoever reads one reads the other.

use std::time::SystemTime;

use clap::ValueEnum;
use fedact_pipeline::RunEvent;
use fedact_stage::{Event, Level as Said};
use serde::Serialize;
use serde_json::{Map, Value};

use super::changes::Change;
use crate::output;

/// How what happens is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object a line, on standard error.
    Json,
}

/// How much a line matters. The words are those that log collectors know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Progress: much of it, and each line is outdated by the next.
    Debug,
    /// What should happen.
    Info,
    /// What somebody should look at.
    Warning,
    /// What ends the command, or a step.
    Error,
}

/// Writes a line about an event: a structure of which the field `event` names it.
pub fn write(level: Level, event: &impl Serialize) {
    output::aside(&line(SystemTime::now(), level, event));
}

/// Writes a line about what happens to a run of steps.
pub fn write_run(event: &RunEvent) {
    write(level_of(event), event);
}

/// Writes a line about a change of a fleet.
pub fn write_change(change: &Change) {
    write(change.level(), change);
}

fn level_of(event: &RunEvent) -> Level {
    match event {
        RunEvent::Digesting { .. }
        | RunEvent::Reported {
            report: Event::Progress { .. },
            ..
        } => Level::Debug,
        RunEvent::Warning { .. }
        | RunEvent::NotRun { .. }
        | RunEvent::Reported {
            report:
                Event::Message {
                    level: Said::Warning,
                    ..
                },
            ..
        } => Level::Warning,
        RunEvent::Failed { .. } => Level::Error,
        _ => Level::Info,
    }
}

fn line(moment: SystemTime, level: Level, event: &impl Serialize) -> String {
    let mut fields = Map::new();
    fields.insert("time".to_owned(), output::timestamp(moment).into());
    fields.insert(
        "level".to_owned(),
        serde_json::to_value(level).unwrap_or_default(),
    );
    match serde_json::to_value(event) {
        Ok(Value::Object(event)) => fields.extend(event),
        // Nothing that is logged here is anything else; it is not lost if it is.
        Ok(other) => {
            fields.insert("event".to_owned(), other);
        }
        Err(error) => {
            fields.insert("event".to_owned(), "not-written".into());
            fields.insert("reason".to_owned(), error.to_string().into());
        }
    }
    format!("{}\n", Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_the_event_with_its_time_and_level() {
        let moment = UNIX_EPOCH + Duration::from_millis(1_795_391_459_900);
        let event = json!({"event": "tested", "version": 16, "top1": 0.5});
        assert_eq!(
            line(moment, Level::Info, &event),
            "{\"time\":\"2026-11-22T23:50:59.900Z\",\"level\":\"info\",\"event\":\"tested\",\"version\":16,\"top1\":0.5}\n"
        );
    }

    #[test]
    fn warnings_and_failures_of_steps_are_told_from_progress() {
        let warning = RunEvent::Warning {
            text: "slow".into(),
        };
        assert_eq!(level_of(&warning), Level::Warning);
        let progress = RunEvent::Reported {
            step: "async".into(),
            report: Event::Progress {
                task: "training".into(),
                done: 1,
                total: 2,
                unit: "samples".into(),
                detail: String::new(),
            },
        };
        assert_eq!(level_of(&progress), Level::Debug);
        let said = RunEvent::Reported {
            step: "async".into(),
            report: Event::Message {
                level: Said::Warning,
                text: "a device is slow".into(),
            },
        };
        assert_eq!(level_of(&said), Level::Warning);
    }
}
