//! The runner's end of a stage process: start it, listen to it, end it.
//!
//! The child gets its [`Job`] as the first line of its standard input, which then stays open: a line
//! `stop` asks it to end at its next checkpoint, and its end means that the runner is dead
//! ([`crate::child`] ends itself then). Events come as lines of JSON from
//! its standard output; its standard error goes into a log file. It leads a process group of its own, so
//! that all of it can be ended at once and a terminal's Ctrl-C reaches the runner only.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fedact_stage::{Definition, Event, Job, Metrics};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Serialize;

use crate::{Stop, child};

/// How many lines of a failed step's log are shown.
const LOG_TAIL: usize = 20;
/// How often a running process is looked at, whether it should end.
const PULSE: Duration = Duration::from_millis(50);

/// How a stage's process is started: the program, its arguments and environment for a stage and a
/// number of threads. Input, output and process group are set by the runner.
pub type Launcher = Arc<dyn Fn(&Definition, usize) -> Command + Send + Sync>;

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What happened.
    pub message: String,
    /// What would mend it.
    pub remedy: Option<String>,
    /// Whether the user's data or params are at fault.
    pub invalid_input: bool,
    /// What the process wrote to standard error.
    pub log: Option<PathBuf>,
    /// The last lines of that.
    pub log_tail: Vec<String>,
}

impl Failure {
    /// A failure without a log.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: None,
            invalid_input: false,
            log: None,
            log_tail: Vec::new(),
        }
    }

    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Why a job was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// It was asked to stop, and did, or was killed when its grace was over.
    Stopped,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Unfinished {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Carries out a job in a process of its own. When asked to stop, passes that on, and kills the process
/// with its whole group when the grace is over.
///
/// # Errors
/// What the stage reported, how the process died, that it could not be started, or that it was stopped.
pub fn execute(
    command: Command,
    job: &Job,
    log: &Path,
    stop: &Stop,
    mut report: impl FnMut(Event),
) -> Result<Metrics, Unfinished> {
    let mut child = start(command, job, log)?;
    let group = Group::of(&mut child);
    let (closing, status) = std::thread::scope(|scope| {
        scope.spawn(|| group.end_when(stop));
        let closing = listen(&mut child, job, &mut report);
        (closing, group.reap(&mut child))
    });
    let failure = match (closing?, status) {
        (Some(Event::Finished { metrics }), Ok(status)) if status.success() => return Ok(metrics),
        (Some(Event::Stopped), _) if stop.asked() => return Err(Unfinished::Stopped),
        (
            Some(Event::Failed {
                message,
                remedy,
                invalid_input,
            }),
            _,
        ) => Failure {
            remedy,
            invalid_input,
            ..Failure::new(message)
        },
        (_, Ok(status)) if stop.overdue() && status.signal() == Some(Signal::KILL.as_raw()) => {
            return Err(Unfinished::Stopped);
        }
        (_, Ok(status)) => died(status),
        (_, Err(error)) => Failure::of(&error),
    };
    Err(Unfinished::Failed(Failure {
        log_tail: tail(log),
        log: Some(log.to_owned()),
        ..failure
    }))
}

fn start(mut command: Command, job: &Job, log: &Path) -> Result<Child, Failure> {
    let log_file = log
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| File::create(log))
        .map_err(|error| {
            Failure::new(format!(
                "cannot write the log file {}: {error}",
                log.display()
            ))
        })?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .process_group(0);
    let mut child = command.spawn().map_err(|error| {
        Failure::new(format!(
            "cannot start {}: {error}",
            Path::new(command.get_program()).display()
        ))
    })?;
    let mut line = serde_json::to_vec(job).map_err(|error| Failure::of(&error))?;
    line.push(b'\n');
    // A child that died already says why on its way out; the broken pipe is no news.
    if let Some(stdin) = &mut child.stdin {
        let _ = stdin.write_all(&line).and_then(|()| stdin.flush());
    }
    Ok(child)
}

/// Hands on events until the child closes its output; returns the closing one.
fn listen(
    child: &mut Child,
    job: &Job,
    report: &mut impl FnMut(Event),
) -> Result<Option<Event>, Failure> {
    let mut ending = None;
    let Some(stdout) = child.stdout.take() else {
        return Ok(None);
    };
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(|error| {
            Failure::new(format!(
                "cannot hear the process of step {}: {error}",
                job.step
            ))
        })?;
        match serde_json::from_slice(&line) {
            Ok(event @ (Event::Finished { .. } | Event::Failed { .. } | Event::Stopped)) => {
                ending = Some(event);
            }
            Ok(event) => report(event),
            // The last line of a process that was killed may be cut off.
            Err(_) => {}
        }
    }
    Ok(ending)
}

/// A child's process group, whose number is certainly its own until the child is reaped.
struct Group {
    pid: Mutex<Option<Pid>>,
    reaped: Condvar,
    /// Open as long as this is: the child takes its end for the runner's death.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl Group {
    fn of(child: &mut Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Self {
            pid: Mutex::new(pid),
            reaped: Condvar::new(),
            lifeline: Mutex::new(child.stdin.take()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the wish to stop on to the child, and ends the group when the grace is over; returns when
    /// the child is reaped.
    fn end_when(&self, stop: &Stop) {
        let mut asked = false;
        let mut guard = self.lock();
        while let Some(pid) = *guard {
            if stop.overdue() {
                // Gone already is as good.
                let _ = kill_process_group(pid, Signal::KILL);
            } else if stop.asked() && !std::mem::replace(&mut asked, true) {
                self.ask();
            }
            guard = self
                .reaped
                .wait_timeout(guard, PULSE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Asks the child to end at its next checkpoint. A child that is gone needs no asking.
    fn ask(&self) {
        let mut lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lifeline) = &mut *lifeline {
            let _ = lifeline
                .write_all(&[child::STOP, b"\n"].concat())
                .and_then(|()| lifeline.flush());
        }
    }

    /// Waits for the end of the child, ends what it may have left in its group, and only then frees its
    /// number.
    fn reap(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let pid = *self.lock();
        if let Some(pid) = pid {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        }
        let mut pid = self.lock();
        if let Some(pid) = pid.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.reaped.notify_all();
        child.wait()
    }
}

fn died(status: ExitStatus) -> Failure {
    let Some(signal) = status.signal() else {
        return Failure::new(format!(
            "its process ended without a result ({status}); its log may say why"
        ));
    };
    let failure = Failure::new(format!(
        "its process was ended by signal {signal} ({})",
        signal_name(signal)
    ));
    if signal == Signal::KILL.as_raw() {
        return Failure {
            remedy: Some(
                "the system may have run out of memory: give the step less to hold (smaller batches \
                 or clips, fewer threads) or run fewer steps at once with --jobs"
                    .to_owned(),
            ),
            ..failure
        };
    }
    failure
}

fn signal_name(signal: i32) -> &'static str {
    const NAMES: [(Signal, &str); 9] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::TERM, "SIGTERM"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map_or("no common one", |(_, name)| name)
}

/// The last lines of a log.
fn tail(log: &Path) -> Vec<String> {
    let Ok(file) = File::open(log) else {
        return Vec::new();
    };
    let mut lines = VecDeque::with_capacity(LOG_TAIL + 1);
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if lines.len() == LOG_TAIL {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    lines.into()
}
