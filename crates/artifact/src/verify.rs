//! Reading everything in the store and comparing it with its names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::objects::{Damage, ObjectFile, Part, Problem};
use crate::scan::while_telling;
use crate::{Action, ArtifactError, Digest, EntryPath, Lookup, Manifest, Store};

/// What a full check found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Records read.
    pub records: usize,
    /// Manifests read.
    pub manifests: usize,
    /// Objects read.
    pub objects: usize,
    /// Bytes of them, as they lie on the disk.
    pub bytes: u64,
    /// Records that cannot be read.
    pub damaged_records: Vec<DamagedRecord>,
    /// Results that cannot be delivered.
    pub damaged_results: Vec<DamagedResult>,
    /// Damaged objects and manifests that no result needs.
    pub stray: Vec<Damage>,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A result with damaged objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedResult {
    /// Its key.
    pub key: Digest,
    /// The step it was made for.
    pub step: String,
    /// What is wrong, with the files of the output that it hurts: none are known where it is the manifest.
    pub damage: Vec<(Damage, Vec<EntryPath>)>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damaged_records.is_empty() && self.damaged_results.is_empty() && self.stray.is_empty()
    }
}

impl Store {
    /// Reads every record, every manifest and every object. Results found damaged are misses from then on, even where
    /// the damage left no trace in the file's stats. Changes nothing else. `progress` hears of bytes
    /// read and bytes to read, from this thread.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn verify(
        &self,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verification, ArtifactError> {
        let mut report = Verification::default();
        let mut actions: Vec<Action> = Vec::new();
        for key in self.keys()? {
            match self.read_action(&key)? {
                Lookup::Hit(action) => actions.push(*action),
                Lookup::Unreadable { path, reason } => {
                    report.damaged_records.push(DamagedRecord { path, reason });
                }
                _ => {}
            }
        }
        report.records = actions.len();

        let mut manifests: BTreeMap<Digest, Result<Manifest, Damage>> = BTreeMap::new();
        for digest in self.kept_manifests()? {
            manifests.insert(digest, self.read_manifest(&digest)?);
        }
        for action in &actions {
            if !manifests.contains_key(&action.output) {
                let missing = self.read_manifest(&action.output)?;
                manifests.insert(action.output, missing);
            }
        }
        report.manifests = manifests.len();
        let outputs: BTreeSet<Digest> = actions.iter().map(|action| action.output).collect();
        let sizes: BTreeMap<Digest, u64> = outputs
            .iter()
            .filter_map(|output| manifests[output].as_ref().ok())
            .flat_map(Manifest::files)
            .map(|(_, size, digest)| (digest, size))
            .collect();
        let listed = self.objects.list()?;
        let present: BTreeSet<Digest> = listed.iter().map(|(digest, _)| *digest).collect();
        report.objects = listed.len();
        report.bytes = listed.iter().map(|(_, file)| file.stat.size).sum();

        let done = AtomicU64::new(0);
        let mut damage: BTreeMap<Digest, Problem> = while_telling(
            || {
                listed
                    .par_iter()
                    .filter_map(|(digest, file)| {
                        let problem = self.problem_of(digest, file, sizes.get(digest).copied());
                        done.fetch_add(file.stat.size, Ordering::Relaxed);
                        Some((*digest, problem?))
                    })
                    .collect()
            },
            || progress(done.load(Ordering::Relaxed), report.bytes),
        );
        progress(report.bytes, report.bytes);
        for digest in sizes.keys().filter(|digest| !present.contains(digest)) {
            damage.insert(*digest, Problem::Missing);
        }

        for action in &actions {
            let manifest = match &manifests[&action.output] {
                Ok(manifest) => manifest,
                Err(lost) => {
                    report.damaged_results.push(DamagedResult {
                        key: action.key,
                        step: action.provenance.step.clone(),
                        damage: vec![(lost.clone(), Vec::new())],
                    });
                    continue;
                }
            };
            let mut hurt: BTreeMap<Digest, Vec<EntryPath>> = BTreeMap::new();
            for (path, _, digest) in manifest.files() {
                if damage.contains_key(&digest) {
                    hurt.entry(digest).or_default().push(path.clone());
                }
            }
            if hurt.is_empty() {
                continue;
            }
            self.distrust_objects(manifest);
            report.damaged_results.push(DamagedResult {
                key: action.key,
                step: action.provenance.step.clone(),
                damage: hurt
                    .into_iter()
                    .map(|(digest, paths)| (broken(digest, damage[&digest].clone()), paths))
                    .collect(),
            });
        }
        report.stray = damage
            .into_iter()
            .filter(|(digest, _)| !sizes.contains_key(digest))
            .map(|(digest, problem)| broken(digest, problem))
            .chain(
                manifests
                    .into_iter()
                    .filter(|(digest, _)| !outputs.contains(digest))
                    .filter_map(|(_, read)| read.err()),
            )
            .collect();
        Ok(report)
    }

    /// Without a record that says how long it is, an object is as long as it is.
    fn problem_of(&self, digest: &Digest, file: &ObjectFile, size: Option<u64>) -> Option<Problem> {
        match size {
            Some(size) => self.objects.check(digest, size, file, |_| {}),
            None if file.packed => match self.objects.check(digest, u64::MAX, file, |_| {}) {
                Some(Problem::Size { found, .. }) => {
                    self.objects.check(digest, found, file, |_| {})
                }
                other => other,
            },
            None => self.objects.check(digest, file.stat.size, file, |_| {}),
        }
    }
}

fn broken(digest: Digest, problem: Problem) -> Damage {
    Damage {
        part: Part::Object,
        digest,
        problem,
    }
}
