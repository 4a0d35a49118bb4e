//! Reading everything in the store and comparing it with its names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::objects::{Damage, ObjectFile, Part, Problem};
use crate::scan::while_telling;
use crate::{Action, ArtifactError, Digest, EntryPath, Lookup, Manifest, Packing, Store, layout};

/// What a full check found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Records read.
    pub records: usize,
    /// Manifests read.
    pub manifests: usize,
    /// Packs read.
    pub packs: usize,
    /// Objects read.
    pub objects: usize,
    /// Bytes of packs and objects, as they lie on the disk.
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
    /// What is wrong, with the files of the output that it hurts: none are
    /// named where it is the manifest or the whole pack.
    pub damage: Vec<(Damage, Vec<EntryPath>)>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damaged_records.is_empty() && self.damaged_results.is_empty() && self.stray.is_empty()
    }
}

impl Store {
    /// Reads every record, manifest, pack and object. Results found damaged are misses from then on, even where
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
            if let Entry::Vacant(missing) = manifests.entry(action.output) {
                missing.insert(self.read_manifest(&action.output)?);
            }
        }
        report.manifests = manifests.len();
        let outputs: BTreeSet<Digest> = actions.iter().map(|action| action.output).collect();
        let packings: BTreeMap<Digest, Packing> = outputs
            .iter()
            .filter_map(|output| Some((*output, layout(manifests[output].as_ref().ok()?))))
            .collect();
        let sizes: BTreeMap<Digest, u64> = packings
            .values()
            .flat_map(|packing| packing.loose.iter().copied())
            .collect();
        let listed = self.objects.list()?;
        let present: BTreeSet<Digest> = listed.iter().map(|(digest, _)| *digest).collect();
        report.objects = listed.len();
        let packed = packings.values().filter_map(Packing::pack_size);
        report.packs = packed.clone().count();
        report.bytes =
            listed.iter().map(|(_, file)| file.stat.size).sum::<u64>() + packed.sum::<u64>();

        let done = AtomicU64::new(0);
        let advance = |bytes| {
            done.fetch_add(bytes, Ordering::Relaxed);
        };
        let check_objects = || -> BTreeMap<Digest, Problem> {
            listed
                .par_iter()
                .filter_map(|(digest, file)| {
                    let problem = self.problem_of(digest, file, sizes.get(digest).copied());
                    advance(file.stat.size);
                    Some((*digest, problem?))
                })
                .collect()
        };
        let check_packs = || -> BTreeMap<Digest, Vec<Damage>> {
            packings
                .par_iter()
                .map(|(output, packing)| (*output, self.check_pack(output, packing, advance)))
                .collect()
        };
        let (mut damage, torn) = while_telling(
            || rayon::join(check_objects, check_packs),
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
            let packing = &packings[&action.output];
            let broken = |digest: &Digest| {
                let problem = damage.get(digest)?.clone();
                packing
                    .member(digest)
                    .is_none()
                    .then(|| object(*digest, problem))
            };
            let mut hurt: BTreeMap<Digest, (Damage, Vec<EntryPath>)> = BTreeMap::new();
            for damage in &torn[&action.output] {
                hurt.insert(damage.digest, (damage.clone(), Vec::new()));
            }
            for (path, _, digest) in manifest.files() {
                if let Some(damage) = broken(&digest) {
                    hurt.entry(digest).or_insert((damage, Vec::new()));
                }
                if let Some((_, paths)) = hurt.get_mut(&digest) {
                    paths.push(path.clone());
                }
            }
            if hurt.is_empty() {
                continue;
            }
            self.distrust(&action.output);
            report.damaged_results.push(DamagedResult {
                key: action.key,
                step: action.provenance.step.clone(),
                damage: hurt.into_values().collect(),
            });
        }
        report.stray = damage
            .into_iter()
            .filter(|(digest, _)| !sizes.contains_key(digest))
            .map(|(digest, problem)| object(digest, problem))
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

fn object(digest: Digest, problem: Problem) -> Damage {
    Damage {
        part: Part::Object,
        digest,
        problem,
    }
}
