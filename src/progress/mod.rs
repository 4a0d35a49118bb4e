//! What a run looks like while it goes on: bars on a terminal, plain lines elsewhere.

mod bars;
mod estimate;
mod lines;

use std::io::IsTerminal;

use fedact_pipeline::{Failure, NotRun, RunEvent};
use fedact_stage::{Event, Level};

use crate::output;
use bars::Bars;
use estimate::Tracked;
use lines::Lines;

/// Shows a run on standard error.
pub enum Progress {
    /// A terminal.
    Bars(Bars),
    /// Anything else.
    Lines(Lines),
}

/// The way that suits where standard error goes.
pub fn for_this_terminal() -> Progress {
    if std::io::stderr().is_terminal() {
        Progress::Bars(Bars::new())
    } else {
        Progress::Lines(Lines::new())
    }
}

impl Progress {
    /// Takes note of an event.
    pub fn hear(&mut self, event: &RunEvent) {
        if let Some((name, change)) = Change::of(event) {
            match self {
                Self::Bars(bars) => bars.change(&name, change),
                Self::Lines(lines) => lines.change(&name, change),
            }
        }
        if let Some(text) = words(event) {
            match self {
                Self::Bars(bars) => bars.say(&text),
                Self::Lines(lines) => lines.say(&text),
            }
        }
    }
}

/// What an event means for the list of what is going on.
enum Change<'a> {
    /// It begins.
    Begin,
    /// It is so far.
    Advance {
        task: &'a str,
        done: u64,
        total: u64,
        unit: &'a str,
        detail: &'a str,
    },
    /// It is over.
    End,
    /// Everything is over.
    EndAll,
}

impl<'a> Change<'a> {
    fn of(event: &'a RunEvent) -> Option<(String, Self)> {
        Some(match event {
            RunEvent::Digesting {
                folder,
                done,
                total,
            } => (
                folder.display().to_string(),
                Self::Advance {
                    task: "reading",
                    done: *done,
                    total: *total,
                    unit: "bytes",
                    detail: "",
                },
            ),
            RunEvent::Planned { .. } | RunEvent::Ended { .. } => (String::new(), Self::EndAll),
            RunEvent::Waiting { step, .. } | RunEvent::Started { step, .. } => {
                (step.clone(), Self::Begin)
            }
            RunEvent::Reported {
                step,
                report:
                    Event::Progress {
                        task,
                        done,
                        total,
                        unit,
                        detail,
                    },
            } => (
                step.clone(),
                Self::Advance {
                    task,
                    done: *done,
                    total: *total,
                    unit,
                    detail,
                },
            ),
            RunEvent::Finished { step, .. }
            | RunEvent::ShardDone { step, .. }
            | RunEvent::FromStore { step, .. }
            | RunEvent::Fetched { step, .. }
            | RunEvent::Failed { step, .. }
            | RunEvent::NotRun { step, .. } => (step.clone(), Self::End),
            RunEvent::Sharing { results } => (
                "remote".to_owned(),
                Self::Advance {
                    task: "results to be shared:",
                    done: *results as u64,
                    total: 0,
                    unit: "left",
                    detail: "",
                },
            ),
            RunEvent::Reported { .. }
            | RunEvent::Remote { .. }
            | RunEvent::Stopping { .. }
            | RunEvent::Warning { .. } => return None,
        })
    }
}

/// The line that an event is worth by itself.
fn words(event: &RunEvent) -> Option<String> {
    Some(match event {
        RunEvent::Waiting { step, reason } => format!("{step}: waiting, {reason}\n"),
        RunEvent::Started {
            step,
            stage,
            cores,
            shard,
            resumed,
            last_seconds,
            ..
        } => {
            let cores = match cores {
                1 => "1 core".to_owned(),
                cores => format!("{cores} cores"),
            };
            let mut text = format!("{step}: {stage} on {cores}");
            if let Some(shard) = shard {
                text.push_str(&format!(", shard {shard}"));
            }
            if *resumed {
                text.push_str(", going on from checkpoints");
            }
            if let Some(seconds) = last_seconds {
                text.push_str(&format!(
                    ", took {} the last time",
                    output::duration(*seconds)
                ));
            }
            text.push('\n');
            text
        }
        RunEvent::Reported {
            step,
            report: Event::Message { level, text },
        } => match level {
            Level::Info => format!("{step}: {text}\n"),
            Level::Warning => format!("warning: {step}: {text}\n"),
        },
        RunEvent::Finished {
            step,
            seconds,
            unchanged,
            ..
        } => {
            let seconds = output::duration(*seconds);
            let unchanged = if *unchanged {
                ", its output is the same as before"
            } else {
                ""
            };
            format!("{step}: done in {seconds}{unchanged}\n")
        }
        RunEvent::ShardDone {
            step,
            shard,
            seconds,
            ..
        } => format!(
            "{step}: shard {shard} done in {}\n",
            output::duration(*seconds)
        ),
        RunEvent::Fetched { step, bytes, .. } => {
            format!(
                "{step}: fetched from the remote, {}\n",
                output::size(*bytes)
            )
        }
        RunEvent::Warning { text } => format!("warning: {text}\n"),
        RunEvent::Stopping {
            steps,
            within_seconds,
        } => stopping(steps, *within_seconds),
        RunEvent::Failed { step, failure: why } => failure(step, why),
        RunEvent::NotRun { step, reason } => match reason {
            NotRun::Needs { step: needed } => format!("{step}: not run, it needs {needed}\n"),
            NotRun::OtherFailure => {
                format!("{step}: not run, because of the failure (--keep-going goes on)\n")
            }
            NotRun::Interrupted => format!("{step}: interrupted\n"),
        },
        _ => return None,
    })
}

/// The announcement that running steps are about to stop.
pub fn stopping(steps: &[String], within_seconds: f64) -> String {
    if steps.is_empty() || within_seconds <= 0.0 {
        return "stopping\n".to_owned();
    }
    format!(
        "stopping after the next checkpoint of {}, in {} at most; Ctrl-C again to stop now\n",
        steps.join(", "),
        output::duration(within_seconds.round())
    )
}

/// A failed step in words.
pub fn failure(step: &str, failure: &Failure) -> String {
    let mut text = format!("error: step `{step}` failed: {}\n", failure.message);
    if let Some(remedy) = &failure.remedy {
        text.push_str(&format!("help: {remedy}\n"));
    }
    if let Some(log) = failure
        .log
        .as_ref()
        .filter(|_| !failure.log_tail.is_empty())
    {
        text.push_str(&format!("log: {}, ending with\n", log.display()));
        for line in &failure.log_tail {
            text.push_str(&format!("  | {line}\n"));
        }
    }
    text
}

/// The progress of something that is no step.
pub struct Counter {
    progress: Progress,
    name: &'static str,
}

impl Counter {
    /// Of something with a name.
    pub fn new(name: &'static str) -> Self {
        Self {
            progress: for_this_terminal(),
            name,
        }
    }

    /// Shows bytes done and bytes to do.
    pub fn show(&mut self, done: u64, total: u64) {
        self.progress.hear(&RunEvent::Reported {
            step: self.name.to_owned(),
            report: Event::Progress {
                task: String::new(),
                done,
                total,
                unit: "bytes".to_owned(),
                detail: String::new(),
            },
        });
    }
}
