//! Which parts of outputs are known to be right, so that a lookup costs a `stat` each and not a reading.
//!
//! The stats of the parts (manifest, pack, objects) lie by output, so that they go with their result.
//! Whoever links or unlinks an object moves its change time, and notes the new stats with
//! [`Store::remember_parts`].

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::cache::{Cached, Kind, StatCache};
use crate::objects::{Damage, Part, Problem};
use crate::stat::{self, Stat};
use crate::{ArtifactError, Digest, FolderDigest, Manifest, Store, layout};

/// From how many files on it is worth waking other threads for a `stat` each.
const MANY: usize = 512;

/// A part of an output, and the file that holds it.
struct Stored {
    /// Path of the file from the root of the store.
    name: Vec<u8>,
    stat: Stat,
}

impl Store {
    fn parts_stats_file(&self, output: &Digest) -> PathBuf {
        self.stats_folder().join(format!("parts-{output}"))
    }

    /// Whether every part of an output is as it was when it was last known to be right. Reads neither the
    /// manifest nor anything else but the stats.
    pub(crate) fn is_known_whole(&self, output: &Digest) -> bool {
        let cache = StatCache::load(&self.parts_stats_file(output));
        if cache.whole().is_none_or(|whole| whole.digest != *output) {
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = rustix::fs::openat(CWD, self.root(), flags, Mode::empty()) else {
            return false;
        };
        let as_known = |index: usize| {
            cache.remembered(index).is_some_and(|remembered| {
                rustix::fs::statat(&root, cache.path(index), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| Stat::of_raw(&stat) == remembered.stat)
            })
        };
        if cache.len() < MANY {
            (0..cache.len()).all(as_known)
        } else {
            (0..cache.len())
                .into_par_iter()
                .with_min_len(MANY / 2)
                .all(as_known)
        }
    }

    /// What is wrong with the parts of an output. A part is read only if it changed, or may have, since it
    /// was last known to be right.
    pub(crate) fn check_parts(&self, manifest: &Manifest) -> Result<Vec<Damage>, ArtifactError> {
        let output = manifest.digest();
        let cache = StatCache::load(&self.parts_stats_file(&output));
        let started = stat::file_system_now_ns(&self.tmp()).unwrap_or(i64::MIN);
        let packing = layout(manifest);
        let mut damage = Vec::new();
        let mut right = Vec::new();
        let mut read = false;
        let mut note = |known: &Known, found: Vec<Damage>| {
            read |= !known.believed;
            if found.is_empty() {
                right.extend(known.cached.clone());
            }
            damage.extend(found);
        };
        let known = Known::of(&cache, self.manifest_part(&output), Digest::NONE);
        note(
            &known,
            match known.believed {
                true => Vec::new(),
                false => self.read_manifest(&output)?.err().into_iter().collect(),
            },
        );
        if packing.pack_size().is_some() {
            let known = Known::of(&cache, self.pack_part(&output), Digest::NONE);
            note(
                &known,
                match known.believed {
                    true => Vec::new(),
                    false => self.check_pack(&output, &packing, |_| {}),
                },
            );
        }
        let checked: Vec<(Known, Option<Damage>)> = packing
            .loose
            .par_iter()
            .with_min_len(64)
            .map(|(digest, size)| self.check_object(&cache, digest, *size))
            .collect::<Result<_, _>>()?;
        for (known, found) in checked {
            note(&known, found.into_iter().collect());
        }
        if read {
            let whole = FolderDigest::of(manifest);
            let file = self.parts_stats_file(&output);
            if damage.is_empty() {
                let settled = |stat: &Stat| stat.settled_ns() < started;
                StatCache::new(right, whole, settled, Path::new("")).save(&file, &self.tmp());
            }
        }
        Ok(damage)
    }

    fn check_object(
        &self,
        cache: &StatCache,
        digest: &Digest,
        size: u64,
    ) -> Result<(Known, Option<Damage>), ArtifactError> {
        let damaged = |problem| Damage {
            part: Part::Object,
            digest: *digest,
            problem,
        };
        let Some(file) = self.objects.find(digest)? else {
            return Ok((Known::default(), Some(damaged(Problem::Missing))));
        };
        let stored = Stored {
            name: file.name(digest),
            stat: file.stat,
        };
        let known = Known::of(cache, Some(stored), *digest);
        let problem = if known.believed {
            None
        } else {
            self.objects.check(digest, size, &file, |_| {})
        };
        Ok((known, problem.map(damaged)))
    }

    fn manifest_part(&self, output: &Digest) -> Option<Stored> {
        self.part(&self.manifest_file(output))
    }

    fn pack_part(&self, output: &Digest) -> Option<Stored> {
        self.part(&self.pack_file(output))
    }

    fn part(&self, path: &Path) -> Option<Stored> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let name = path.strip_prefix(self.root()).ok()?;
        Some(Stored {
            name: name.as_os_str().as_bytes().to_vec(),
            stat: Stat::of(&metadata),
        })
    }

    /// The stats of the parts of an output as they are now; `None` if one is not there.
    pub(crate) fn stats_of_parts(&self, manifest: &Manifest) -> Option<Vec<Cached>> {
        let output = manifest.digest();
        let packing = layout(manifest);
        let mut stored = vec![(self.manifest_part(&output)?, Digest::NONE)];
        if packing.pack_size().is_some() {
            stored.push((self.pack_part(&output)?, Digest::NONE));
        }
        let objects: Option<Vec<(Stored, Digest)>> = packing
            .loose
            .par_iter()
            .with_min_len(64)
            .map(|(digest, _)| {
                let file = self.objects.find(digest).ok().flatten()?;
                let name = file.name(digest);
                let stat = file.stat;
                Some((Stored { name, stat }, *digest))
            })
            .collect();
        stored.extend(objects?);
        Some(
            stored
                .into_iter()
                .map(|(stored, digest)| cached(stored, digest))
                .collect(),
        )
    }

    /// Notes that the parts of an output are right as they are now, which the caller must know.
    pub(crate) fn remember_parts(&self, manifest: &Manifest) {
        if let Some(cached) = self.stats_of_parts(manifest) {
            self.remember(vec![self.parts_memory(manifest, cached)]);
        }
    }

    /// What [`Store::remember`] saves for the parts of an output.
    pub(crate) fn parts_memory(&self, manifest: &Manifest, cached: Vec<Cached>) -> Memory {
        Memory {
            file: self.parts_stats_file(&manifest.digest()),
            cached,
            whole: FolderDigest::of(manifest),
            folder: PathBuf::new(),
            clock: self.tmp(),
        }
    }

    /// Saves stat caches for files whose content is known to be right, and which were touched just
    /// now: waits out the clock's tick, so that the caches may be believed.
    pub(crate) fn remember(&self, memories: Vec<Memory>) {
        for memory in memories {
            let stats = memory.cached.iter().map(|cached| &cached.stat);
            let latest = stats.map(Stat::latest_ns).max().unwrap_or(i64::MIN);
            let past = stat::wait_until_past(latest, &memory.clock);
            let now = stat::file_system_now_ns(&memory.clock).unwrap_or(i64::MIN);
            let settled = |stat: &Stat| past || stat.settled_ns() < now;
            StatCache::new(memory.cached, memory.whole, settled, &memory.folder)
                .save(&memory.file, &self.tmp());
        }
    }

    /// Forgets that the parts of an output were right, so that they are read at the next lookup.
    pub(crate) fn distrust(&self, output: &Digest) {
        let _ = fs::remove_file(self.parts_stats_file(output));
    }
}

/// A stat cache to be.
pub(crate) struct Memory {
    pub(crate) file: PathBuf,
    pub(crate) cached: Vec<Cached>,
    pub(crate) whole: FolderDigest,
    /// The folder that it is of; empty for parts in the store.
    pub(crate) folder: PathBuf,
    /// A folder on the file system of the files.
    pub(crate) clock: PathBuf,
}

/// A part, and whether it is as it was when it was last read.
#[derive(Default)]
struct Known {
    cached: Option<Cached>,
    believed: bool,
}

impl Known {
    fn of(cache: &StatCache, stored: Option<Stored>, digest: Digest) -> Self {
        let Some(stored) = stored else {
            return Self::default();
        };
        Self {
            believed: cache.digest_of(&stored.name, &stored.stat) == Some(digest),
            cached: Some(cached(stored, digest)),
        }
    }
}

fn cached(stored: Stored, digest: Digest) -> Cached {
    Cached {
        path: stored.name,
        kind: Kind::File,
        stat: stored.stat,
        digest,
    }
}
