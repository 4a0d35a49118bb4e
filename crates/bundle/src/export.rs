//! From a store into a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fedact_artifact::{Action, ArtifactError, Digest, Manifest, Reader, Store};

use crate::BundleError;
use crate::layout::{self, FORMAT, Index, Line};

/// zstd's default: near its best ratio, and faster than most disks.
const LEVEL: i32 = 3;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Results.
    pub results: usize,
    /// Distinct contents of files.
    pub contents: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the bundle.
    pub compressed: u64,
}

/// Writes results into a bundle at `file`, which appears when it is whole. `threads` compress; `progress`
/// hears of bytes done and bytes to do.
///
/// # Errors
/// A result that the store no longer has whole, a file that cannot be written.
pub fn export(
    store: &Store,
    actions: &[Action],
    file: &Path,
    threads: u32,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, BundleError> {
    let actions: BTreeMap<Digest, &Action> =
        actions.iter().map(|action| (action.key, action)).collect();
    let outputs: BTreeSet<Digest> = actions.values().map(|action| action.output).collect();
    let manifests = outputs
        .iter()
        .map(|output| manifest_of(store, output))
        .collect::<Result<Vec<_>, _>>()?;
    // Of each content, a manifest that has it.
    let contents: BTreeMap<Digest, (u64, &Manifest)> = manifests
        .iter()
        .flat_map(|manifest| {
            manifest
                .files()
                .map(move |(_, size, digest)| (digest, (size, manifest)))
        })
        .collect();
    let total: u64 = contents.values().map(|(size, _)| size).sum();

    let writing = |source: io::Error| BundleError::Write {
        file: file.to_owned(),
        source,
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let fresh = tempfile::Builder::new()
        .prefix(".fedact-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(writing)?;
    let mut archive = Archive::new(fresh.as_file(), threads).map_err(writing)?;
    let index = Index {
        format: FORMAT,
        results: actions
            .values()
            .map(|action| Line {
                key: action.key,
                output: action.output,
                step: action.provenance.step.clone(),
            })
            .collect(),
    };
    let index = serde_json::to_vec(&index).map_err(|error| writing(error.into()))?;
    archive.add_bytes(layout::INDEX, &index).map_err(writing)?;
    for (key, action) in &actions {
        let record = action.to_bytes().map_err(|error| writing(error.into()))?;
        archive
            .add_bytes(&layout::record(key), &record)
            .map_err(writing)?;
    }
    for manifest in &manifests {
        archive
            .add_bytes(&layout::manifest(&manifest.digest()), &manifest.to_bytes())
            .map_err(writing)?;
    }
    let readers: BTreeMap<Digest, Reader<'_>> = manifests
        .iter()
        .map(|manifest| (manifest.digest(), store.reader(manifest)))
        .collect();
    let mut done = 0;
    for (digest, (size, manifest)) in &contents {
        let source = readers[&manifest.digest()].open(digest)?;
        let mut source = Counted {
            source,
            advance: |bytes| {
                done += bytes;
                progress(done, total);
            },
        };
        archive
            .add(&layout::content(digest), *size, &mut source)
            .map_err(writing)?;
    }
    archive.finish().map_err(writing)?;
    fresh.as_file().sync_all().map_err(writing)?;
    let compressed = fresh.as_file().metadata().map_err(writing)?.len();
    fresh.persist(file).map_err(|error| writing(error.error))?;
    Ok(Exported {
        results: actions.len(),
        contents: contents.len(),
        bytes: total,
        compressed,
    })
}

fn manifest_of(store: &Store, output: &Digest) -> Result<Manifest, ArtifactError> {
    store
        .manifest(output)?
        .ok_or_else(|| ArtifactError::Unavailable {
            damage: vec![fedact_artifact::Damage {
                part: fedact_artifact::Part::Manifest,
                digest: *output,
                problem: fedact_artifact::Problem::Missing,
            }],
        })
}

/// A tar archive on its way through zstd.
struct Archive<'a> {
    tar: tar::Builder<zstd::Encoder<'static, BufWriter<&'a File>>>,
}

impl<'a> Archive<'a> {
    fn new(file: &'a File, threads: u32) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
        encoder.include_checksum(true)?;
        // At least one: zstd cuts its input in the same places for any number of threads but none.
        encoder.multithread(threads.max(1))?;
        Ok(Self {
            tar: tar::Builder::new(encoder),
        })
    }

    fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.add(name, bytes.len() as u64, &mut &bytes[..])
    }

    fn add(&mut self, name: &str, size: u64, source: &mut dyn Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let mut source = Exact { source, left: size };
        self.tar.append_data(&mut header, name, &mut source)?;
        if source.left > 0 {
            return Err(io::Error::other(format!("{name} is shorter than it was")));
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.tar.into_inner()?.finish()?.flush()
    }
}

/// Reads no more than the header has promised.
struct Exact<'a> {
    source: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.min(buffer.len() as u64) as usize;
        if most == 0 {
            // A reader that verifies does so at its end.
            return match self.source.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other("it is longer than it was")),
            };
        }
        let read = self.source.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Tells how much was read.
struct Counted<R, F> {
    source: R,
    advance: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read > 0 {
            (self.advance)(read as u64);
        }
        Ok(read)
    }
}
