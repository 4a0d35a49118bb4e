//! The process that forks workers and buries them.
//!
//! It has one thread and never works itself, so that every worker is a clean copy, whatever threads do meanwhile in the
//! process that asks. Only it may wait for workers, and it does so when it is told to: until then the number of a dead
//! one belongs to nobody else, and killing it hits no stranger.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::Death;
use crate::descriptors::{keep_only, receive, send};
use crate::process::{self, Fork, fork};

/// Fork a worker that gets the open file which comes with this byte. Answered by its number, or the system's error,
/// negative.
const FORK: u8 = b'f';
/// Kill the worker whose number follows. Answered by how it had ended, or has ended now.
const BURY: u8 = b'b';

/// This process's end of a nursery. The nursery, and all workers with it, ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Nursery {
    pid: libc::pid_t,
    socket: UnixStream,
}

impl Nursery {
    pub(crate) fn start(
        memory: Option<u64>,
        serve: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> io::Result<Self> {
        let (socket, other) = UnixStream::pair()?;
        let parent = process::this();
        // SAFETY: the copy runs `run`, which never returns and uses nothing of other threads' but, perhaps, in `serve`,
        // for which the caller of the crew answers.
        match unsafe { fork()? } {
            Fork::Copy => run(&other, parent, memory, serve),
            Fork::Original(pid) => Ok(Self { pid, socket }),
        }
    }

    /// Forks a worker, which answers at `socket`. The outer error is the nursery's, the inner that of the fork.
    pub(crate) fn fork(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> io::Result<Result<libc::pid_t, io::Error>> {
        send(self.socket.as_fd(), FORK, socket)?;
        let pid = self.number()?;
        Ok(if pid < 0 {
            Err(io::Error::from_raw_os_error(-pid))
        } else {
            Ok(pid)
        })
    }

    /// Kills a worker that may have died already, and says how it ended.
    pub(crate) fn bury(&mut self, worker: libc::pid_t) -> io::Result<Death> {
        let mut message = vec![BURY];
        message.extend_from_slice(&worker.to_le_bytes());
        self.socket.write_all(&message)?;
        Ok(process::death(self.number()?))
    }

    fn number(&mut self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        self.socket.read_exact(&mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // It ends by itself, with its workers, so that what they took of the processor counts as this process's.
        if self.socket.shutdown(Shutdown::Both).is_ok() {
            process::wait(self.pid);
        } else {
            process::end(self.pid);
        }
    }
}

/// The life of the nursery.
fn run(
    socket: &UnixStream,
    parent: libc::pid_t,
    memory: Option<u64>,
    mut serve: impl FnMut(&[u8]) -> Vec<u8>,
) -> ! {
    process::die_with(parent);
    // SAFETY: this process has one thread, which uses no other file.
    let Ok(socket) = (unsafe { keep_only(socket.as_raw_fd()) }) else {
        process::exit(1);
    };
    let mut socket = UnixStream::from(socket);
    let nursery = process::this();
    let mut workers = Vec::new();
    while let Ok(Some((order, file))) = receive(socket.as_fd()) {
        let answer = match (order, file) {
            (FORK, Some(file)) => {
                // SAFETY: this process has one thread.
                match unsafe { fork() } {
                    Ok(Fork::Copy) => work(&file, nursery, memory, &mut serve),
                    Ok(Fork::Original(pid)) => {
                        workers.push(pid);
                        pid
                    }
                    Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
                }
            }
            (BURY, None) => {
                let mut worker = [0; 4];
                if socket.read_exact(&mut worker).is_err() {
                    break;
                }
                let worker = libc::pid_t::from_le_bytes(worker);
                workers.retain(|one| *one != worker);
                process::end(worker)
            }
            _ => break,
        };
        if socket.write_all(&answer.to_le_bytes()).is_err() {
            break;
        }
    }
    for worker in workers {
        process::end(worker);
    }
    process::exit(0)
}

/// The life of a worker.
fn work(
    file: &OwnedFd,
    nursery: libc::pid_t,
    memory: Option<u64>,
    serve: &mut impl FnMut(&[u8]) -> Vec<u8>,
) -> ! {
    process::die_with(nursery);
    // SAFETY: this process has one thread, which uses no other file.
    let Ok(socket) = (unsafe { keep_only(file.as_raw_fd()) }) else {
        process::exit(1);
    };
    process::limit(memory);
    let mut socket = UnixStream::from(socket);
    let answers = || -> io::Result<()> {
        while let Some(question) = crate::frame::read(&mut socket)? {
            crate::frame::write(&mut socket, &serve(&question))?;
        }
        Ok(())
    };
    // A panic has said on standard error what it is.
    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(answers));
    process::exit(if served.is_err() { 101 } else { 0 })
}
