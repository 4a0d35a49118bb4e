//! Which files of an artifact lie together in one pack, and where in it: a pure function of the manifest.
//!
//! An artifact of very many small files would be as many objects: an inode, a rename, a flush and a `stat`
//! each. Instead its small files are one file, the pack: their contents, one after the other in the order of
//! their digests. Nothing else is in it, because the manifest tells where each member begins. Stores and
//! remotes that hold the same manifest hold the same pack.

use crate::{Digest, Manifest};

/// Files of up to this many bytes are packed. Larger ones are few for their bytes, and a link to an object
/// costs no copy.
pub const MEMBER_MAX: u64 = 64 << 10;
/// With fewer distinct small files than this there is no pack: objects that several artifacts share are
/// then worth more.
pub const MEMBERS_MIN: usize = 64;

/// A file's content in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it begins in the pack.
    pub offset: u64,
}

/// How the contents of an artifact are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// The members of the pack, in order, without gaps; empty if there is no pack.
    pub members: Vec<Member>,
    /// Digest and size of the contents that are objects of their own, in the order of the digests.
    pub loose: Vec<(Digest, u64)>,
}

/// How the distinct contents of a manifest are stored: those of at most [`MEMBER_MAX`] bytes in a pack, if
/// there are at least [`MEMBERS_MIN`] of them.
pub fn layout(manifest: &Manifest) -> Packing {
    let mut contents: Vec<(Digest, u64)> = manifest
        .files()
        .map(|(_, size, digest)| (digest, size))
        .collect();
    contents.sort_unstable();
    contents.dedup_by_key(|(digest, _)| *digest);
    let (small, large): (Vec<_>, Vec<_>) = contents
        .iter()
        .copied()
        .partition(|(_, size)| *size <= MEMBER_MAX);
    if small.len() < MEMBERS_MIN {
        return Packing {
            members: Vec::new(),
            loose: contents,
        };
    }
    let mut offset = 0;
    let members = small
        .into_iter()
        .map(|(digest, size)| {
            let member = Member {
                digest,
                size,
                offset,
            };
            offset += size;
            member
        })
        .collect();
    Packing {
        members,
        loose: large,
    }
}

impl Packing {
    /// Bytes of the pack; `None` if there is none.
    pub fn pack_size(&self) -> Option<u64> {
        self.members.last().map(|last| last.offset + last.size)
    }

    /// The member with a content.
    pub fn member(&self, digest: &Digest) -> Option<&Member> {
        self.members
            .binary_search_by_key(digest, |member| member.digest)
            .ok()
            .map(|index| &self.members[index])
    }

    /// The members in runs that lie side by side, each of about `bytes` bytes: what is read, checked and
    /// written at a time.
    pub(crate) fn runs(&self, bytes: u64) -> Vec<&[Member]> {
        let mut runs = Vec::new();
        let mut rest = self.members.as_slice();
        while let Some(first) = rest.first() {
            let length = rest
                .iter()
                .take_while(|member| member.offset + member.size <= first.offset + bytes)
                .count()
                .max(1);
            let (run, after) = rest.split_at(length);
            runs.push(run);
            rest = after;
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Entry, EntryKind, EntryPath};

    /// A manifest of files with these sizes; files with one content have one size.
    fn manifest(contents: &[(u16, u64)]) -> Manifest {
        let entries = contents.iter().enumerate().map(|(index, (content, _))| {
            let size = contents
                .iter()
                .find(|other| other.0 == *content)
                .map(|found| found.1);
            Entry {
                path: EntryPath::new(format!("{index}")).unwrap(),
                kind: EntryKind::File {
                    size: size.unwrap(),
                    sha256: Digest::of(content.to_le_bytes()),
                    executable: index % 5 == 0,
                },
            }
        });
        Manifest::new(entries.collect()).unwrap()
    }

    proptest! {
        #[test]
        fn every_content_lies_in_exactly_one_place(
            contents in prop::collection::vec((0u16..200, 0u64..90_000), 0..260),
            run in 1u64..300_000,
        ) {
            let manifest = manifest(&contents);
            let packing = layout(&manifest);
            let mut offset = 0;
            for member in &packing.members {
                prop_assert_eq!(member.offset, offset);
                prop_assert!(member.size <= MEMBER_MAX);
                offset += member.size;
            }
            prop_assert_eq!(packing.pack_size().unwrap_or(0), offset);
            prop_assert!(packing.members.is_empty() || packing.members.len() >= MEMBERS_MIN);
            prop_assert!(packing.members.is_sorted_by_key(|member| member.digest));
            for (_, size, digest) in manifest.files() {
                let loose = packing.loose.iter().filter(|(other, _)| *other == digest).count();
                let member = packing.member(&digest);
                prop_assert_eq!(loose + usize::from(member.is_some()), 1);
                prop_assert!(member.is_none_or(|member| member.size == size));
            }
            let runs = packing.runs(run);
            prop_assert_eq!(runs.concat(), packing.members.clone());
            for members in runs {
                let bytes: u64 = members.iter().map(|member| member.size).sum();
                prop_assert!(members.len() == 1 || bytes <= run);
            }
        }
    }

    #[test]
    fn few_small_files_are_not_packed_and_large_ones_never() {
        let small: Vec<(u16, u64)> = (0..MEMBERS_MIN as u16)
            .map(|content| (content, 10))
            .collect();
        assert!(layout(&manifest(&small[1..])).members.is_empty());
        let mut mixed = small;
        mixed.push((999, MEMBER_MAX + 1));
        let packing = layout(&manifest(&mixed));
        assert_eq!(packing.members.len(), MEMBERS_MIN);
        assert_eq!(
            packing.loose,
            [(Digest::of(999u16.to_le_bytes()), MEMBER_MAX + 1)]
        );
    }
}
