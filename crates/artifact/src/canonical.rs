//! The one way to write a manifest as bytes: what its digest is taken of, what the store keeps and what
//! travels.
//!
//! A header, then for each entry, in the order of the bytes of the paths:
//!
//! | what            | bytes                                                                       |
//! | --------------- | --------------------------------------------------------------------------- |
//! | file            | `f`, path, zero byte, size (8 bytes, little-endian), SHA-256 (32 bytes)        |
//! | executable file | `x`, the same                                                               |
//! | empty folder    | `d`, path, zero byte                                                        |
//! | symbolic link   | `l`, path, zero byte, target, zero byte                                      |
//!
//! Neither paths nor targets contain zero bytes, so that no two manifests have the same bytes.

use crate::{ArtifactError, Digest, Entry, EntryKind, EntryPath, LinkTarget, Manifest};

/// The first bytes; a new layout gets a new number.
const HEADER: &[u8] = b"fedact manifest 2\n";

impl Manifest {
    /// The canonical bytes; their SHA-256 is [`Manifest::digest`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER.len() + self.entries().len() * 72);
        bytes.extend_from_slice(HEADER);
        for entry in self.entries() {
            let path = entry.path.as_bytes();
            match &entry.kind {
                EntryKind::File {
                    size,
                    sha256,
                    executable,
                } => {
                    bytes.push(if *executable { b'x' } else { b'f' });
                    bytes.extend_from_slice(path);
                    bytes.push(0);
                    bytes.extend_from_slice(&size.to_le_bytes());
                    bytes.extend_from_slice(sha256.as_bytes());
                }
                EntryKind::Directory => {
                    bytes.push(b'd');
                    bytes.extend_from_slice(path);
                    bytes.push(0);
                }
                EntryKind::Symlink { target } => {
                    bytes.push(b'l');
                    bytes.extend_from_slice(path);
                    bytes.push(0);
                    bytes.extend_from_slice(target.as_bytes());
                    bytes.push(0);
                }
            }
        }
        bytes
    }

    /// Reads canonical bytes, and refuses all others: bytes that are read are those that would be
    /// written. They may come from anywhere; paths that leave the artifact are refused.
    ///
    /// # Errors
    /// [`ArtifactError::InvalidManifest`], or what [`Manifest::new`] refuses.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let invalid = |reason| ArtifactError::InvalidManifest { reason };
        let mut rest = bytes
            .strip_prefix(HEADER)
            .ok_or(invalid("it does not begin with the header of this version"))?;
        let cut_off = || invalid("it is cut off");
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            let path = EntryPath::from_bytes(until_zero(&mut rest).ok_or_else(cut_off)?)?;
            if entries.last().is_some_and(|last| last.path >= path) {
                return Err(invalid("its paths are not in order"));
            }
            let kind = match letter {
                b'f' | b'x' => EntryKind::File {
                    size: u64::from_le_bytes(take(&mut rest).ok_or_else(cut_off)?),
                    sha256: Digest::from_bytes(take(&mut rest).ok_or_else(cut_off)?),
                    executable: *letter == b'x',
                },
                b'd' => EntryKind::Directory,
                b'l' => EntryKind::Symlink {
                    target: LinkTarget::from_bytes(until_zero(&mut rest).ok_or_else(cut_off)?),
                },
                _ => return Err(invalid("it has an entry of an unknown kind")),
            };
            entries.push(Entry { path, kind });
        }
        let manifest = Self::new(entries)?;
        manifest.set_digest(Digest::of(bytes));
        Ok(manifest)
    }
}

/// The bytes before the next zero byte, which is skipped.
fn until_zero<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let found = &rest[..end];
    *rest = &rest[end + 1..];
    Some(found)
}

/// The next `N` bytes.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::tests::{entries, file};

    proptest! {
        #[test]
        fn a_manifest_survives_its_bytes(entries in entries()) {
            let manifest = Manifest::new(entries).unwrap();
            let bytes = manifest.to_bytes();
            prop_assert_eq!(manifest.digest(), Digest::of(&bytes));
            let back = Manifest::from_bytes(&bytes).unwrap();
            prop_assert_eq!(back.digest(), manifest.digest());
            prop_assert_eq!(back, manifest);
        }

        #[test]
        fn bytes_that_are_read_are_those_that_would_be_written(
            entries in entries(),
            position: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = Manifest::new(entries).unwrap().to_bytes();
            let position = position.index(bytes.len());
            bytes[position] = byte;
            if let Ok(manifest) = Manifest::from_bytes(&bytes) {
                prop_assert_eq!(&manifest.to_bytes(), &bytes);
            }
            let _ = Manifest::from_bytes(&bytes[..position]);
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let entry = |path: &str| {
            let mut bytes = vec![b'd'];
            bytes.extend_from_slice(path.as_bytes());
            bytes.push(0);
            bytes
        };
        let refused = |entries: &[Vec<u8>]| {
            let bytes = [HEADER.to_vec(), entries.concat()].concat();
            Manifest::from_bytes(&bytes).unwrap_err().to_string()
        };
        assert!(refused(&[entry("../x")]).contains(".."));
        assert!(refused(&[entry("/etc")]).contains("absolute"));
        assert!(refused(&[entry("")]).contains("empty"));
        assert!(refused(&[entry("b"), entry("a")]).contains("order"));
        assert!(refused(&[entry("a"), entry("a")]).contains("order"));
        assert!(refused(&[entry("a"), entry("a/b")]).contains("`a`"));
        assert!(refused(&[b"q".to_vec(), entry("a")]).contains("unknown kind"));
    }

    /// A change of these bytes makes every stored result a miss: raise the header's number then.
    #[test]
    fn digests_are_those_of_format_2() {
        let manifest = Manifest::new(vec![
            file("b/run.sh", "#!/bin/sh\n", true),
            file("a", "x", false),
            Entry {
                path: EntryPath::new("empty").unwrap(),
                kind: EntryKind::Directory,
            },
            Entry {
                path: EntryPath::new("link").unwrap(),
                kind: EntryKind::Symlink {
                    target: LinkTarget::new("a"),
                },
            },
        ])
        .unwrap();
        let canonical = [
            b"fedact manifest 2\nfa\0\x01\0\0\0\0\0\0\0".as_slice(),
            Digest::of("x").as_bytes(),
            b"xb/run.sh\0\x0a\0\0\0\0\0\0\0",
            Digest::of("#!/bin/sh\n").as_bytes(),
            b"dempty\0llink\0a\0",
        ]
        .concat();
        assert_eq!(manifest.digest(), Digest::of(canonical));
        assert_eq!(
            Manifest::default().digest(),
            Digest::of("fedact manifest 2\n")
        );
    }
}
