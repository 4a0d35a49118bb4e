//! The processes of steps: this very program, as `fedact execute`, with the library that does the work.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clap::Args;
use fedact_pipeline::{Launcher, child};
use fedact_stage::{Definition, Input, Job, Library, StageError};
use serde_json::Value;

use crate::exit::{Code, Refusal};
use crate::work::{self, Work};

/// glibc's allocator gives large blocks back to the system as soon as they are free, and a training step
/// asks for the same ones again a moment later; each time the system clears them anew. These settings
/// let it keep them, where it is the allocator.
const KEEP_MEMORY: &str = "glibc.malloc.mmap_threshold=33554432:\
                           glibc.malloc.trim_threshold=1073741824:\
                           glibc.malloc.top_pad=67108864";

/// The same wish in the words of the allocator that is preloaded: milliseconds after which it gives memory back, or never.
const NEVER_PURGE: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "-1");

/// What the dynamic linker loads before everything else.
const PRELOAD: &str = "LD_PRELOAD";

/// `fedact execute`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The open file of the library that does the work.
    library: RawFd,
}

/// How to start a stage: this program again, with the environment that its libraries should find.
///
/// # Errors
/// The system does not say where this program lies, or the library is not there.
pub fn launcher() -> Result<Launcher, Refusal> {
    let program = std::env::current_exe()
        .map_err(|error| Refusal::failed("find the program of this process", &error))?;
    let work = Work::find()?;
    let libraries = work.hand_down().map_err(|error| {
        Refusal::failed(
            "hand the libraries of the stages to their processes",
            &error,
        )
    })?;
    Ok(Arc::new(move |definition: &Definition, threads: usize| {
        // They stay open as long as steps are started.
        let _open = &work;
        // Not by their paths: a build in another terminal would put other code there, and results would
        // be stored under the digest of this one.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(&program)
            .arg("execute")
            .arg(libraries.of(definition).to_string())
            // The waiting policy is the user's: OpenMP's default spins for a moment, which two
            // threads of a small network gain much from (60 against 36 clips a second); on cores
            // with other work, OMP_WAIT_POLICY=PASSIVE is better.
            .env("OMP_NUM_THREADS", threads.to_string());
        if definition.libraries.contains(&Library::Libtorch) {
            command.env("GLIBC_TUNABLES", KEEP_MEMORY);
            if std::env::var_os(NEVER_PURGE.0).is_none() {
                command.env(NEVER_PURGE.0, NEVER_PURGE.1);
            }
        }
        // Whoever preloads something has reasons, and may bring an allocator along.
        if let Some(allocator) = libraries.allocator_of(definition)
            && std::env::var_os(PRELOAD).is_none()
        {
            command.env(PRELOAD, format!("/proc/self/fd/{allocator}"));
        }
        command
    }))
}

/// A job that is part of a command, in a folder that is emptied for it; its output is to be in a folder there.
///
/// # Errors
/// The folder cannot be emptied or made.
pub fn errand(
    definition: &Definition,
    params: Value,
    inputs: BTreeMap<String, Vec<Input>>,
    place: &Path,
    threads: usize,
) -> io::Result<Job> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let job = Job {
        stage: definition.name.to_owned(),
        step: definition.name.to_owned(),
        params,
        inputs,
        output: place.join("output"),
        checkpoints: place.join("checkpoints"),
        pieces: None,
        threads,
        fleet: None,
    };
    for folder in [&job.output, &job.checkpoints] {
        std::fs::create_dir_all(folder)?;
    }
    Ok(job)
}

/// `fedact execute`: serves the job on standard input.
///
/// # Errors
/// Standard input holds no job: it was started by hand.
pub fn execute(arguments: &Arguments) -> Result<Code, Refusal> {
    let path = format!("/proc/self/fd/{}", arguments.library);
    let code = match work::Library::load(Path::new(&path)) {
        Ok(library) => library.serve(),
        // The runner hears it as the failure of the step.
        Err(unusable) => child::serve(|_, _| {
            Err(StageError {
                message: unusable.message,
                remedy: Some(unusable.remedy.to_owned()),
                invalid_input: false,
                stopped: false,
            })
        })
        .map_or(2, i32::from),
    };
    match code {
        0 => Ok(Code::Done),
        1 => Ok(Code::Failed),
        _ => Err(Refusal::new(
            Code::Usage,
            "there is no job on standard input",
            "`fedact run` starts this by itself; run one stage with `fedact STAGE`, as in \
             `fedact extract`",
        )),
    }
}
