//! From a bundle into a store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use fedact_artifact::{Action, ArtifactError, Digest, Manifest, Outline, Store};
use sha2::{Digest as _, Sha256};

use crate::BundleError;
use crate::layout::{self, FORMAT, INDEX, Index, Line};

/// More than the index of a hundred thousand results has.
const MAX_INDEX: u64 = 64 << 20;
/// More than any record has.
const MAX_RECORD: u64 = 4 << 20;
/// More than the manifest of a million files has.
const MAX_MANIFEST: u64 = 256 << 20;
const CHUNK: usize = 1 << 18;

/// What an import took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Results that the store did not have.
    pub taken: Vec<ImportedResult>,
    /// Results that it had already.
    pub known: Vec<ImportedResult>,
    /// Bytes of the files of those taken.
    pub bytes: u64,
}

/// One result in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedResult {
    /// The step that it was made for.
    pub step: String,
    /// Its key.
    pub key: Digest,
    /// Digest of its output.
    pub output: Digest,
}

/// Takes the results of the bundle at `file`, or those of them that `wanted` says, into a store. `progress`
/// hears of bytes of the bundle read, and of all of them.
///
/// # Errors
/// A bundle that is damaged, of another version or none: nothing is taken then. A store that cannot be
/// written to: what was taken before stays.
pub fn import(
    store: &Store,
    file: &Path,
    wanted: impl Fn(&str) -> bool,
    progress: impl FnMut(u64, u64),
) -> Result<Imported, BundleError> {
    let mut archive = open(file, progress)?;
    let mut members = Members {
        file,
        store,
        entries: archive.entries().map_err(unreadable(file))?,
    };
    let index = index(file, members.entries.next())?;
    let mut actions = Vec::with_capacity(index.len());
    for line in &index {
        actions.push(members.action(line)?);
    }
    let manifests = members.manifests(&index)?;
    for action in &actions {
        check_sizes(file, action, &manifests[&action.output])?;
    }
    let mut imported = Imported::default();
    let mut incoming = Vec::new();
    for action in actions
        .into_iter()
        .filter(|action| wanted(&action.provenance.step))
    {
        if store.lookup(&action.key)?.is_some() {
            imported.known.push(ImportedResult::of(&action));
        } else {
            let folder = store.scratch_tree()?;
            incoming.push((action, folder));
        }
    }
    let outlines = incoming
        .iter()
        .map(|(action, folder)| Outline::new(folder.path(), &manifests[&action.output]))
        .collect::<Result<Vec<_>, _>>()?;
    for (digest, size) in contents_of(manifests.values()) {
        members.content(&digest, size, &outlines)?;
    }
    members.end()?;
    drop(outlines);
    end(file, archive.into_inner())?;
    // Only now is the bundle known to be whole.
    for (action, folder) in incoming {
        let lock = store.lock(&action.key, |_| {})?;
        let result = ImportedResult::of(&action);
        if store.lookup(&action.key)?.is_some() {
            imported.known.push(result);
            continue;
        }
        imported.bytes += action.bytes;
        store.adopt(lock, action, folder)?;
        imported.taken.push(result);
    }
    Ok(imported)
}

/// The results that a bundle says it has, by key, from its beginning alone: nothing behind it is read.
///
/// # Errors
/// A file that cannot be read, is no bundle, or one of another version.
pub fn list(file: &Path) -> Result<Vec<ImportedResult>, BundleError> {
    let mut archive = open(file, |_, _| {})?;
    let mut entries = archive.entries().map_err(unreadable(file))?;
    let index = index(file, entries.next())?;
    let result = |line: Line| ImportedResult {
        step: line.step,
        key: line.key,
        output: line.output,
    };
    Ok(index.into_iter().map(result).collect())
}

impl ImportedResult {
    fn of(action: &Action) -> Self {
        Self {
            step: action.provenance.step.clone(),
            key: action.key,
            output: action.output,
        }
    }
}

/// The archive in a bundle; `progress` hears of bytes of the file.
fn open(
    file: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<tar::Archive<impl Read>, BundleError> {
    let reading = |source| BundleError::Read {
        file: file.to_owned(),
        source,
    };
    let open = File::open(file).map_err(reading)?;
    let total = open.metadata().map_err(reading)?.len();
    let source = Counted {
        file: open,
        done: 0,
        total,
        progress,
    };
    let decoder = zstd::Decoder::new(BufReader::with_capacity(CHUNK, source)).map_err(reading)?;
    Ok(tar::Archive::new(decoder))
}

/// Reads what comes after the archive: nothing but zeros, and zstd's checksum.
fn end(file: &Path, mut rest: impl Read) -> Result<(), BundleError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = rest.read(&mut buffer).map_err(unreadable(file))?;
        if read == 0 {
            return Ok(());
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Err(damaged(file, "it goes on after its end"));
        }
    }
}

fn damaged(file: &Path, reason: impl Into<String>) -> BundleError {
    BundleError::Damaged {
        file: file.to_owned(),
        reason: reason.into(),
    }
}

/// What tar or zstd say of a file that they cannot read; a disk that fails says so in the same way.
fn unreadable(file: &Path) -> impl Fn(io::Error) -> BundleError {
    move |error| damaged(file, error.to_string())
}

/// Each content of some manifests once, in the order of the digests, with its size.
fn contents_of<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> BTreeMap<Digest, u64> {
    manifests
        .flat_map(Manifest::files)
        .map(|(_, size, digest)| (digest, size))
        .collect()
}

fn check_sizes(file: &Path, action: &Action, manifest: &Manifest) -> Result<(), BundleError> {
    let says = (action.files, action.bytes);
    if says == (manifest.file_count() as u64, manifest.total_size()) {
        return Ok(());
    }
    let reason = format!(
        "the record of {} has another size than its output",
        action.key.short()
    );
    Err(damaged(file, reason))
}

/// What stands in the first file of a bundle.
fn index<R: Read>(
    file: &Path,
    first: Option<io::Result<tar::Entry<'_, R>>>,
) -> Result<Vec<Line>, BundleError> {
    let other = |reason: String| BundleError::NotABundle {
        file: file.to_owned(),
        reason,
    };
    let mut entry = match first {
        Some(Ok(entry)) => entry,
        Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && is_zstd(file) => {
            return Err(damaged(file, format!("it is cut off ({error})")));
        }
        Some(Err(error)) => return Err(other(error.to_string())),
        None => return Err(other("it is empty".to_owned())),
    };
    if *entry.path_bytes() != *INDEX.as_bytes() || entry.size() > MAX_INDEX {
        return Err(other(format!("it does not begin with {INDEX}")));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(unreadable(file))?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| other(format!("{INDEX}: {error}")))?;
    // The version first: what another one has in its index is its own affair.
    match value["format"].as_u64() {
        Some(FORMAT) => {}
        Some(found) => {
            return Err(BundleError::OtherVersion {
                file: file.to_owned(),
                found,
            });
        }
        None => return Err(other(format!("{INDEX} has no format version"))),
    }
    let index: Index = serde_json::from_value(value)
        .map_err(|error| damaged(file, format!("{INDEX}: {error}")))?;
    if !index.results.is_sorted_by(|one, other| one.key < other.key) {
        return Err(damaged(file, format!("{INDEX} is not in order")));
    }
    Ok(index.results)
}

/// Whether a file begins as all zstd files do.
fn is_zstd(file: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(file).and_then(|mut open| open.read_exact(&mut start));
    read.is_ok() && u32::from_le_bytes(start) == zstd::zstd_safe::MAGICNUMBER
}

/// The files of a bundle, each with the one name that it can have at its place.
struct Members<'a, R: Read> {
    file: &'a Path,
    store: &'a Store,
    entries: tar::Entries<'a, R>,
}

impl<'a, R: Read> Members<'a, R> {
    /// The next file, which must have this name.
    fn next(&mut self, name: &str) -> Result<tar::Entry<'a, R>, BundleError> {
        let entry = match self.entries.next() {
            Some(entry) => entry.map_err(unreadable(self.file))?,
            None => return Err(damaged(self.file, format!("it ends before {name}"))),
        };
        // No links, no devices, and no name but the one: there is no other way out of the archive.
        if entry.header().entry_type() != tar::EntryType::Regular
            || *entry.path_bytes() != *name.as_bytes()
        {
            let found = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(damaged(
                self.file,
                format!("it has `{found}` in the place of {name}"),
            ));
        }
        Ok(entry)
    }

    /// The next file as a whole.
    fn bytes(&mut self, name: &str, most: u64) -> Result<Vec<u8>, BundleError> {
        let mut entry = self.next(name)?;
        if entry.size() > most {
            return Err(damaged(self.file, format!("{name} is too large")));
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(unreadable(self.file))?;
        Ok(bytes)
    }

    fn action(&mut self, line: &Line) -> Result<Action, BundleError> {
        let name = layout::record(&line.key);
        let bytes = self.bytes(&name, MAX_RECORD)?;
        let wrong = |reason: &str| damaged(self.file, format!("{name}: {reason}"));
        let action = Action::from_bytes(&bytes).map_err(&wrong)?;
        if action.key != line.key || action.output != line.output {
            return Err(wrong("it is not the one that the index names"));
        }
        if Digest::of_json(&action.preimage) != action.key {
            return Err(wrong("its preimage is not that of its key"));
        }
        Ok(action)
    }

    fn manifests(&mut self, index: &[Line]) -> Result<BTreeMap<Digest, Manifest>, BundleError> {
        let mut manifests: BTreeMap<Digest, Manifest> = index
            .iter()
            .map(|line| (line.output, Manifest::default()))
            .collect();
        for (output, manifest) in &mut manifests {
            let name = layout::manifest(output);
            let bytes = self.bytes(&name, MAX_MANIFEST)?;
            let wrong = |reason: String| damaged(self.file, format!("{name}: {reason}"));
            if Digest::of(&bytes) != *output {
                return Err(wrong("its digest is another".to_owned()));
            }
            *manifest = Manifest::from_bytes(&bytes)
                .and_then(|manifest| manifest.check_contained().map(|()| manifest))
                .map_err(|error| wrong(error.to_string()))?;
        }
        Ok(manifests)
    }

    /// The next content, into every outline that needs it.
    fn content(
        &mut self,
        digest: &Digest,
        size: u64,
        outlines: &[Outline<'_>],
    ) -> Result<(), BundleError> {
        let name = layout::content(digest);
        let mut entry = self.next(&name)?;
        let wrong = |reason: &str| damaged(self.file, format!("{name}: {reason}"));
        if entry.size() != size {
            return Err(wrong("its size is another"));
        }
        let mut sinks = Vec::new();
        for outline in outlines {
            sinks.extend(outline.create(digest)?);
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; (size as usize).clamp(1, CHUNK)];
        loop {
            let read = entry.read(&mut buffer).map_err(unreadable(self.file))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            for sink in &mut sinks {
                sink.write_all(&buffer[..read])
                    .map_err(ArtifactError::writing(self.store.root()))?;
            }
        }
        if Digest::from_bytes(hasher.finalize().into()) != *digest {
            return Err(wrong("its digest is another"));
        }
        for outline in outlines {
            outline.filled(digest)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        match self.entries.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(damaged(self.file, "it has more files than its index names")),
            Some(Err(error)) => Err(unreadable(self.file)(error)),
        }
    }
}

/// Tells how much of the file was read.
struct Counted<F> {
    file: File,
    done: u64,
    total: u64,
    progress: F,
}

impl<F: FnMut(u64, u64)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        (self.progress)(self.done, self.total);
        Ok(read)
    }
}
