//! What the system tells of this process.

/// Milliseconds that processors have worked for this process, all threads together, and how often the system had to give it
/// a page of memory.
pub fn used() -> (f64, f64) {
    // SAFETY: zeros are a valid structure, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let milliseconds = |time: libc::timeval| 1e3 * time.tv_sec as f64 + 1e-3 * time.tv_usec as f64;
    let worked = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
    (worked, usage.ru_minflt as f64)
}

/// The most memory that this process has had, as Linux tells it.
pub fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
