//! The store: where everything lies, opening it, looking keys up.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cache::{self, StatCache};
use crate::lock::{self, Attempt, CollectLock, KeyLock, LockFile, LockOwner};
use crate::objects::{Damage, Objects, read_folder};
use crate::scan;
use crate::scratch::{self, Scratch};
use crate::stat;
use crate::walk::{self, Links};
use crate::{Action, ArtifactError, Digest, Manifest};

/// The layout of the store that this crate reads and writes; in the file `version`.
pub const STORE_VERSION: u32 = 2;

/// The store of artifacts; see the crate's documentation for what lies where.
///
/// Cheap to clone; usable from many threads and many processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    pub(crate) objects: Objects,
}

/// What the store knows of a key.
#[derive(Debug)]
pub enum Lookup {
    /// A result, whole.
    Hit(Box<Action>),
    /// Nothing.
    Absent,
    /// A result whose objects are gone or damaged: as good as nothing, but worth a word.
    Damaged {
        /// The record.
        action: Box<Action>,
        /// What is wrong with its objects.
        damage: Vec<Damage>,
    },
    /// A record that cannot be read: as good as nothing, but worth a word.
    Unreadable {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderDigest {
    /// Digest of its manifest ([`Store::manifest`]).
    pub digest: Digest,
    /// How many files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl FolderDigest {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            digest: manifest.digest(),
            files: manifest.file_count() as u64,
            bytes: manifest.total_size(),
        }
    }
}

impl Store {
    /// Opens the store at `root`, or makes one there; sweeps what killed processes left behind.
    ///
    /// # Errors
    /// A store of another version, a folder that is no store, one that cannot be written to. A full disk is
    /// none: it can be looked at, and collected.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, ArtifactError> {
        let root = root.as_ref();
        fs::create_dir_all(root).map_err(ArtifactError::writing(root))?;
        let root = root.canonicalize().map_err(ArtifactError::reading(root))?;
        let store = Self {
            objects: Objects::new(root.join("objects")),
            root,
        };
        store.check_version()?;
        for folder in [
            store.objects.root().to_owned(),
            store.packs_folder(),
            store.manifests_folder(),
            store.actions_folder(),
            store.checkpoints_folder(),
            store.pieces_folder(),
            store.locks_folder(),
            store.pins_folder(),
            store.kept_folder(),
            store.stats_folder(),
            store.tmp(),
        ] {
            forgive_full_disk(
                fs::create_dir_all(&folder).map_err(ArtifactError::writing(&folder)),
            )?;
        }
        forgive_full_disk(scratch::sweep(&store.tmp()).map(drop))?;
        store.sweep_checkpoints()?;
        // Creating folders that are there succeeds on a read-only disk, too.
        forgive_full_disk(Scratch::new(&store.tmp()).map(drop))?;
        Ok(store)
    }

    /// Removes the checkpoints of results that are finished: of publishers that were killed at their last step.
    /// What is newer than the result belongs to an attempt to make it again.
    fn sweep_checkpoints(&self) -> Result<(), ArtifactError> {
        for folder in read_folder(&self.checkpoints_folder())? {
            let name = folder.file_name().and_then(|name| name.to_str());
            let Some(key) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            let modified =
                |path: &Path| fs::symlink_metadata(path).and_then(|found| found.modified());
            let Ok(finished) = modified(&self.action_file(&key)) else {
                continue;
            };
            let over = newest(&folder).is_ok_and(|newest| newest <= finished);
            if over && let Ok(Attempt::Locked(_lock)) = self.try_lock(&key) {
                // What cannot go now goes later.
                let _ = fs::remove_dir_all(&folder);
            }
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), ArtifactError> {
        let file = self.root.join("version");
        match fs::read_to_string(&file) {
            Ok(text) if text.trim() == STORE_VERSION.to_string() => Ok(()),
            Ok(text) => Err(ArtifactError::OtherVersion {
                root: self.root.clone(),
                found: text.trim().chars().take(40).collect(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let found = read_folder(&self.root)?.into_iter().find(|path| {
                    // What a process that is making this very store at this moment may have put there.
                    path.file_name()
                        .is_some_and(|name| !name.as_encoded_bytes().starts_with(b".version-"))
                });
                if let Some(found) = found
                    && !file.exists()
                {
                    return Err(ArtifactError::NotAStore {
                        root: self.root.clone(),
                        found: found
                            .file_name()
                            .unwrap_or_default()
                            .to_string_lossy()
                            .into_owned(),
                    });
                }
                // A name of its own: threads of one process may make the store at once, too.
                tempfile::Builder::new()
                    .prefix(".version-")
                    .permissions(fs::Permissions::from_mode(0o666))
                    .tempfile_in(&self.root)
                    .and_then(|mut fresh| {
                        writeln!(fresh, "{STORE_VERSION}")?;
                        fresh.persist(&file).map_err(|error| error.error)
                    })
                    .map(drop)
                    .map_err(ArtifactError::writing(&file))
            }
            Err(error) => Err(ArtifactError::reading(file)(error)),
        }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn actions_folder(&self) -> PathBuf {
        self.root.join("actions")
    }

    pub(crate) fn action_file(&self, key: &Digest) -> PathBuf {
        self.actions_folder().join(format!("{key}.json"))
    }

    pub(crate) fn checkpoints_folder(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(crate) fn locks_folder(&self) -> PathBuf {
        self.root.join("locks")
    }

    fn lock_file(&self, key: &Digest) -> PathBuf {
        self.locks_folder().join(format!("{key}.lock"))
    }

    pub(crate) fn pins_folder(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub(crate) fn stats_folder(&self) -> PathBuf {
        self.root.join("stats")
    }

    pub(crate) fn logs_folder(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where the process of a step that makes the result of a key writes its standard error.
    pub fn log_file(&self, step: &str, key: &Digest) -> PathBuf {
        self.logs_folder()
            .join(format!("{step}-{}.log", key.short()))
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn collect_file(&self) -> PathBuf {
        self.locks_folder().join("collect")
    }

    /// Keeps the collector from deleting while something is being added.
    pub(crate) fn share_with_collector(&self) -> Result<CollectLock, ArtifactError> {
        CollectLock::shared(&self.collect_file())
    }

    /// Keeps everybody from adding while something is deleted.
    pub(crate) fn exclude_publishers(&self) -> Result<CollectLock, ArtifactError> {
        CollectLock::exclusive(&self.collect_file())
    }

    /// Waits for the right to work on a key; `on_wait` hears for whom, at once and whenever that
    /// changes. The lock frees itself when its holder drops it or dies.
    ///
    /// # Errors
    /// A file system without locks, or one that cannot be written to.
    pub fn lock(
        &self,
        key: &Digest,
        on_wait: impl FnMut(&LockOwner),
    ) -> Result<KeyLock, ArtifactError> {
        lock::lock_key(&self.lock_file(key), key, on_wait)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`Store::lock`].
    pub fn try_lock(&self, key: &Digest) -> Result<Attempt, ArtifactError> {
        lock::try_lock_key(&self.lock_file(key), key)
    }

    /// Who is working on a key just now.
    pub fn owner(&self, key: &Digest) -> Option<LockOwner> {
        LockFile::holder(&self.lock_file(key))
    }

    /// Whether a run of this key was cut off after it had kept something.
    pub fn has_checkpoints(&self, key: &Digest) -> bool {
        let folder = self.checkpoints_folder().join(key.to_string());
        read_folder(&folder).is_ok_and(|inside| !inside.is_empty())
    }

    /// The result of a key, if the store has it whole. A record that is damaged, or whose objects
    /// are, is a miss.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn lookup(&self, key: &Digest) -> Result<Option<Action>, ArtifactError> {
        Ok(match self.find(key)? {
            Lookup::Hit(action) => Some(*action),
            _ => None,
        })
    }

    /// Like [`Store::lookup`], and says why there is a miss.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn find(&self, key: &Digest) -> Result<Lookup, ArtifactError> {
        let action = match self.read_action(key)? {
            Lookup::Hit(action) => action,
            other => return Ok(other),
        };
        if self.is_known_whole(&action.output) {
            return Ok(Lookup::Hit(action));
        }
        match self.whole(&action.output) {
            Ok(_) => Ok(Lookup::Hit(action)),
            Err(ArtifactError::Unavailable { damage }) => Ok(Lookup::Damaged { action, damage }),
            Err(error) => Err(error),
        }
    }

    /// The manifest of an output that is there whole.
    pub(crate) fn whole(&self, output: &Digest) -> Result<Manifest, ArtifactError> {
        let damage = match self.read_manifest(output)? {
            Ok(manifest) => {
                let damage = self.check_parts(&manifest)?;
                if damage.is_empty() {
                    return Ok(manifest);
                }
                damage
            }
            Err(damage) => vec![damage],
        };
        Err(ArtifactError::Unavailable { damage })
    }

    /// The record of a key, without a look at its objects: for showing and comparing.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn record_of(&self, key: &Digest) -> Result<Option<Action>, ArtifactError> {
        Ok(match self.read_action(key)? {
            Lookup::Hit(action) => Some(*action),
            _ => None,
        })
    }

    pub(crate) fn read_action(&self, key: &Digest) -> Result<Lookup, ArtifactError> {
        let path = self.action_file(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Lookup::Absent);
            }
            Err(error) => return Err(ArtifactError::reading(path)(error)),
        };
        Ok(match Action::from_bytes(&bytes) {
            Ok(action) if action.key == *key => Lookup::Hit(Box::new(action)),
            Ok(_) => Lookup::Unreadable {
                path,
                reason: "it belongs to another key".to_owned(),
            },
            Err(reason) => Lookup::Unreadable {
                path,
                reason: reason.to_owned(),
            },
        })
    }

    /// The keys that have a record.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn keys(&self) -> Result<Vec<Digest>, ArtifactError> {
        Ok(read_folder(&self.actions_folder())?
            .iter()
            .filter_map(|path| Action::key_of_file(path))
            .collect())
    }

    /// The readable records, in the order of their keys, without a look at their objects.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn actions(
        &self,
    ) -> Result<impl Iterator<Item = Result<Action, ArtifactError>> + '_, ArtifactError> {
        Ok(self
            .keys()?
            .into_iter()
            .filter_map(|key| self.record_of(&key).transpose()))
    }

    /// Removes the record of a key; its objects stay for the collector.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn forget(&self, key: &Digest) -> Result<(), ArtifactError> {
        let path = self.action_file(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ArtifactError::writing(path)(error))
            }
            _ => Ok(()),
        }
    }

    /// What a folder of the user's holds, by content, with links read through; its manifest is kept. Only
    /// files that changed since the last time are read; `progress` hears of bytes done and bytes to do,
    /// from this thread, and not at all if nothing is to be read.
    ///
    /// # Errors
    /// What cannot be read, what is neither file nor folder, and a file that changes meanwhile.
    pub fn digest_folder(
        &self,
        folder: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<FolderDigest, ArtifactError> {
        let lost = |digest: &Digest| !self.manifest_file(digest).exists();
        let (found, manifest) = self.scan(folder, Links::Follow, lost, progress)?;
        if let Some(manifest) = manifest {
            // It explains changes and decides nothing.
            forgive_full_disk(self.keep_manifest(&manifest).map(drop))?;
        }
        Ok(found)
    }

    /// Scans a folder with its stat cache. If nothing has changed since the last time, the manifest is not
    /// made, unless `wanted` says so.
    pub(crate) fn scan(
        &self,
        folder: &Path,
        links: Links,
        wanted: impl FnOnce(&Digest) -> bool,
        progress: impl FnMut(u64, u64),
    ) -> Result<(FolderDigest, Option<Manifest>), ArtifactError> {
        let real = folder
            .canonicalize()
            .map_err(ArtifactError::reading(folder))?;
        let cache_file = cache::cache_file(&self.stats_folder(), &real, links);
        let cache = StatCache::load(&cache_file);
        let found = walk::walk(&real, links, &cache)?;
        let unchanged = cache
            .whole()
            .filter(|_| found.len() == cache.len() && found.iter().all(|found| found.as_cached));
        if let Some(whole) = unchanged
            && !wanted(&whole.digest)
        {
            return Ok((whole, None));
        }
        // Taken before anything is read: what changes from now on is not believed. Files that are not read
        // now were believed, and so had settled already.
        let started = stat::file_system_now_ns(&self.tmp()).unwrap_or(i64::MIN);
        let scanned = scan::digest(&real, found, progress)?;
        let whole = FolderDigest::of(&scanned.manifest);
        if unchanged.is_none() {
            let settled = |stat: &stat::Stat| stat.settled_ns() < started;
            StatCache::new(scanned.cached, whole, settled, &real).save(&cache_file, &self.tmp());
        }
        Ok((whole, Some(scanned.manifest)))
    }
}

/// When a folder, or anything in it, changed last.
fn newest(folder: &Path) -> std::io::Result<SystemTime> {
    let mut newest = fs::symlink_metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() {
            self::newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(found);
    }
    Ok(newest)
}

/// Lets those go on who can do without what was to be written: a full disk is for those to report who cannot, and
/// not for a collection, which would free space.
fn forgive_full_disk(result: Result<(), ArtifactError>) -> Result<(), ArtifactError> {
    match result {
        Err(error) if error.is_full_disk() => Ok(()),
        other => other,
    }
}
