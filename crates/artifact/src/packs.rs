//! The packs that the store keeps: `packs/<digest of the manifest>`, laid out as [`crate::layout`] says.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::objects::{Part, Problem, read_folder, sync_folder};
use crate::pack::{Member, Packing};
use crate::{ArtifactError, Damage, Digest, Store, fault};

/// How much of a pack is read, checked and written at a time; few enough runs to be cheap, many enough
/// for all cores.
pub(crate) const RUN: u64 = 512 << 10;

impl Store {
    pub(crate) fn packs_folder(&self) -> PathBuf {
        self.root().join("packs")
    }

    pub(crate) fn pack_file(&self, manifest: &Digest) -> PathBuf {
        self.packs_folder().join(manifest.to_string())
    }

    /// The manifests whose packs are there.
    pub(crate) fn kept_packs(&self) -> Result<Vec<Digest>, ArtifactError> {
        Ok(read_folder(&self.packs_folder())?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .collect())
    }

    /// Writes the pack of a manifest from the files of a folder, flushes it and gives it its name; `source`
    /// tells where in the folder a content is. A whole pack that is there already stays.
    pub(crate) fn write_pack<'a>(
        &self,
        manifest: &Digest,
        packing: &Packing,
        source: impl Fn(&Digest) -> Option<&'a Path> + Sync,
        folder: &Path,
        scratch: &Path,
    ) -> Result<(), ArtifactError> {
        let Some(size) = packing.pack_size() else {
            return Ok(());
        };
        let file = self.pack_file(manifest);
        if self.check_pack(manifest, packing, |_| {}).is_empty() {
            return Ok(());
        }
        let temporary = scratch.join("pack");
        let writing = || ArtifactError::writing(&file);
        let pack = File::create(&temporary).map_err(writing())?;
        pack.set_len(size).map_err(writing())?;
        packing.runs(RUN).par_iter().try_for_each(|run| {
            let mut bytes = Vec::with_capacity(run.iter().map(|member| member.size as usize).sum());
            for member in *run {
                let path = folder.join(source(&member.digest).unwrap_or(Path::new("")));
                let begin = bytes.len();
                File::open(&path)
                    .and_then(|mut open| io::Read::read_to_end(&mut open, &mut bytes))
                    .map_err(ArtifactError::reading(&path))?;
                if Digest::of(&bytes[begin..]) != member.digest {
                    return Err(ArtifactError::ChangedWhileRead { path });
                }
            }
            pack.write_all_at(&bytes, run[0].offset).map_err(writing())
        })?;
        let finish = || -> io::Result<()> {
            fault::point("pack: written")?;
            pack.set_permissions(Permissions::from_mode(0o444))?;
            pack.sync_all()?;
            fault::point("pack: synced")?;
            fs::rename(&temporary, &file)?;
            fault::point("pack: renamed")
        };
        finish().map_err(writing())?;
        sync_folder(&self.packs_folder())
    }

    /// Reads the pack of a manifest and says what is wrong with it; `advance` hears of bytes read.
    pub(crate) fn check_pack(
        &self,
        manifest: &Digest,
        packing: &Packing,
        advance: impl Fn(u64) + Sync,
    ) -> Vec<Damage> {
        let pack = match self.open_pack(manifest, packing) {
            Ok(None) => return Vec::new(),
            Ok(Some(pack)) => pack,
            Err(damage) => return vec![damage],
        };
        packing
            .runs(RUN)
            .par_iter()
            .flat_map_iter(|run| {
                let mut damage = Vec::new();
                match read_run(&pack, run) {
                    Ok(run) => run.for_each(|member, bytes| {
                        if bytes.is_none() {
                            damage.push(damaged(member));
                        }
                    }),
                    Err(error) => damage.push(lost(manifest, error)),
                }
                advance(run.iter().map(|member| member.size).sum());
                damage
            })
            .collect()
    }

    /// The pack of a manifest, if it has one and its length is right.
    pub(crate) fn open_pack(
        &self,
        manifest: &Digest,
        packing: &Packing,
    ) -> Result<Option<File>, Damage> {
        let Some(expected) = packing.pack_size() else {
            return Ok(None);
        };
        let open = File::open(self.pack_file(manifest)).and_then(|open| {
            let found = open.metadata()?.len();
            Ok((open, found))
        });
        match open {
            Ok((open, found)) if found == expected => Ok(Some(open)),
            Ok((_, found)) => Err(wrong(manifest, Problem::Size { expected, found })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(wrong(manifest, Problem::Missing))
            }
            Err(error) => Err(lost(manifest, error)),
        }
    }
}

/// A run's bytes, and a member's of them if they are right.
pub(crate) struct Run<'a> {
    members: &'a [Member],
    bytes: Vec<u8>,
}

/// Reads a run of members; each then comes with its bytes, or without where they are not right.
pub(crate) fn read_run<'a>(pack: &File, members: &'a [Member]) -> io::Result<Run<'a>> {
    let size: u64 = members.iter().map(|member| member.size).sum();
    let mut bytes = vec![0; size as usize];
    if let Some(first) = members.first() {
        pack.read_exact_at(&mut bytes, first.offset)?;
    }
    Ok(Run { members, bytes })
}

impl<'a> Run<'a> {
    /// Calls `visit` with each member and its bytes, `None` where they are not what the digest promises.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&'a Member, Option<&[u8]>)) {
        let mut rest = self.bytes.as_slice();
        for member in self.members {
            let (bytes, after) = rest.split_at(member.size as usize);
            rest = after;
            visit(
                member,
                (Digest::of(bytes) == member.digest).then_some(bytes),
            );
        }
    }
}

pub(crate) fn damaged(member: &Member) -> Damage {
    Damage {
        part: Part::Member,
        digest: member.digest,
        problem: Problem::Content,
    }
}

/// A pack that cannot be read.
pub(crate) fn lost(manifest: &Digest, error: io::Error) -> Damage {
    wrong(manifest, Problem::Unreadable(error.to_string()))
}

fn wrong(manifest: &Digest, problem: Problem) -> Damage {
    Damage {
        part: Part::Pack,
        digest: *manifest,
        problem,
    }
}
