//! Which objects are known to be right, so that a lookup costs a `stat` each and not a reading.
//!
//! The stat caches of objects lie by manifest, so that they go with their result. Whoever links or
//! unlinks an object moves its change time, and notes the new stats with [`Store::remember_objects`].

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::objects::{Damage, Part, Problem};
use crate::stat::{self, Cached, StatCache};
use crate::{ArtifactError, Digest, Manifest, Store};

impl Store {
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
                part: Part::Object,
                digest: *digest,
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
        for _ in 0..20 {
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
