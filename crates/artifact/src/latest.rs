//! Which key a step used last: `stats/latest`, one line a use, the last line of a step counts.
//!
//! It answers for a thousand steps with one read. It may be deleted at any time: it is then made again
//! from the records, in the order in which they were made. That it can lag behind by a line (made again
//! while another process adds to it) costs an explanation its best old key, and no result anything.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::scratch::Scratch;
use crate::{ArtifactError, Digest, Store};

/// The name of its file in the folder of stats.
pub(crate) const LATEST: &str = "latest";
/// Lines for each step, on average, from which on the file is written anew.
const TOO_MANY: usize = 8;
/// A file of fewer lines is never written anew.
const FEW: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Line<Name> {
    step: Name,
    key: Digest,
}

impl Store {
    fn latest_file(&self) -> PathBuf {
        self.stats_folder().join(LATEST)
    }

    /// The key that each step used last. A key may have lost its record since; then
    /// [`Store::find_latest`] knows what is left.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn latest(&self) -> Result<HashMap<String, Digest>, ArtifactError> {
        let file = self.latest_file();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(ArtifactError::reading(file)(error));
            }
            Err(_) => return self.find_latest(),
        };
        // The line of a process that was killed may be cut off.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut latest = HashMap::new();
        let mut count = 0;
        for Line { step, key } in lines {
            latest.insert(step, key);
            count += 1;
        }
        if count < text.lines().count() || count > FEW.max(TOO_MANY * latest.len()) {
            self.write_latest(&latest);
        }
        Ok(latest)
    }

    /// The same from the records alone, and writes the file anew.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn find_latest(&self) -> Result<HashMap<String, Digest>, ArtifactError> {
        let mut latest: HashMap<String, (f64, Digest)> = HashMap::new();
        for action in self.actions()? {
            let action = action?;
            let made = action.provenance.recorded();
            let known = latest.get(&action.provenance.step);
            if known.is_none_or(|(before, _)| *before < made) {
                latest.insert(action.provenance.step, (made, action.key));
            }
        }
        let latest = latest
            .into_iter()
            .map(|(step, (_, key))| (step, key))
            .collect();
        self.write_latest(&latest);
        Ok(latest)
    }

    /// Takes note that a step used the result of a key.
    pub fn note_latest(&self, step: &str, key: &Digest) {
        let Ok(mut line) = serde_json::to_vec(&Line { step, key: *key }) else {
            return;
        };
        line.push(b'\n');
        // Not created here: a file with some of the steps only would hide the others.
        let file = OpenOptions::new().append(true).open(self.latest_file());
        // What cannot be noted is found in the records, once the file is gone or cannot be written to.
        if file.and_then(|mut file| file.write_all(&line)).is_err() {
            let _ = fs::remove_file(self.latest_file());
        }
    }

    /// It saves reading, and no more: what stands in the way is no failure.
    fn write_latest(&self, latest: &HashMap<String, Digest>) {
        let write = || -> Option<()> {
            let mut text = Vec::new();
            for (step, key) in latest {
                serde_json::to_writer(&mut text, &Line { step, key: *key }).ok()?;
                text.push(b'\n');
            }
            let scratch = Scratch::new(&self.tmp()).ok()?;
            let temporary = scratch.path().join("latest");
            fs::write(&temporary, text).ok()?;
            fs::rename(&temporary, self.latest_file()).ok()
        };
        let _ = write();
    }
}
