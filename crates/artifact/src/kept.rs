//! Results that a person keeps: `kept/<key>.json`, until the person lets them go.
//!
//! The name of the file is what counts. No collection takes such a result, nor the results that it was made
//! from, as far back as the records tell. What is in the file says who wanted that, and why.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::lock::host_name;
use crate::objects::{read_folder, sync_folder};
use crate::scratch::Scratch;
use crate::{Action, ArtifactError, Digest, Store};

/// A result that a person keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its key.
    pub key: Digest,
    /// The step by whose name it was asked for; empty where the file cannot be read.
    pub step: String,
    /// Since when, in seconds since 1970 (UTC).
    pub at: f64,
    /// The machine on which that was said.
    pub host: String,
    /// Why, in the person's words.
    pub because: Option<String>,
}

impl Kept {
    /// From now on, said on this machine.
    pub fn now(key: Digest, step: impl Into<String>, because: Option<String>) -> Self {
        Self {
            key,
            step: step.into(),
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            host: host_name(),
            because,
        }
    }

    /// What is left of one whose file cannot be read.
    fn unknown(key: Digest) -> Self {
        Self {
            key,
            step: String::new(),
            at: 0.0,
            host: String::new(),
            because: None,
        }
    }
}

impl Store {
    pub(crate) fn kept_folder(&self) -> PathBuf {
        self.root().join("kept")
    }

    fn kept_file(&self, key: &Digest) -> PathBuf {
        self.kept_folder().join(format!("{key}.json"))
    }

    /// Keeps the result of a key; one that is kept already is kept for the new reason. `false`: the store does not
    /// have it whole, and keeps nothing.
    ///
    /// # Errors
    /// The store cannot be read or written to.
    pub fn keep(&self, kept: &Kept) -> Result<bool, ArtifactError> {
        let scratch = Scratch::new(&self.tmp())?;
        // A collector has deleted the result before the look at it, or sees the file.
        let _shared = self.share_with_collector()?;
        if self.lookup(&kept.key)?.is_none() {
            return Ok(false);
        }
        let file = self.kept_file(&kept.key);
        let temporary = scratch.path().join("kept.json");
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec(kept)?;
            text.push(b'\n');
            let mut open = fs::File::create(&temporary)?;
            open.write_all(&text)?;
            open.sync_all()?;
            fs::rename(&temporary, &file)
        };
        write().map_err(ArtifactError::writing(&file))?;
        sync_folder(&self.kept_folder())?;
        Ok(true)
    }

    /// Lets the result of a key go: the next collection may take it. `false`: it was not kept.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn let_go(&self, key: &Digest) -> Result<bool, ArtifactError> {
        let file = self.kept_file(key);
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ArtifactError::writing(file)(error)),
        }
    }

    /// The results that are kept, in the order of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn kept(&self) -> Result<Vec<Kept>, ArtifactError> {
        let files = read_folder(&self.kept_folder())?;
        Ok(files
            .iter()
            .filter_map(|file| {
                let key = Action::key_of_file(file)?;
                let read = || serde_json::from_slice::<Kept>(&fs::read(file).ok()?).ok();
                let said = read().filter(|kept| kept.key == key);
                Some(said.unwrap_or_else(|| Kept::unknown(key)))
            })
            .collect())
    }
}
