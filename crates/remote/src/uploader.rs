//! Results on their way out beside the run: a queue and a thread, so that no step ever waits for a remote.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use fedact_artifact::{Action, Store};

use crate::{Remote, Shared};

/// So many results may wait; one more is not shared by this run.
const QUEUE: usize = 1024;
/// How often a waiter looks.
const PULSE: Duration = Duration::from_millis(20);

/// Brings results to a remote, one after the other, on a thread of its own.
#[derive(Debug)]
pub struct Uploader {
    remote: Arc<Remote>,
    queue: Option<SyncSender<Action>>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    sent: AtomicUsize,
    abandoned: AtomicBool,
    /// The thread has ended: nothing is on its way any more.
    ended: AtomicBool,
}

/// What became of all that was to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploads {
    /// Results that the remote did not have and has now.
    pub sent: usize,
    /// Results that were left behind when time was up, or the user asked to stop.
    pub left: usize,
}

impl Uploader {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(remote: Arc<Remote>, store: Store) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE);
        let tally = Arc::new(Tally::default());
        let worker = Worker {
            remote: Arc::clone(&remote),
            store,
            tally: Arc::clone(&tally),
        };
        std::thread::Builder::new()
            .name("uploads".to_owned())
            .spawn(move || worker.work(&inbox))?;
        Ok(Self {
            remote,
            queue: Some(queue),
            tally,
        })
    }

    /// Takes note of a result that is to be shared, and returns at once.
    pub fn share(&self, action: &Action) {
        let Some(queue) = &self.queue else {
            return;
        };
        if !self.remote.takes() {
            return;
        }
        self.tally.waiting.fetch_add(1, Ordering::SeqCst);
        match queue.try_send(action.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.tally.waiting.fetch_sub(1, Ordering::SeqCst);
                self.remote.health.warn(format!(
                    "the remote {} is slower than the run: step {} is not shared",
                    self.remote.place(),
                    action.provenance.step
                ));
            }
        }
    }

    /// How many results the remote did not have and has now.
    pub fn sent(&self) -> usize {
        self.tally.sent.load(Ordering::SeqCst)
    }

    /// How many results are still on their way.
    pub fn waiting(&self) -> usize {
        if self.tally.ended.load(Ordering::SeqCst) {
            return 0;
        }
        self.tally.waiting.load(Ordering::SeqCst)
    }

    /// Waits until all is shared, time is up, or `stop` says so; what is left then stays local.
    pub fn finish(mut self, limit: Duration, stop: impl Fn() -> bool) -> Uploads {
        drop(self.queue.take());
        let began = Instant::now();
        while self.waiting() > 0 && began.elapsed() < limit && !stop() {
            std::thread::sleep(PULSE);
        }
        let left = self.waiting();
        self.tally.abandoned.store(true, Ordering::SeqCst);
        Uploads {
            sent: self.sent(),
            left,
        }
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.tally.abandoned.store(true, Ordering::SeqCst);
    }
}

struct Worker {
    remote: Arc<Remote>,
    store: Store,
    tally: Arc<Tally>,
}

impl Drop for Worker {
    /// Also where the thread broke off: whoever waits for it must not wait for ever.
    fn drop(&mut self) {
        self.tally.ended.store(true, Ordering::SeqCst);
    }
}

impl Worker {
    fn work(self, inbox: &Receiver<Action>) {
        for action in inbox {
            if self.tally.abandoned.load(Ordering::SeqCst) {
                return;
            }
            if let Shared::Sent { .. } = self.remote.share(&self.store, &action) {
                self.tally.sent.fetch_add(1, Ordering::SeqCst);
            }
            self.tally.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
