//! A new folder with all that a manifest says, made from the store: links to objects, copies out of the pack.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};

use crate::objects::{Damage, Part, Problem};
use crate::pack::Packing;
use crate::packs::{self, RUN};
use crate::stat::Stat;
use crate::{ArtifactError, Digest, Entry, EntryKind, EntryPath, Manifest, Store, layout};

/// A place for a content from the pack.
struct Place<'a> {
    /// Which entry of the manifest it is.
    entry: usize,
    content: Digest,
    path: &'a EntryPath,
    executable: bool,
}

/// Files copied out of the pack, by which entry of the manifest they are, as nothing will change them any more.
pub(crate) type Written = Vec<(usize, Stat)>;

/// How a new folder shows raw objects without copying them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linking {
    /// By hard links, which outlive the object's name in the store.
    Hard,
    /// By symbolic links, which leave the object as it is.
    Symbolic,
}

impl Store {
    /// Makes the folder `tree` and fills it. Every byte that is copied is checked on the way.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`] if something is gone or damaged.
    pub(crate) fn build(
        &self,
        manifest: &Manifest,
        tree: &Path,
        linking: Linking,
    ) -> Result<Written, ArtifactError> {
        fs::create_dir(tree).map_err(ArtifactError::writing(tree))?;
        make_folders(manifest, tree)?;
        let packing = layout(manifest);
        let (written, mut damage) = self.unpack(manifest, &packing, tree)?;
        damage.extend(
            manifest
                .entries()
                .par_iter()
                .with_min_len(16)
                .filter(|entry| !in_pack(entry, &packing))
                .map(|entry| self.place(entry, &tree.join(entry.path.as_path()), linking))
                .filter_map(Result::transpose)
                .collect::<Result<Vec<_>, _>>()?,
        );
        if damage.is_empty() {
            Ok(written)
        } else {
            Err(ArtifactError::Unavailable { damage })
        }
    }

    /// Writes the small files out of the pack, a run of members at a time.
    fn unpack(
        &self,
        manifest: &Manifest,
        packing: &Packing,
        tree: &Path,
    ) -> Result<(Written, Vec<Damage>), ArtifactError> {
        let output = manifest.digest();
        let pack = match self.open_pack(&output, packing) {
            Ok(None) => return Ok(Default::default()),
            Ok(Some(pack)) => pack,
            Err(damage) => return Ok((Vec::new(), vec![damage])),
        };
        let mut places: Vec<Place<'_>> = manifest
            .entries()
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match entry.kind {
                EntryKind::File {
                    sha256, executable, ..
                } if in_pack(entry, packing) => Some(Place {
                    entry: index,
                    content: sha256,
                    path: &entry.path,
                    executable,
                }),
                _ => None,
            })
            .collect();
        places.sort_unstable_by_key(|place| place.content);
        let folder = File::open(tree).map_err(ArtifactError::reading(tree))?;
        let runs = packing.runs(RUN);
        let done: Vec<(Written, Vec<Damage>)> = runs
            .par_iter()
            .map(|run| {
                let read = match packs::read_run(&pack, run) {
                    Ok(read) => read,
                    Err(error) => return Ok((Vec::new(), vec![packs::lost(&output, error)])),
                };
                let (mut written, mut damage) = (Vec::with_capacity(run.len()), Vec::new());
                let mut failed = None;
                read.for_each(|member, bytes| {
                    let Some(bytes) = bytes else {
                        damage.push(packs::damaged(member));
                        return;
                    };
                    let from = places.partition_point(|place| place.content < member.digest);
                    for place in places[from..]
                        .iter()
                        .take_while(|place| place.content == member.digest)
                    {
                        if failed.is_some() {
                            return;
                        }
                        match write_file(folder.as_fd(), place, bytes) {
                            Ok(stat) => written.push((place.entry, stat)),
                            Err(error) => {
                                let path = tree.join(place.path.as_path());
                                failed = Some(ArtifactError::writing(path)(error));
                            }
                        }
                    }
                });
                match failed {
                    Some(error) => Err(error),
                    None => Ok((written, damage)),
                }
            })
            .collect::<Result<_, ArtifactError>>()?;
        let (written, damage): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        Ok((written.concat(), damage.concat()))
    }

    /// Puts one entry at its path in the new tree.
    fn place(
        &self,
        entry: &Entry,
        path: &Path,
        linking: Linking,
    ) -> Result<Option<Damage>, ArtifactError> {
        let (size, sha256, executable) = match &entry.kind {
            EntryKind::Directory => return Ok(None),
            EntryKind::Symlink { target } => {
                symlink(target.as_path(), path).map_err(ArtifactError::writing(path))?;
                return Ok(None);
            }
            EntryKind::File {
                size,
                sha256,
                executable,
            } => (*size, *sha256, *executable),
        };
        let damage = |problem| Damage {
            part: Part::Object,
            digest: sha256,
            problem,
        };
        let Some(object) = self.objects.find(&sha256)? else {
            return Ok(Some(damage(Problem::Missing)));
        };
        if !object.packed && !executable {
            let linked = match linking {
                Linking::Hard => fs::hard_link(&object.path, path),
                Linking::Symbolic => symlink(&object.path, path),
            };
            match linked {
                Ok(()) => return Ok(None),
                // Too many links, another disk, a file system without links: a copy does as well.
                Err(error) if error.kind() != io::ErrorKind::StorageFull => {}
                Err(error) => return Err(ArtifactError::writing(path)(error)),
            }
        }
        if let Some(problem) = self.objects.copy_out(&sha256, size, &object, path)? {
            return Ok(Some(damage(problem)));
        }
        let mode = if executable { 0o555 } else { 0o444 };
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(ArtifactError::writing(path))?;
        Ok(None)
    }
}

fn make_folders(manifest: &Manifest, tree: &Path) -> Result<(), ArtifactError> {
    let mut last: Option<&Path> = None;
    for entry in manifest.entries() {
        let folder = match entry.kind {
            EntryKind::Directory => Some(entry.path.as_path()),
            _ => entry.path.as_path().parent(),
        };
        if folder != last
            && let Some(folder) = folder
        {
            let folder = tree.join(folder);
            fs::create_dir_all(&folder).map_err(ArtifactError::writing(&folder))?;
        }
        last = folder;
    }
    Ok(())
}

fn in_pack(entry: &Entry, packing: &Packing) -> bool {
    match &entry.kind {
        EntryKind::File { size, sha256, .. } => {
            *size <= crate::MEMBER_MAX
                && packing.pack_size().is_some()
                && packing.member(sha256).is_some()
        }
        _ => false,
    }
}

/// Makes a file with its final permissions, whatever the process's mask.
fn write_file(tree: BorrowedFd<'_>, place: &Place<'_>, bytes: &[u8]) -> io::Result<Stat> {
    let mode = Mode::from_raw_mode(if place.executable { 0o555 } else { 0o444 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(
        tree,
        place.path.as_bytes(),
        flags,
        mode,
    )?);
    (&file).write_all(bytes)?;
    let mut stat = rustix::fs::fstat(&file)?;
    if Mode::from_raw_mode(stat.st_mode) != mode {
        rustix::fs::fchmod(&file, mode)?;
        stat = rustix::fs::fstat(&file)?;
    }
    Ok(Stat::of_raw(&stat))
}
