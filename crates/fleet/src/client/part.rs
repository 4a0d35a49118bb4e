//! Which run a device takes part in, over restarts of its process: one that is over is left once.
//!
//! The orders of a run that is over stay on the server until the next one begins. A device that had a part in it is told by them that
//! it may go; one that comes later waits for the next run.

use std::path::{Path, PathBuf};

use crate::{FleetError, files};

/// The file `run` of a device's folder: the number of the run that it has seen under way and not seen ending.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    run: Option<u64>,
}

impl Part {
    pub fn open(folder: &Path) -> Result<Self, FleetError> {
        let path = folder.join("run");
        let text = files::read_if_there(&path)?;
        let run = text.and_then(|bytes| {
            let text = String::from_utf8(bytes).ok()?;
            u64::from_str_radix(text.trim(), 16).ok()
        });
        Ok(Self { path, run })
    }

    /// Whether the device has a part in this run.
    pub fn is_in(&self, run: u64) -> bool {
        self.run == Some(run)
    }

    /// The device has seen this run under way.
    pub fn begin(&mut self, run: u64) -> Result<(), FleetError> {
        if self.run != Some(run) {
            let text = format!("{run:016x}");
            files::write(&self.path, &[text.as_bytes()], files::Lasting::Derived)?;
            self.run = Some(run);
        }
        Ok(())
    }

    /// The device leaves its run, which is over.
    pub fn end(&mut self) -> Result<(), FleetError> {
        self.run = None;
        files::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_left_once_and_known_until_then_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Part::open(folder.path()).unwrap();
        assert!(!open().is_in(7));
        open().begin(7).unwrap();
        assert!(open().is_in(7));
        assert!(!open().is_in(8));
        let mut part = open();
        part.begin(8).unwrap();
        assert!(open().is_in(8));
        part.end().unwrap();
        assert!(!part.is_in(8) && !open().is_in(8));
        // What a loss of power may leave is no run.
        std::fs::write(folder.path().join("run"), [0; 16]).unwrap();
        assert!(!open().is_in(0));
    }
}
