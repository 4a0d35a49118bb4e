//! Places at which tests kill or fail the store, to prove that nothing half done is ever taken for
//! finished. Without tests (or the feature `fault-injection`) a place is nothing.

/// The places, in the order in which a publish and a materialise pass them.
#[cfg(any(test, feature = "fault-injection"))]
pub const POINTS: &[&str] = &[
    "publish: start",
    "publish: hashed",
    "pack: written",
    "pack: synced",
    "pack: renamed",
    "object: compressed",
    "object: before rename",
    "object: after rename",
    "publish: objects stored",
    "publish: objects synced",
    "manifest: written",
    "manifest: renamed",
    "action: written",
    "action: renamed",
    "publish: action stored",
    "publish: checkpoints removed",
    "materialize: start",
    "materialize: linked",
    "materialize: before swap",
    "materialize: after swap",
    "materialize: end",
];

/// What happens at an armed place.
#[cfg(any(test, feature = "fault-injection"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process gets SIGKILL.
    Kill,
    /// The disk is full.
    DiskFull,
}

#[cfg(any(test, feature = "fault-injection"))]
static ARMED: std::sync::Mutex<Option<(String, u32, Fault)>> = std::sync::Mutex::new(None);

/// Arms a place for the whole process: the fault happens when it is passed for the `nth` time (from 1).
#[cfg(any(test, feature = "fault-injection"))]
pub fn arm(point: &str, nth: u32, fault: Fault) {
    if let Ok(mut armed) = ARMED.lock() {
        *armed = Some((point.to_owned(), nth, fault));
    }
}

/// Disarms.
#[cfg(any(test, feature = "fault-injection"))]
pub fn disarm() {
    if let Ok(mut armed) = ARMED.lock() {
        *armed = None;
    }
}

#[cfg(any(test, feature = "fault-injection"))]
pub(crate) fn point(name: &'static str) -> std::io::Result<()> {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let Ok(mut armed) = ARMED.lock() else {
        return Ok(());
    };
    let Some((armed_name, countdown, fault)) = armed.as_mut() else {
        return Ok(());
    };
    if armed_name != name {
        return Ok(());
    }
    *countdown -= 1;
    if *countdown > 0 {
        return Ok(());
    }
    let fault = *fault;
    *armed = None;
    match fault {
        Fault::Kill => {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            // The signal may need a moment.
            loop {
                std::thread::park();
            }
        }
        Fault::DiskFull => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    }
}

#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}
