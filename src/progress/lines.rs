//! Plain lines, for logs: each step says where it is every second and a half.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Change, Tracked};
use crate::output;

/// How often a line comes for each thing that is going on.
const INTERVAL: Duration = Duration::from_millis(1500);

/// What is going on, by name.
type Going = Arc<Mutex<BTreeMap<String, Tracked>>>;

/// Writes lines until dropped.
pub struct Lines {
    going: Going,
    end: Option<Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Lines {
    pub(super) fn new() -> Self {
        let going = Going::default();
        let (end, ended) = channel::<()>();
        let seen = Arc::clone(&going);
        let writer = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    output::aside(&report(&seen));
                }
            })
            .ok();
        Self {
            going,
            end: Some(end),
            writer,
        }
    }

    pub(super) fn change(&mut self, name: &str, change: Change<'_>) {
        let mut going = lock(&self.going);
        match change {
            Change::Begin => {
                going.insert(name.to_owned(), Tracked::new());
            }
            Change::Advance { .. } => going
                .entry(name.to_owned())
                .or_insert_with(Tracked::new)
                .change(&change),
            Change::End => {
                going.remove(name);
            }
            Change::EndAll => going.clear(),
        }
    }

    pub(super) fn say(&self, text: &str) {
        // Under the lock, so that no line comes into the middle of this one.
        let _going = lock(&self.going);
        output::aside(text);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn report(going: &Going) -> String {
    lock(going)
        .iter()
        .map(|(name, tracked)| format!("{name}: {}\n", tracked.words()))
        .collect()
}

fn lock(going: &Going) -> MutexGuard<'_, BTreeMap<String, Tracked>> {
    going.lock().unwrap_or_else(PoisonError::into_inner)
}
