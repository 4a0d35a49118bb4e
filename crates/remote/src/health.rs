//! When to stop asking: a remote that failed once for a lasting reason is left alone, and one line says so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::RemoteError;

/// What is still expected of a remote, and what is to be said about it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    no_reading: AtomicBool,
    no_writing: AtomicBool,
    lied: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

impl Health {
    pub(crate) fn readable(&self) -> bool {
        !self.no_reading.load(Ordering::Relaxed)
    }

    pub(crate) fn writable(&self) -> bool {
        !self.no_writing.load(Ordering::Relaxed)
    }

    /// Takes note of a failure to read.
    pub(crate) fn reading_failed(&self, error: &RemoteError) {
        if error.lasting() {
            let first = !self.no_reading.swap(true, Ordering::Relaxed);
            // A server that is gone is gone for both; its second failure is no news.
            let gone = !matches!(error, RemoteError::Denied { .. })
                && self.no_writing.swap(true, Ordering::Relaxed);
            if first && !gone {
                self.warn(format!("{error}; going on without it"));
            }
        } else if !self.lied.swap(true, Ordering::Relaxed) {
            self.warn(format!(
                "{error}; this counts as a miss, and so does all else that is wrong there"
            ));
        }
    }

    /// Takes note of a failure to write.
    pub(crate) fn writing_failed(&self, error: &RemoteError) {
        let first = !self.no_writing.swap(true, Ordering::Relaxed);
        let gone = matches!(
            error,
            RemoteError::Unreachable { .. } | RemoteError::TooSlow { .. }
        ) && self.no_reading.swap(true, Ordering::Relaxed);
        if first && !gone {
            self.warn(format!("{error}; what this run makes is not shared"));
        }
    }

    pub(crate) fn warn(&self, text: String) {
        if let Ok(mut warnings) = self.warnings.lock() {
            warnings.push(text);
        }
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .map(|mut warnings| std::mem::take(&mut *warnings))
            .unwrap_or_default()
    }
}
