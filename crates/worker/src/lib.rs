//! Work in child processes that may crash or never return: forked, watched, replaced.
//!
//! A [`Crew`] answers questions in workers, which are copies of this process. One that crashes takes the answer to its
//! question with it and nothing else; one that takes too long is killed. The next question finds another.

mod descriptors;
mod frame;
mod nursery;
mod process;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::nursery::Nursery;

/// How a worker ended before it gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// A signal ended it, as a crash does.
    Signal(i32),
    /// It ended itself with this code; 101 after a panic, whose words are on standard error.
    Code(i32),
    /// Its time was over, and it was killed.
    Overdue,
    /// Its answer made no sense, as that of a worker may which is damaged and does not know; it was killed.
    Nonsense,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => match process::signal_name(*signal) {
                Some(name) => write!(f, "it was ended by signal {signal} ({name})"),
                None => write!(f, "it was ended by signal {signal}"),
            },
            Self::Code(code) => write!(f, "it ended itself with code {code}"),
            Self::Overdue => write!(f, "it was killed because its time was over"),
            Self::Nonsense => write!(f, "it was killed because its answer made no sense"),
        }
    }
}

/// Why there is neither an answer nor a death.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The system gives no process or no socket.
    #[error("cannot start a process for the work")]
    Start(#[source] io::Error),
    /// The process that starts workers is gone.
    #[error("the process that starts workers has died")]
    Nursery(#[source] io::Error),
}

/// Answers questions in workers.
#[derive(Debug)]
pub struct Crew {
    nursery: Mutex<Nursery>,
    idle: Mutex<Vec<Worker>>,
}

/// A worker that waits for a question.
#[derive(Debug)]
struct Worker {
    pid: libc::pid_t,
    socket: UnixStream,
}

impl Crew {
    /// Starts a crew whose workers answer a question by `serve`, and each have at most `memory` bytes beyond what
    /// they are forked with. A worker is replaced by a copy of this process as it is now.
    ///
    /// Of a process with several threads only the calling one is copied: `serve` must not need what another may hold
    /// locked at this moment (the allocator excepted, which is looked after). So a crew is started before the threads are.
    /// When the calling thread ends, so do the workers.
    ///
    /// # Errors
    /// The system gives no process or no socket.
    pub fn start(
        memory: Option<u64>,
        serve: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Result<Self, WorkerError> {
        let nursery = Nursery::start(memory, serve).map_err(WorkerError::Start)?;
        Ok(Self {
            nursery: Mutex::new(nursery),
            idle: Mutex::default(),
        })
    }

    /// The answer to a question as `understand` reads it, or how the worker died over it. Never waits longer than
    /// `limit`, but for a moment.
    ///
    /// # Errors
    /// There can be no worker.
    pub fn ask<A>(
        &self,
        question: &[u8],
        limit: Duration,
        understand: impl FnOnce(Vec<u8>) -> Option<A>,
    ) -> Result<Result<A, Death>, WorkerError> {
        let idle = self.idle().pop();
        let worker = match idle {
            Some(worker) => worker,
            None => self.new_worker()?,
        };
        self.ask_worker(worker, question, limit, understand)
    }

    /// The same by a worker that has answered nothing before: where one died, that may have been the fault of what it
    /// did earlier.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_anew<A>(
        &self,
        question: &[u8],
        limit: Duration,
        understand: impl FnOnce(Vec<u8>) -> Option<A>,
    ) -> Result<Result<A, Death>, WorkerError> {
        let worker = self.new_worker()?;
        self.ask_worker(worker, question, limit, understand)
    }

    fn ask_worker<A>(
        &self,
        mut worker: Worker,
        question: &[u8],
        limit: Duration,
        understand: impl FnOnce(Vec<u8>) -> Option<A>,
    ) -> Result<Result<A, Death>, WorkerError> {
        let deadline = Instant::now() + limit;
        let (pid, answer) = (
            worker.pid,
            frame::exchange(&mut worker.socket, question, deadline),
        );
        let bury = || {
            let mut nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
            nursery.bury(pid).map_err(WorkerError::Nursery)
        };
        let error = match answer.map(understand) {
            Ok(Some(answer)) => {
                self.idle().push(worker);
                return Ok(Ok(answer));
            }
            Ok(None) => {
                bury()?;
                return Ok(Err(Death::Nonsense));
            }
            Err(error) => error,
        };
        let death = bury()?;
        let overdue = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        );
        Ok(Err(if overdue { Death::Overdue } else { death }))
    }

    fn new_worker(&self) -> Result<Worker, WorkerError> {
        let (socket, other) = UnixStream::pair().map_err(WorkerError::Start)?;
        let mut nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
        match nursery.fork(other.as_fd()).map_err(WorkerError::Nursery)? {
            Ok(pid) => Ok(Worker { pid, socket }),
            Err(error) => Err(WorkerError::Start(error)),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
