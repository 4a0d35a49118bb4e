//! Collection: a pure plan of what goes and why, and, apart from it, the deletion.
//!
//! Kept are the results that the caller names (what kept pipeline files reach), those that a person keeps with
//! all that they were made from, those that a run in progress has pinned or is working on, and every object
//! that one of these needs. Everything else is listed with its reason and then deleted, a few at a time: publishers wait
//! for a batch at the most, readers never.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cache::StatCache;
use crate::latest::LATEST;
use crate::lock::LockFile;
use crate::objects::read_folder;
use crate::{Action, ArtifactError, Digest, Lookup, Store, layout};

/// How many files are deleted before publishers get their turn.
const BATCH: usize = 2048;

/// The objects of outputs, once they were looked up.
type ObjectsOf = BTreeMap<Digest, BTreeSet<Digest>>;

/// What the store holds, as far as collecting is concerned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Readable results.
    pub results: Vec<StoredResult>,
    /// Records that cannot be read.
    pub unreadable: Vec<PathBuf>,
    /// Objects.
    pub objects: Vec<StoredObject>,
    /// Manifests, with their bytes on the disk.
    pub manifests: BTreeMap<Digest, u64>,
    /// Packs by the manifest of their output, with their bytes.
    pub packs: BTreeMap<Digest, u64>,
    /// Manifests of folders of the user's as they were when they were last read.
    pub watched: BTreeSet<Digest>,
    /// Checkpoints by key, with their bytes.
    pub checkpoints: BTreeMap<Digest, u64>,
    /// Folders of pieces that are in no result yet, by what decides them, with their bytes.
    pub pieces: BTreeMap<Digest, u64>,
    /// Logs of steps by the beginning of their key ([`Digest::short`]), with their bytes.
    pub logs: BTreeMap<(String, PathBuf), u64>,
    /// Keys that live processes have pinned or locked, and who that is.
    pub live: BTreeMap<Digest, String>,
    /// Keys of the results that a person keeps ([`Store::keep`]).
    pub kept: BTreeSet<Digest>,
}

/// A result in an inventory.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// Its key.
    pub key: Digest,
    /// The step it was made for.
    pub step: String,
    /// When it was begun, in seconds since 1970 (UTC).
    pub started: f64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its output; its pack goes by the same digest.
    pub output: Digest,
    /// Its objects; what lies in its pack is not among them.
    pub objects: BTreeSet<Digest>,
    /// The manifests of its output and its inputs.
    pub manifests: BTreeSet<Digest>,
    /// The keys of the results that it was made from.
    pub sources: BTreeSet<Digest>,
}

/// An object in an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The object.
    pub digest: Digest,
    /// Its file.
    pub path: PathBuf,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Whether a materialised folder links to it, so that deleting it frees nothing yet.
    pub linked: bool,
}

/// Something that a collection may remove.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// The record of a key, made for a step.
    Result {
        /// The key.
        key: Digest,
        /// The step.
        step: String,
        /// When the run that it records began, in seconds since 1970 (UTC).
        started: f64,
    },
    /// A record that cannot be read.
    Unreadable(PathBuf),
    /// The file of an object.
    Object {
        /// The object.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
    /// The manifest of an output or of a folder that was an input.
    Manifest(Digest),
    /// The small files of an output, by its manifest.
    Pack(Digest),
    /// The checkpoints of a key.
    Checkpoints(Digest),
    /// Pieces that are in no result yet, by what decides them.
    Pieces(Digest),
    /// What the process of a step wrote to standard error.
    Log {
        /// The beginning of the step's key.
        key: String,
        /// The file.
        path: PathBuf,
    },
}

/// An item with the reason why it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Doomed {
    /// What goes.
    pub item: Item,
    /// Why.
    pub reason: &'static str,
    /// Bytes that it takes on the disk now.
    pub bytes: u64,
}

/// What goes, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collection {
    /// What goes: results first, then checkpoints, pieces, logs, manifests, packs and objects.
    pub doomed: Vec<Doomed>,
    /// The keys of the results that stay.
    pub kept: Vec<Digest>,
    /// Bytes that this frees; what a materialised folder still links to is not counted.
    pub frees: u64,
}

impl Collection {
    /// Something that goes, and frees its bytes.
    fn doom(&mut self, item: Item, reason: &'static str, bytes: u64) {
        self.frees += bytes;
        self.doomed.push(Doomed {
            item,
            reason,
            bytes,
        });
    }
}

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Things removed.
    pub removed: usize,
    /// Things that had come into use since the plan, and stay.
    pub spared: usize,
    /// Bytes freed.
    pub freed: u64,
}

/// Plans a collection: which of what is there goes, if the results of the keys `keep` stay, and the pieces
/// decided by what is among them.
pub fn collection(inventory: &Inventory, keep: &BTreeSet<Digest>) -> Collection {
    let mut plan = Collection::default();
    let mut needed: BTreeSet<Digest> = BTreeSet::new();
    let mut named: BTreeSet<Digest> = inventory.watched.clone();
    let mut outputs: BTreeSet<Digest> = BTreeSet::new();
    let kept = reached(&inventory.results, &inventory.kept);
    let stays =
        |key: &Digest| keep.contains(key) || kept.contains(key) || inventory.live.contains_key(key);
    for result in &inventory.results {
        if stays(&result.key) {
            plan.kept.push(result.key);
            needed.extend(&result.objects);
            named.extend(&result.manifests);
            outputs.insert(result.output);
            continue;
        }
        plan.doom(
            Item::Result {
                key: result.key,
                step: result.step.clone(),
                started: result.started,
            },
            "no kept pipeline or run reaches this result",
            0,
        );
    }
    for path in &inventory.unreadable {
        plan.doom(Item::Unreadable(path.clone()), "the record is damaged", 0);
    }
    let finished: BTreeSet<Digest> = inventory.results.iter().map(|result| result.key).collect();
    for (key, bytes) in &inventory.checkpoints {
        let reason = if inventory.live.contains_key(key) {
            continue;
        } else if finished.contains(key) {
            "the result is finished"
        } else if keep.contains(key) {
            continue;
        } else {
            "no kept pipeline would go on from these checkpoints"
        };
        plan.doom(Item::Checkpoints(*key), reason, *bytes);
    }
    for (space, bytes) in &inventory.pieces {
        if stays(space) {
            continue;
        }
        plan.doom(
            Item::Pieces(*space),
            "no unfinished step of a kept pipeline is made of these pieces",
            *bytes,
        );
    }
    let known: BTreeSet<String> = plan
        .kept
        .iter()
        .chain(keep)
        .chain(inventory.live.keys())
        .map(Digest::short)
        .collect();
    for ((key, path), bytes) in &inventory.logs {
        if known.contains(key) {
            continue;
        }
        plan.doom(
            Item::Log {
                key: key.clone(),
                path: path.clone(),
            },
            "no kept pipeline or run reaches the result that it is of",
            *bytes,
        );
    }
    for (digest, bytes) in &inventory.manifests {
        if named.contains(digest) {
            continue;
        }
        plan.doom(
            Item::Manifest(*digest),
            "no kept result has it as output or input",
            *bytes,
        );
    }
    for (output, bytes) in &inventory.packs {
        if outputs.contains(output) {
            continue;
        }
        plan.doom(
            Item::Pack(*output),
            "no kept result has it as output",
            *bytes,
        );
    }
    for object in &inventory.objects {
        if needed.contains(&object.digest) {
            continue;
        }
        if !object.linked {
            plan.frees += object.bytes;
        }
        plan.doomed.push(Doomed {
            item: Item::Object {
                digest: object.digest,
                path: object.path.clone(),
            },
            reason: if object.linked {
                "no kept result needs it; its bytes stay until the folder that links to it changes"
            } else {
                "no kept result needs it"
            },
            bytes: object.bytes,
        });
    }
    plan
}

/// The keys from which `from` can be made out: themselves, what they were made from, and so on.
fn reached(results: &[StoredResult], from: &BTreeSet<Digest>) -> BTreeSet<Digest> {
    if from.is_empty() {
        return BTreeSet::new();
    }
    let sources: BTreeMap<&Digest, &BTreeSet<Digest>> = results
        .iter()
        .map(|result| (&result.key, &result.sources))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<Digest> = from.iter().copied().collect();
    while let Some(key) = open.pop() {
        if reached.insert(key) {
            open.extend(sources.get(&key).into_iter().copied().flatten());
        }
    }
    reached
}

impl Store {
    /// Takes stock.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn inventory(&self) -> Result<Inventory, ArtifactError> {
        // Who is at work comes first: what they finish meanwhile is then seen as theirs.
        let mut inventory = Inventory {
            live: self.live_keys()?,
            kept: self.kept_keys()?,
            ..Inventory::default()
        };
        let mut objects = BTreeMap::new();
        for key in self.keys()? {
            match self.read_action(&key)? {
                Lookup::Hit(action) => inventory
                    .results
                    .push(self.stored_result(&action, &mut objects)?),
                Lookup::Unreadable { path, .. } => inventory.unreadable.push(path),
                _ => {}
            }
        }
        for (digest, file) in self.objects.list()? {
            inventory.objects.push(StoredObject {
                digest,
                bytes: file.stat.size,
                linked: file.links > 1,
                path: file.path,
            });
        }
        for digest in self.kept_manifests()? {
            let bytes = file_bytes(&self.manifest_file(&digest));
            inventory.manifests.insert(digest, bytes);
        }
        for output in self.kept_packs()? {
            let bytes = file_bytes(&self.pack_file(&output));
            inventory.packs.insert(output, bytes);
        }
        inventory.watched = self.watched_manifests()?;
        for folder in read_folder(&self.checkpoints_folder())? {
            let name = folder.file_name().and_then(|name| name.to_str());
            if let Some(key) = name.and_then(|name| name.parse().ok()) {
                inventory.checkpoints.insert(key, folder_bytes(&folder));
            }
        }
        for folder in read_folder(&self.pieces_folder())? {
            let bytes = folder_bytes(&folder);
            let space = named(&folder).and_then(|name| name.parse().ok());
            // A folder without a piece is nothing to tell of.
            if let Some(space) = space.filter(|_| bytes > 0) {
                inventory.pieces.insert(space, bytes);
            }
        }
        for path in read_folder(&self.logs_folder())? {
            let key = named(&path)
                .and_then(|name| name.strip_suffix(".log")?.rsplit_once('-'))
                .map(|(_, key)| key.to_owned());
            if let Some(key) = key {
                let bytes = file_bytes(&path);
                inventory.logs.insert((key, path), bytes);
            }
        }
        Ok(inventory)
    }

    fn kept_keys(&self) -> Result<BTreeSet<Digest>, ArtifactError> {
        Ok(self.kept()?.into_iter().map(|kept| kept.key).collect())
    }

    fn live_keys(&self) -> Result<BTreeMap<Digest, String>, ArtifactError> {
        let mut live: BTreeMap<Digest, String> = self
            .pinned()?
            .into_iter()
            .map(|(key, owner)| (key, owner.to_string()))
            .collect();
        for path in read_folder(&self.locks_folder())? {
            let key = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_suffix(".lock"))
                .and_then(|name| name.parse().ok());
            if let Some(key) = key
                && let Some(owner) = LockFile::holder(&path)
            {
                live.insert(key, owner.to_string());
            }
        }
        Ok(live)
    }

    /// Carries out a plan. What has come into use since it was made stays, and so does every result
    /// that has been recorded since.
    ///
    /// # Errors
    /// The store cannot be read or written to; what was deleted until then was doomed.
    pub fn collect(&self, plan: &Collection) -> Result<Collected, ArtifactError> {
        let planned: BTreeMap<Digest, f64> = plan
            .doomed
            .iter()
            .filter_map(|doomed| match &doomed.item {
                Item::Result { key, started, .. } => Some((*key, *started)),
                _ => None,
            })
            .collect();
        let mut done = Collected::default();
        let mut objects = BTreeMap::new();
        for batch in plan.doomed.chunks(BATCH) {
            let _alone = self.exclude_publishers()?;
            // With publishers shut out, what is unused now stays so until they return.
            let in_use = self.in_use(&planned, &mut objects)?;
            for doomed in batch {
                if in_use.spares(&doomed.item) {
                    done.spared += 1;
                } else {
                    done.freed += self.remove(doomed)?;
                    done.removed += 1;
                }
            }
        }
        self.remove_stale_stats()?;
        crate::scratch::sweep(&self.tmp())?;
        Ok(done)
    }

    /// What may not go at this moment, whatever a plan says; `planned` are the results that it dooms.
    fn in_use(
        &self,
        planned: &BTreeMap<Digest, f64>,
        objects: &mut ObjectsOf,
    ) -> Result<InUse, ArtifactError> {
        let live = self.live_keys()?;
        let mut in_use = InUse {
            manifests: self.watched_manifests()?,
            ..InUse::default()
        };
        let results = self
            .actions()?
            .map(|action| self.stored_result(&action?, objects))
            .collect::<Result<Vec<_>, _>>()?;
        let kept = reached(&results, &self.kept_keys()?);
        for result in results {
            if live.contains_key(&result.key)
                || kept.contains(&result.key)
                || planned.get(&result.key) != Some(&result.started)
            {
                in_use.objects.extend(result.objects);
                in_use.manifests.extend(result.manifests);
                in_use.packs.insert(result.output);
                in_use.records.insert(self.action_file(&result.key));
                in_use.results.insert(result.key);
            }
        }
        in_use.live = live.into_keys().collect();
        let keys = in_use.live.iter().chain(&in_use.results);
        in_use.logs = keys.map(Digest::short).collect();
        Ok(in_use)
    }

    /// Removes one thing; returns the bytes that are free now.
    fn remove(&self, doomed: &Doomed) -> Result<u64, ArtifactError> {
        let (path, removed) = match &doomed.item {
            Item::Result { key, .. } => {
                self.forget(key)?;
                return Ok(doomed.bytes);
            }
            Item::Unreadable(path) | Item::Log { path, .. } => {
                (path.clone(), fs::remove_file(path))
            }
            Item::Object { path, .. } => {
                let linked = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.nlink() > 1);
                let removed = fs::remove_file(path);
                if linked && removed.is_ok() {
                    return Ok(0);
                }
                (path.clone(), removed)
            }
            Item::Manifest(digest) => {
                let path = self.manifest_file(digest);
                let removed = fs::remove_file(&path);
                (path, removed)
            }
            Item::Pack(output) => {
                let path = self.pack_file(output);
                let removed = fs::remove_file(&path);
                (path, removed)
            }
            Item::Checkpoints(key) => {
                let path = self.checkpoints_folder().join(key.to_string());
                let removed = fs::remove_dir_all(&path);
                (path, removed)
            }
            Item::Pieces(space) => {
                let path = self.pieces_folder().join(space.to_string());
                let removed = fs::remove_dir_all(&path);
                (path, removed)
            }
        };
        match removed {
            Ok(()) => Ok(doomed.bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(ArtifactError::writing(path)(error)),
        }
    }

    /// The manifests of the folders of the user's whose stats are kept: another look at an unchanged folder
    /// would not make them anew.
    fn watched_manifests(&self) -> Result<BTreeSet<Digest>, ArtifactError> {
        let caches = read_folder(&self.stats_folder())?;
        Ok(caches
            .iter()
            .filter(|path| named(path).is_some_and(|name| name.starts_with("folder-")))
            .filter_map(|path| StatCache::load(path).whole())
            .map(|whole| whole.digest)
            .collect())
    }

    /// Drops the stats of the parts of outputs that no record has any more, and of folders that are gone.
    fn remove_stale_stats(&self) -> Result<(), ArtifactError> {
        let mut current = BTreeSet::new();
        for action in self.actions()? {
            current.insert(format!("parts-{}", action?.output));
        }
        for path in read_folder(&self.stats_folder())? {
            let stale = named(&path).is_none_or(|name| {
                if name.starts_with("parts-") {
                    !current.contains(name)
                } else {
                    // What each step used last is no cache of stats.
                    name != LATEST && !StatCache::load(&path).folder().is_dir()
                }
            });
            if stale {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

/// What a collection must leave alone.
#[derive(Default)]
struct InUse {
    live: BTreeSet<Digest>,
    results: BTreeSet<Digest>,
    records: BTreeSet<PathBuf>,
    objects: BTreeSet<Digest>,
    manifests: BTreeSet<Digest>,
    packs: BTreeSet<Digest>,
    /// By the beginnings of keys.
    logs: BTreeSet<String>,
}

impl InUse {
    fn spares(&self, item: &Item) -> bool {
        match item {
            Item::Result { key, .. } => self.results.contains(key),
            // A damaged record may have been replaced by a whole one.
            Item::Unreadable(path) => self.records.contains(path),
            Item::Object { digest, .. } => self.objects.contains(digest),
            Item::Manifest(digest) => self.manifests.contains(digest),
            Item::Pack(output) => self.packs.contains(output),
            Item::Checkpoints(key) | Item::Pieces(key) => self.live.contains(key),
            Item::Log { key, .. } => self.logs.contains(key),
        }
    }
}

impl Store {
    /// A result whose manifest is lost needs no objects: it cannot be delivered any more.
    fn stored_result(
        &self,
        action: &Action,
        objects: &mut ObjectsOf,
    ) -> Result<StoredResult, ArtifactError> {
        let objects = match objects.entry(action.output) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let manifest = self.manifest(&action.output)?.unwrap_or_default();
                let loose = layout(&manifest).loose;
                unknown.insert(loose.into_iter().map(|(digest, _)| digest).collect())
            }
        };
        Ok(StoredResult {
            output: action.output,
            key: action.key,
            step: action.provenance.step.clone(),
            started: action.provenance.started,
            bytes: action.bytes,
            objects: objects.clone(),
            manifests: action.manifests(),
            sources: action
                .provenance
                .inputs
                .values()
                .flatten()
                .filter_map(|source| source.key)
                .collect(),
        })
    }
}

fn named(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn file_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(inside) = read_folder(folder) else {
        return 0;
    };
    inside
        .iter()
        .map(|path| match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => folder_bytes(path),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
