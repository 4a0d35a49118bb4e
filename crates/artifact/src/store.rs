//! The store: where everything lies, opening it, looking keys up.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::lock::{self, Attempt, CollectLock, KeyLock, LockFile, LockOwner};
use crate::objects::{Damage, Objects, Problem, read_folder};
use crate::scan::{self, Links};
use crate::scratch::{self, Scratch};
use crate::stat::{self, Cached, StatCache};
use crate::{Action, ArtifactError, Digest, Manifest};

/// The layout of the store that this crate reads and writes; in the file `version`.
pub const STORE_VERSION: u32 = 1;

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

impl Store {
    /// Opens the store at `root`, or makes one there; sweeps what killed processes left behind.
    ///
    /// # Errors
    /// A store of another version, a folder that is no store, one that cannot be written to.
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
            store.actions_folder(),
            store.checkpoints_folder(),
            store.locks_folder(),
            store.pins_folder(),
            store.stats_folder(),
            store.tmp(),
        ] {
            fs::create_dir_all(&folder).map_err(ArtifactError::writing(&folder))?;
        }
        scratch::sweep(&store.tmp())?;
        // Creating folders that are there succeeds on a read-only disk, too.
        drop(Scratch::new(&store.tmp())?);
        Ok(store)
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
                let fresh = self.root.join(format!(".version-{}", std::process::id()));
                fs::write(&fresh, format!("{STORE_VERSION}\n"))
                    .and_then(|()| fs::rename(&fresh, &file))
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
        let damage = self.check_objects(&action.manifest)?;
        Ok(if damage.is_empty() {
            Lookup::Hit(action)
        } else {
            Lookup::Damaged { action, damage }
        })
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

    /// The manifest of a folder of the user's, by content, with links read through. Only files that
    /// changed since the last time are read; `progress` hears of bytes done and bytes to do, from
    /// this thread, and not at all if nothing is to be read.
    ///
    /// # Errors
    /// What cannot be read, what is neither file nor folder, and a file that changes meanwhile.
    pub fn digest_folder(
        &self,
        folder: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Manifest, ArtifactError> {
        self.scan(folder, Links::Follow, progress)
    }

    /// Scans a folder with its stat cache.
    pub(crate) fn scan(
        &self,
        folder: &Path,
        links: Links,
        progress: impl FnMut(u64, u64),
    ) -> Result<Manifest, ArtifactError> {
        let real = folder
            .canonicalize()
            .map_err(ArtifactError::reading(folder))?;
        let cache_file = stat::cache_file(&self.stats_folder(), &real);
        let cache = StatCache::load(&cache_file);
        let found = scan::walk(&real, links)?;
        // Taken before anything is read: what changes from now on is not believed.
        let started = stat::file_system_now_ns(&self.tmp()).unwrap_or(i64::MIN);
        let scanned = scan::digest(&real, found, &cache, progress)?;
        if scanned.read > 0 {
            // Files that were not read now were believed, and so had settled already.
            StatCache::new(scanned.files, started).save(&cache_file, &self.tmp());
        }
        Ok(scanned.manifest)
    }

    fn object_stats_file(&self, manifest: &Manifest) -> PathBuf {
        self.stats_folder()
            .join(format!("objects-{}", manifest.digest()))
    }

    /// What is wrong with the objects of a manifest. An object is read only if it changed, or may
    /// have, since it was last known to be right.
    pub(crate) fn check_objects(&self, manifest: &Manifest) -> Result<Vec<Damage>, ArtifactError> {
        let cache_file = self.object_stats_file(manifest);
        let cache = StatCache::load(&cache_file);
        let started = stat::file_system_now_ns(&self.tmp()).unwrap_or(i64::MIN);
        let files: Vec<(u64, Digest)> = unique_objects(manifest);
        let checked: Vec<Checked> = files
            .par_iter()
            .with_min_len(64)
            .map(|(size, digest)| self.check_object(digest, *size, &cache))
            .collect::<Result<_, _>>()?;
        let mut damage = Vec::new();
        let mut right = Vec::with_capacity(checked.len());
        let mut read = false;
        for one in checked {
            match one {
                Checked::Known(cached) => right.push(cached),
                Checked::Read(cached) => {
                    read = true;
                    right.push(cached);
                }
                Checked::Wrong(wrong) => damage.push(wrong),
            }
        }
        if read {
            StatCache::new(right, started).save(&cache_file, &self.tmp());
        }
        Ok(damage)
    }

    fn check_object(
        &self,
        digest: &Digest,
        size: u64,
        cache: &StatCache,
    ) -> Result<Checked, ArtifactError> {
        let wrong = |problem| {
            Ok(Checked::Wrong(Damage {
                object: *digest,
                problem,
            }))
        };
        let Some(file) = self.objects.find(digest)? else {
            return wrong(Problem::Missing);
        };
        let cached = Cached {
            path: file.name(digest),
            stat: file.stat,
            digest: *digest,
        };
        if cache.get(&cached.path, &file.stat) == Some(*digest) {
            return Ok(Checked::Known(cached));
        }
        match self.objects.check(digest, size, &file, |_| {}) {
            None => Ok(Checked::Read(cached)),
            Some(problem) => wrong(problem),
        }
    }

    /// Notes that the objects of a manifest are right as they are now, which the caller must know.
    pub(crate) fn remember_objects(&self, manifest: &Manifest) -> Result<(), ArtifactError> {
        let files = unique_objects(manifest);
        let cached: Vec<Cached> = files
            .par_iter()
            .with_min_len(64)
            .filter_map(|(_, digest)| {
                let file = self.objects.find(digest).ok().flatten()?;
                Some(Cached {
                    path: file.name(digest),
                    stat: file.stat,
                    digest: *digest,
                })
            })
            .collect();
        self.remember(&self.object_stats_file(manifest), cached);
        Ok(())
    }

    /// Saves a stat cache for files whose content is known to be right, and which were touched just
    /// now: waits out the clock's tick, so that the cache may be believed.
    pub(crate) fn remember(&self, cache_file: &Path, cached: Vec<Cached>) {
        let settled = cached
            .iter()
            .map(|one| one.stat.settled_ns())
            .max()
            .unwrap_or(i64::MIN);
        // A tick or two; a clock that was set back, or coarse times, are not waited for.
        for _ in 0..8 {
            match stat::file_system_now_ns(&self.tmp()) {
                Ok(now) if settled < now => {
                    StatCache::new(cached, now).save(cache_file, &self.tmp());
                    return;
                }
                Ok(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
                Err(_) => return,
            }
        }
        StatCache::new(
            cached,
            stat::file_system_now_ns(&self.tmp()).unwrap_or(i64::MIN),
        )
        .save(cache_file, &self.tmp());
    }

    /// Forgets that the objects of a manifest were right, so that they are read at the next lookup.
    pub(crate) fn distrust_objects(&self, manifest: &Manifest) {
        let _ = fs::remove_file(self.object_stats_file(manifest));
    }
}

enum Checked {
    /// As it was when it was last read.
    Known(Cached),
    /// Read just now, and right.
    Read(Cached),
    /// Not to be delivered.
    Wrong(Damage),
}

/// Size and digest of each object once, in the order of the digests.
pub(crate) fn unique_objects(manifest: &Manifest) -> Vec<(u64, Digest)> {
    let mut files: Vec<(u64, Digest)> = manifest
        .files()
        .map(|(_, size, digest)| (size, digest))
        .collect();
    files.sort_unstable_by_key(|(_, digest)| *digest);
    files.dedup_by_key(|(_, digest)| *digest);
    files
}
