//! A remote as the place through which runs exchange results; set up when the first question is asked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fedact_artifact::{Action, ArtifactError, Digest, Store};
use fedact_pipeline::{Exchange, Fetching, Shared};
use fedact_remote::{Config, Entry, Remote, Uploader};

/// A remote that may never be needed: no connection, no thread, no TLS before it is.
pub(super) struct Lazy {
    config: Config,
    store: Store,
    /// `None` inside: it cannot be used, and a warning says why.
    remote: OnceLock<Option<Arc<Remote>>>,
    uploader: OnceLock<Option<Uploader>>,
    /// What it has claimed, with where the small files are.
    entries: Mutex<HashMap<Digest, Entry>>,
    /// What is to be said besides what the remote says itself.
    warnings: Mutex<Vec<String>>,
}

impl Lazy {
    pub(super) fn new(config: Config, store: Store) -> Self {
        Self {
            config,
            store,
            remote: OnceLock::new(),
            uploader: OnceLock::new(),
            entries: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    fn remote(&self) -> Option<&Arc<Remote>> {
        let open = || match Remote::open(self.config.clone()) {
            Ok(remote) => Some(Arc::new(remote)),
            Err(error) => {
                self.warn(format!("{error}; going on without it"));
                None
            }
        };
        self.remote.get_or_init(open).as_ref()
    }

    fn uploader(&self) -> Option<&Uploader> {
        let start = || {
            let remote = Arc::clone(self.remote()?);
            Uploader::start(remote, self.store.clone())
                .map_err(|error| self.warn(format!("cannot start a thread for uploads: {error}")))
                .ok()
        };
        self.uploader.get_or_init(start).as_ref()
    }

    fn warn(&self, text: String) {
        lock(&self.warnings).push(text);
    }
}

impl Exchange for Lazy {
    fn find(&self, key: &Digest) -> Option<Action> {
        let entry = self.remote()?.find(key)?;
        let action = entry.action.clone();
        lock(&self.entries).insert(*key, entry);
        Some(action)
    }

    fn fetch(
        &self,
        action: &Action,
        folder: &Path,
        progress: Fetching<'_>,
    ) -> Result<bool, ArtifactError> {
        let entry = lock(&self.entries).get(&action.key).cloned();
        match (self.remote(), entry) {
            (Some(remote), Some(entry)) => Ok(remote.fetch(&entry, folder, progress)?.is_some()),
            _ => Ok(false),
        }
    }

    fn share(&self, action: &Action) {
        if self.config.write
            && let Some(uploader) = self.uploader()
        {
            uploader.share(action);
        }
    }

    fn shared(&self) -> Shared {
        // Not started by being asked.
        match self.uploader.get() {
            Some(Some(uploader)) => Shared {
                sent: uploader.sent(),
                waiting: uploader.waiting(),
            },
            _ => Shared::default(),
        }
    }

    fn take_warnings(&self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut *lock(&self.warnings));
        if let Some(Some(remote)) = self.remote.get() {
            warnings.extend(remote.take_warnings());
        }
        warnings
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
