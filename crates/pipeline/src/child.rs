//! The stage's end of a stage process; see [`crate::process`] for the other one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;

use fedact_stage::{Definition, Event, Job, Metrics, Reporter, Run, StageError};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Signal, getpgrp, getpid, kill_process, kill_process_group};

/// The line that asks a stage to end at its next checkpoint.
pub(crate) const STOP: &[u8] = b"stop";

/// Serves one job: reads it from standard input, runs it, reports on standard output.
///
/// From the first line on, a line `stop` asks the stage to end at its next checkpoint, and the end of
/// standard input means that the runner is dead: the whole process group then ends itself at once, so
/// that nothing goes on working for nobody.
///
/// Returns the exit code for the process: 0 where the stage ended well, 1 otherwise.
///
/// # Errors
/// Standard input holds no job, or the standard streams cannot be set up.
pub fn serve(run: impl FnOnce(&Job, &Reporter) -> Result<Metrics, StageError>) -> io::Result<u8> {
    let mut stdin = BufReader::new(File::from(private_copy(io::stdin())?));
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).map_err(io::Error::other)?;

    // Whatever prints to standard output (C++ libraries do) must not get between the events.
    let events = File::from(private_copy(io::stdout())?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    let reporter = Reporter::to_writer(events);
    let asked = reporter.clone();
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || hold(stdin, &asked))?;

    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&job, &reporter)))
        .unwrap_or_else(|panic| Err(panicked(&*panic)));
    let code = u8::from(result.is_err());
    reporter.send(&Event::closing(result));
    Ok(code)
}

/// Serves one job of one of these stages, which are those that need `libraries` (for messages), and lets no panic out.
///
/// Returns the exit code for the process: 0 where the stage ended well, 1 where it failed and said so, 2 where there
/// is no job.
pub fn serve_one_of(stages: &[(&Definition, Run)], libraries: &str) -> u8 {
    let work = |job: &Job, reporter: &Reporter| {
        let stage = stages
            .iter()
            .find(|(definition, _)| definition.name == job.stage);
        match stage {
            Some((_, run)) => run(job, reporter),
            None => Err(StageError {
                message: format!("there is no stage {} that needs {libraries}", job.stage),
                remedy: None,
                invalid_input: true,
                stopped: false,
            }),
        }
    };
    match std::panic::catch_unwind(|| serve(work)) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => 2,
        Err(_) => 1,
    }
}

/// A descriptor of the same stream that programs started from here do not inherit.
fn private_copy(stream: impl std::os::fd::AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(stream, 3)?)
}

/// Reads the runner's wishes until it is dead, and ends this process then.
fn hold(lifeline: impl BufRead, reporter: &Reporter) {
    for line in lifeline.split(b'\n').map_while(Result::ok) {
        if line == STOP {
            reporter.ask_to_stop();
        }
    }
    // Started by hand, it may be in the group of a shell's job, which is not its to end.
    let _ = if getpgrp() == getpid() {
        kill_process_group(getpgrp(), Signal::KILL)
    } else {
        kill_process(getpid(), Signal::KILL)
    };
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> StageError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "for an unknown reason".to_owned());
    StageError {
        message: format!("the stage broke off: {text}"),
        remedy: Some("this is a fault in fedact; the log says where".to_owned()),
        invalid_input: false,
        stopped: false,
    }
}
