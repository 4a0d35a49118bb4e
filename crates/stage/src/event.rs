//! What a running stage tells the runner: one JSON object a line.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Metrics, StageError, Stopped};

/// How often one task repeats its progress at the most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth a line in the log.
    Info,
    /// Something was wrong and has been worked around; shown at the end of the run, too.
    Warning,
}

/// One line of a stage's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// How far a task is.
    Progress {
        /// What is being done, as in `training`.
        task: String,
        /// Units done.
        done: u64,
        /// Units in all; 0 where that is not known.
        total: u64,
        /// What is counted, as in `clips`.
        unit: String,
        /// A short state to stand beside the bar, as in `epoch 3/12, loss 1.03, top-1 61%`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A sentence.
    Message {
        /// How serious it is.
        level: Level,
        /// The sentence.
        text: String,
    },
    /// The stage ended well; always the last event.
    Finished {
        /// The figures it ends with.
        metrics: Metrics,
    },
    /// The stage ended badly; always the last event.
    Failed {
        /// What happened.
        message: String,
        /// What would mend it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
        /// Whether the user's data or params are at fault.
        #[serde(default)]
        invalid_input: bool,
    },
    /// The stage ended before its work was done, because it was asked to; always the last event.
    Stopped,
}

impl Event {
    /// The closing event for what a stage's `run` returned.
    pub fn closing(result: Result<Metrics, StageError>) -> Self {
        match result {
            Ok(metrics) => Self::Finished { metrics },
            Err(error) if error.stopped => Self::Stopped,
            Err(error) => Self::Failed {
                message: error.message,
                remedy: error.remedy,
                invalid_input: error.invalid_input,
            },
        }
    }
}

/// A stage's line to the runner: events go one way, the wish that it should stop comes the other.
/// Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Reporter {
    sink: Arc<dyn Fn(&Event) + Send + Sync>,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// Writes each event as a line of JSON and flushes it. A reader that went away is ignored: the
    /// runner's death is noticed elsewhere.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Self {
        let writer = Mutex::new(writer);
        Self::to_function(move |event| {
            let Ok(mut line) = serde_json::to_vec(event) else {
                return;
            };
            line.push(b'\n');
            if let Ok(mut writer) = writer.lock() {
                let _ = writer.write_all(&line).and_then(|()| writer.flush());
            }
        })
    }

    /// Hands each event to a function.
    pub fn to_function(sink: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
            stop: Arc::default(),
        }
    }

    /// Drops everything, for tests and library use.
    pub fn silent() -> Self {
        Self::to_function(|_| {})
    }

    /// Asks the stage to end at its next checkpoint.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the stage should go on; to be asked between two pieces of work, the more often the
    /// better. Whoever hears of it keeps a checkpoint if there is one to keep, and passes it on.
    ///
    /// # Errors
    /// The stage has been asked to end early.
    pub fn go_on(&self) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Stopped)
        } else {
            Ok(())
        }
    }

    /// Sends one event.
    pub fn send(&self, event: &Event) {
        (self.sink)(event);
    }

    /// A sentence for the log.
    pub fn info(&self, text: impl Into<String>) {
        self.send(&Event::Message {
            level: Level::Info,
            text: text.into(),
        });
    }

    /// A sentence that the user should see.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(&Event::Message {
            level: Level::Warning,
            text: text.into(),
        });
    }

    /// Starts a task of `total` units (0 where unknown) and shows it at once.
    pub fn task(&self, task: impl Into<String>, total: u64, unit: impl Into<String>) -> Task {
        let task = Task {
            reporter: self.clone(),
            name: task.into(),
            unit: unit.into(),
            state: Mutex::new(TaskState {
                done: 0,
                total,
                detail: String::new(),
                sent: None,
            }),
        };
        task.update(|_| {});
        task
    }
}

/// A piece of work with a measurable end. Safe to advance from several threads; repeats itself at
/// most ten times a second, and always says when it is complete.
#[derive(Debug)]
pub struct Task {
    reporter: Reporter,
    name: String,
    unit: String,
    state: Mutex<TaskState>,
}

#[derive(Debug)]
struct TaskState {
    done: u64,
    total: u64,
    detail: String,
    sent: Option<Instant>,
}

impl Task {
    /// Adds units to what is done.
    pub fn advance(&self, units: u64) {
        self.update(|state| state.done += units);
    }

    /// Sets what is done.
    pub fn set(&self, done: u64) {
        self.update(|state| state.done = done);
    }

    /// Sets the short state beside the bar.
    pub fn detail(&self, detail: impl Into<String>) {
        let detail = detail.into();
        self.update(|state| state.detail = detail);
    }

    fn update(&self, change: impl FnOnce(&mut TaskState)) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        change(&mut state);
        let complete = state.total > 0 && state.done >= state.total;
        let due = state
            .sent
            .is_none_or(|sent| sent.elapsed() >= PROGRESS_INTERVAL);
        if !(due || complete) {
            return;
        }
        state.sent = Some(Instant::now());
        self.reporter.send(&Event::Progress {
            task: self.name.clone(),
            done: state.done,
            total: state.total,
            unit: self.unit.clone(),
            detail: state.detail.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collecting() -> (Reporter, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
        (reporter, events)
    }

    #[test]
    fn a_task_shows_its_start_and_its_end_whatever_the_pace() {
        let (reporter, events) = collecting();
        let task = reporter.task("decoding", 1000, "videos");
        for _ in 0..1000 {
            task.advance(1);
        }
        let events = events.lock().unwrap();
        let done: Vec<u64> = events
            .iter()
            .map(|event| match event {
                Event::Progress { done, .. } => *done,
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(done.first(), Some(&0));
        assert_eq!(done.last(), Some(&1000));
        assert!(
            done.len() < 100,
            "progress was not held back: {}",
            done.len()
        );
    }

    #[test]
    fn every_event_survives_its_line_of_json() {
        let mut metrics = Metrics::new();
        metrics.insert("top1".into(), 0.5.into());
        let events = [
            Event::Progress {
                task: "training".into(),
                done: 3,
                total: 0,
                unit: "clips".into(),
                detail: "epoch 1/2".into(),
            },
            Event::Message {
                level: Level::Warning,
                text: "two files left out".into(),
            },
            Event::closing(Ok(metrics)),
            Event::closing(Err(StageError {
                message: "no".into(),
                remedy: Some("yes".into()),
                invalid_input: true,
                stopped: false,
            })),
            Event::closing(Err(Stopped.into())),
        ];
        for event in events {
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
