//! What the file system tells of a file without reading it, and the racy rule.
//!
//! A digest found earlier is believed while path, size, modification time, change time and inode are all as
//! they were, and (git's racy rule) only if both times lay before the moment at which the file was read: a
//! file changed twice within one tick of the clock looks the same the second time. Where the moment was taken
//! on another clock than the file's, they must lie before it by more than a tick.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Longer than a tick of any file system with sub-second times (Linux: 1 to 10 ms).
pub(crate) const FINE_TICK_NS: i64 = 25_000_000;
/// Of file systems that keep whole seconds; FAT keeps every second one.
const COARSE_TICK_NS: i64 = 2_000_000_000;

/// What must be as it was for a cached digest to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
    pub(crate) changed_ns: i64,
    pub(crate) inode: u64,
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// The same from the system's own struct, whose fields differ in width between systems.
    #[allow(clippy::unnecessary_cast, reason = "not unnecessary everywhere")]
    pub(crate) fn of_raw(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: stat.st_size as u64,
            modified_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            inode: stat.st_ino as u64,
        }
    }

    /// The moment of its last change.
    pub(crate) fn latest_ns(&self) -> i64 {
        self.modified_ns.max(self.changed_ns)
    }

    /// The moment from which on a change of the file is certain to show, on any clock that shows the same time.
    pub(crate) fn settled_ns(&self) -> i64 {
        let whole_seconds =
            self.modified_ns % 1_000_000_000 == 0 && self.changed_ns % 1_000_000_000 == 0;
        let tick = if whole_seconds {
            COARSE_TICK_NS
        } else {
            FINE_TICK_NS
        };
        self.latest_ns().saturating_add(tick)
    }
}

/// The present moment on the clock of the file system that holds `folder`, which need not be this
/// machine's (network drives): the modification time of a file made just now.
pub(crate) fn file_system_now_ns(folder: &Path) -> std::io::Result<i64> {
    let file = tempfile::tempfile_in(folder)?;
    Ok(Stat::of(&file.metadata()?).modified_ns)
}

/// Waits until the clock of the file system that holds `folder` has passed a moment on that clock: whatever is
/// changed there from then on gets later times. Returns whether it has; clocks that were set back, and those
/// that show whole seconds, are not waited for.
pub(crate) fn wait_until_past(moment_ns: i64, folder: &Path) -> bool {
    for _ in 0..50 {
        match file_system_now_ns(folder) {
            Ok(now) if now > moment_ns => return true,
            Ok(_) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return false,
        }
    }
    false
}
