//! The processes of steps: this very program, as `fedact execute`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use fedact_pipeline::{Launcher, child};
use fedact_stage::{Definition, Job, Library, Metrics, Reporter, StageError};

use crate::exit::{Code, Refusal};
use crate::registry;

/// glibc's allocator gives large blocks back to the system as soon as they are free, and a training step
/// asks for the same ones again a moment later; each time the system clears them anew. These settings
/// let it keep them.
const KEEP_MEMORY: &str = "glibc.malloc.mmap_threshold=33554432:\
                           glibc.malloc.trim_threshold=1073741824:\
                           glibc.malloc.top_pad=67108864";

/// How to start a stage: this program again, with the environment that its libraries should find.
///
/// # Errors
/// The system does not say where this program lies.
pub fn launcher() -> Result<Launcher, Refusal> {
    let program = std::env::current_exe()
        .map_err(|error| Refusal::failed("find the program of this process", &error))?;
    Ok(Arc::new(move |definition: &Definition, threads: usize| {
        // Not by its path: a build in another terminal would put other code there, and results would
        // be stored under the digest of this one.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(&program)
            .arg("execute")
            // The waiting policy is the user's: OpenMP's default spins for a moment, which two
            // threads of a small network gain much from (60 against 36 clips a second); on cores
            // with other work, OMP_WAIT_POLICY=PASSIVE is better.
            .env("OMP_NUM_THREADS", threads.to_string());
        if definition.libraries.contains(&Library::Libtorch) {
            command.env("GLIBC_TUNABLES", KEEP_MEMORY);
        }
        command
    }))
}

/// `fedact execute`: serves the job on standard input.
///
/// # Errors
/// Standard input holds no job: it was started by hand.
pub fn execute() -> Result<Code, Refusal> {
    match child::serve(work) {
        Ok(0) => Ok(Code::Done),
        Ok(_) => Ok(Code::Failed),
        Err(error) => Err(Refusal::new(
            Code::Usage,
            format!("there is no job on standard input: {error}"),
            "`fedact run` starts this by itself; run one stage with `fedact STAGE`, as in \
             `fedact extract`",
        )),
    }
}

fn work(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let Some(run) = registry::work_of(&job.stage) else {
        return Err(StageError {
            message: format!("there is no stage {}", job.stage),
            remedy: None,
            invalid_input: true,
            stopped: false,
        });
    };
    run(job, reporter)
}
