//! What the system knows of processes: copies, ends, limits.

use std::io;

use crate::Death;

/// Which of the two processes a fork has returned in.
pub(crate) enum Fork {
    Copy,
    Original(libc::pid_t),
}

/// Copies this process, its calling thread alone.
///
/// # Safety
/// The copy must not need what other threads hold locked, and must not return to code that is not made for it.
pub(crate) unsafe fn fork() -> io::Result<Fork> {
    // SAFETY: by this function's contract.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Copy),
        pid => Ok(Fork::Original(pid)),
    }
}

/// The number of this process.
pub(crate) fn this() -> libc::pid_t {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Ends this process without anything that is done at the end of a program, which is the original's to do.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Has this process killed when its parent (or the thread that forked it) ends.
pub(crate) fn die_with(parent: libc::pid_t) {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        // It may have ended before that.
        if libc::getppid() != parent {
            exit(1);
        }
    }
}

/// Kills a child that may have ended already, and gives the status with which it did.
pub(crate) fn end(pid: libc::pid_t) -> i32 {
    // SAFETY: the child has not been waited for, so the number is its own.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait(pid)
}

/// Waits for the end of a child, and gives the status with which it ended.
pub(crate) fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is alive until the call returns.
    unsafe {
        while libc::waitpid(pid, &raw mut status, 0) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
    status
}

/// What a status says.
pub(crate) fn death(status: i32) -> Death {
    if libc::WIFSIGNALED(status) {
        Death::Signal(libc::WTERMSIG(status))
    } else {
        Death::Code(libc::WEXITSTATUS(status))
    }
}

/// Limits this process to so many bytes more than it has, and sees that it leaves no core behind and is the first to go
/// when the machine has no memory left.
pub(crate) fn limit(memory: Option<u64>) {
    let set = |resource, most| {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: the limit is alive until the call returns. A hard limit below is left as it is.
        unsafe { libc::setrlimit(resource, &raw const limit) };
    };
    set(libc::RLIMIT_CORE, 0);
    if let Some((memory, taken)) = memory.zip(data()) {
        set(libc::RLIMIT_DATA, taken.saturating_add(memory));
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// The bytes of this process that `RLIMIT_DATA` counts.
fn data() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The name of a signal by which work that goes wrong ends.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        _ => return None,
    })
}
