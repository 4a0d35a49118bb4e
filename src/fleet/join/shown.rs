//! What a person or a program sees of a device.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fedact_fleet::client::{Awaited, Told};
use fedact_fleet::identity::Join;
use fedact_pipeline::RunEvent;
use fedact_stage::{Event, Level};
use serde_json::{Value, json};

use crate::exit::Refusal;
use crate::fleet::log;
use crate::output;
use crate::progress::{self, Progress};

/// Shows a device: to people as a bar on a terminal and as lines about what has changed elsewhere, to programs as lines of JSON. Clones
/// show the same one.
#[derive(Clone)]
pub struct Shown(Arc<Mutex<State>>);

struct State {
    device: String,
    address: String,
    /// Lines of JSON on standard output.
    json: bool,
    /// The same on standard error, with time and level.
    log: bool,
    bar: Option<Progress>,
    /// Whether the server was said to be away.
    away: bool,
    counted: u64,
    refused: u64,
}

impl Shown {
    /// Shows the device with this join file.
    pub fn new(join: &Join, json: bool, log: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self(Arc::new(Mutex::new(State {
            device: join.device.to_string(),
            address: join.addresses().join(", "),
            json,
            log,
            bar: (terminal && !json && !log).then(progress::for_this_terminal),
            away: false,
            counted: 0,
            refused: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what the connection tells.
    pub fn told(&self, told: &Told) {
        let mut state = self.lock();
        if state.is_read_by_programs() {
            state.line(level_of(told), &line(told));
            return;
        }
        match told {
            Told::ServerAway { disbelief: None } => {
                state.away = true;
                let text = format!("waiting for the server {}: it is away", state.address);
                state.doing(&text);
            }
            Told::ServerAway {
                disbelief: Some(why),
            } => {
                state.away = true;
                let text = format!("waiting for the server {}: {why}", state.address);
                state.say(Level::Warning, &text);
            }
            Told::ServerThere => {
                let again = if state.away { " again" } else { "" };
                let text = format!("connected to {}{again}", state.address);
                state.doing(&text);
            }
            Told::Waits(Awaited::Run) => state.doing("waiting for a run"),
            Told::Waits(Awaited::Task) => state.doing("waiting for a task"),
            Told::Waits(Awaited::NextRun) => {
                state.doing("waiting for the next run: the last one is over");
            }
            Told::Waits(Awaited::SameVersion) => {
                let text = "the coordinator speaks another version of the messages; give all machines of the fleet the same \
                            version of fedact";
                state.say(Level::Warning, text);
            }
            Told::Task(task) => {
                state.doing(&format!(
                    "task {}: {} clips from version {}",
                    task.task, task.samples, task.version
                ));
            }
            Told::Update { task, bytes } => {
                let size = output::size(*bytes);
                state.doing(&format!("task {task}: sending the update, {size}"));
            }
            Told::Decided(verdict) => match &verdict.refused {
                None => {
                    state.counted += 1;
                    state.doing(&format!("task {}: the update counts", verdict.task));
                }
                Some(reason) => {
                    state.refused += 1;
                    let text = format!("task {}: the update was refused, {reason}", verdict.task);
                    state.say(Level::Warning, &text);
                }
            },
            Told::GivenBack { task, reason } => {
                state.say(
                    Level::Warning,
                    &format!("task {task}: given back, {reason}"),
                );
            }
        }
    }

    /// Shows what a process says that does `what`.
    pub fn report(&self, what: &str, event: Event) {
        let mut state = self.lock();
        if state.is_read_by_programs() {
            state.line(log::level_of_report(&event), &event);
            return;
        }
        match event {
            Event::Progress {
                done,
                total,
                unit,
                detail,
                ..
            } => state.progress(what, (done, total, &unit), detail),
            Event::Message { level, text } => state.say(level, &text),
            // How it ended is told by whoever started it.
            Event::Finished { .. } | Event::Failed { .. } | Event::Stopped => {}
        }
    }

    /// Shows what is going on.
    pub fn doing(&self, what: &str) {
        let mut state = self.lock();
        if !state.is_read_by_programs() {
            state.doing(what);
        }
    }

    /// Shows that something is not as it should be.
    pub fn warn(&self, text: &str) {
        let event = Event::Message {
            level: Level::Warning,
            text: text.to_owned(),
        };
        self.report("", event);
    }

    /// Takes the bar away.
    pub fn close(&self) {
        self.lock().bar = None;
    }

    /// Shows that the run is over, and why.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn ended(&self, reason: &str) -> Result<(), Refusal> {
        let state = self.lock();
        if state.is_read_by_programs() {
            state.line(
                log::Level::Info,
                &json!({"event": "ended", "reason": reason}),
            );
            return Ok(());
        }
        output::text(&format!(
            "{}: the run is over ({reason}); {}\n",
            state.device,
            state.totals()
        ))
    }
}

impl State {
    fn is_read_by_programs(&self) -> bool {
        self.json || self.log
    }

    /// A reader that has gone away is no reason to stop.
    fn line(&self, level: log::Level, line: &impl serde::Serialize) {
        if self.json {
            let _ = output::json(line);
        }
        if self.log {
            log::write(level, line);
        }
    }

    fn totals(&self) -> String {
        let counted = output::count(self.counted as usize, "update");
        match self.refused {
            0 => format!("{counted} counted"),
            refused => format!("{counted} counted, {refused} refused"),
        }
    }

    fn doing(&mut self, what: &str) {
        if self.bar.is_none() {
            output::aside(&format!("{}: {what}\n", self.device));
            return;
        }
        self.progress(what, (0, 0, ""), self.totals());
    }

    fn progress(&mut self, what: &str, (done, total, unit): (u64, u64, &str), detail: String) {
        self.hear(Event::Progress {
            task: what.to_owned(),
            done,
            total,
            unit: unit.to_owned(),
            detail,
        });
    }

    fn say(&mut self, level: Level, text: &str) {
        if self.bar.is_none() {
            let device = &self.device;
            output::aside(&match level {
                Level::Info => format!("{device}: {text}\n"),
                Level::Warning => format!("warning: {device}: {text}\n"),
            });
        }
        self.hear(Event::Message {
            level,
            text: text.to_owned(),
        });
    }

    fn hear(&mut self, report: Event) {
        if let Some(bar) = &mut self.bar {
            bar.hear(&RunEvent::Reported {
                step: self.device.clone(),
                report,
            });
        }
    }
}

/// How much what was told matters.
fn level_of(told: &Told) -> log::Level {
    match told {
        Told::ServerAway { .. } | Told::GivenBack { .. } => log::Level::Warning,
        Told::Waits(Awaited::SameVersion) => log::Level::Warning,
        Told::Decided(verdict) if verdict.refused.is_some() => log::Level::Warning,
        _ => log::Level::Info,
    }
}

/// What was told, as a line of JSON; docs/json.md has the fields.
fn line(told: &Told) -> Value {
    match told {
        Told::ServerAway { disbelief } => {
            json!({"event": "server", "there": false, "reason": disbelief})
        }
        Told::ServerThere => json!({"event": "server", "there": true, "reason": null}),
        Told::Waits(Awaited::Run) => json!({"event": "waiting", "for": "run"}),
        Told::Waits(Awaited::Task) => json!({"event": "waiting", "for": "task"}),
        Told::Waits(Awaited::NextRun) => json!({"event": "waiting", "for": "next-run"}),
        Told::Waits(Awaited::SameVersion) => json!({"event": "waiting", "for": "same-version"}),
        Told::Task(task) => json!({
            "event": "task",
            "task": task.task,
            "nth": task.nth,
            "version": task.version,
            "samples": task.samples,
        }),
        Told::Update { task, bytes } => json!({"event": "update", "task": task, "bytes": bytes}),
        Told::Decided(verdict) => json!({
            "event": "decided",
            "task": verdict.task,
            "refused": verdict.refused,
        }),
        Told::GivenBack { task, reason } => {
            json!({"event": "given-back", "task": task, "reason": reason})
        }
    }
}
