//! Objects: the bytes of files, named by their SHA-256.
//!
//! An object is stored raw, so that a materialised folder can link to it, unless it is worth packing:
//! a file of at least [`PACK_MIN_SIZE`] bytes, whose first [`SAMPLE`] bytes are text, and which zstd
//! brings below half. A packed object costs a second copy when it is materialised; text (logs, tables
//! of clips, reports, histories) packs to a tenth and is small beside shards and weights.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Hasher;
use crate::stat::Stat;
use crate::{ArtifactError, Digest, fault};

/// Files below this size are never packed: they fit in a few blocks of the disk anyway.
pub const PACK_MIN_SIZE: u64 = 16 << 10;
/// How much of a file's start decides whether it is text.
pub const SAMPLE: usize = 64 << 10;
/// zstd's default: near its best ratio for text, and faster than the disk.
const PACK_LEVEL: i32 = 3;
const PACKED: &str = "zst";

/// What is wrong with a part of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which kind of part.
    pub part: Part,
    /// The digest that it goes by.
    pub digest: Digest,
    /// What is wrong.
    pub problem: Problem,
}

/// The parts that the store keeps of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The content of a file.
    Object,
    /// The list of its files.
    Manifest,
    /// All of its small files.
    Pack,
    /// The content of one of the files in the pack.
    Member,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::Manifest => "manifest",
            Self::Pack => "pack",
            Self::Member => "file in a pack",
        })
    }
}

/// How a part can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is there with another length.
    Size {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Its content has another digest.
    Content,
    /// It cannot be read or unpacked.
    Unreadable(String),
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", self.part, self.digest.short())?;
        match &self.problem {
            Problem::Missing => f.write_str("is gone"),
            Problem::Size { expected, found } => {
                write!(f, "has {found} bytes instead of {expected}")
            }
            Problem::Content => f.write_str("has been changed"),
            Problem::Unreadable(reason) => write!(f, "cannot be read: {reason}"),
        }
    }
}

/// The folder of objects.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    root: PathBuf,
}

/// The file that holds an object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectFile {
    pub(crate) path: PathBuf,
    pub(crate) packed: bool,
    pub(crate) stat: Stat,
    pub(crate) links: u64,
}

impl ObjectFile {
    /// `objects/ab/cdef...` with the ending of a packed one: its path in the store.
    pub(crate) fn name(&self, digest: &Digest) -> Vec<u8> {
        let mut name = format!("objects/{}", relative(digest));
        if self.packed {
            name.push_str(".zst");
        }
        name.into_bytes()
    }
}

/// A file on its way into the store.
pub(crate) struct Incoming<'a> {
    /// Where it is; it is taken from there.
    pub(crate) path: &'a Path,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

fn relative(digest: &Digest) -> String {
    let mut name = digest.to_string();
    name.insert(2, '/');
    name
}

impl Objects {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn raw_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(relative(digest))
    }

    /// The file of an object, raw or packed.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<ObjectFile>, ArtifactError> {
        let raw = self.raw_path(digest);
        if let Some(file) = stat_object(raw.clone(), false)? {
            return Ok(Some(file));
        }
        stat_object(raw.with_extension(PACKED), true)
    }

    /// Reads an object and compares it with its name. `None`: it is right.
    pub(crate) fn check(
        &self,
        digest: &Digest,
        size: u64,
        file: &ObjectFile,
        advance: impl FnMut(u64),
    ) -> Option<Problem> {
        if !file.packed && file.stat.size != size {
            return Some(Problem::Size {
                expected: size,
                found: file.stat.size,
            });
        }
        let hashed = File::open(&file.path).and_then(|open| {
            if file.packed {
                // One byte more than it should have is enough to know that it is wrong.
                let unpacked = zstd::Decoder::new(open)?.take(size.saturating_add(1));
                Digest::of_reader(unpacked, advance)
            } else {
                Digest::of_file(&open, advance)
            }
        });
        match hashed {
            Err(error) => Some(Problem::Unreadable(error.to_string())),
            Ok((_, found)) if found != size => Some(Problem::Size {
                expected: size,
                found,
            }),
            Ok((found, _)) => (found != *digest).then_some(Problem::Content),
        }
    }

    /// Moves a file in. One that is there already, whole, makes the new one superfluous; a damaged
    /// one is replaced. `durable`: flush the bytes to the disk before the name appears.
    ///
    /// The digest must be that of the file. Two files with one digest must not come at the same time.
    pub(crate) fn insert(
        &self,
        incoming: &Incoming<'_>,
        scratch: &Path,
        durable: bool,
    ) -> Result<(), ArtifactError> {
        let Incoming { path, digest, size } = incoming;
        if let Some(there) = self.find(digest)? {
            if self.check(digest, *size, &there, |_| {}).is_none() {
                return remove_if_there(path);
            }
            // It may be the raw one where the new one is packed: both must not stay.
            remove_if_there(&there.path)?;
        }
        let raw = self.raw_path(digest);
        if let Some(shard) = raw.parent() {
            match fs::create_dir(shard) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(ArtifactError::writing(shard)(error));
                }
                _ => {}
            }
        }
        let packed = scratch.join(format!("{digest}.{PACKED}"));
        let copied = scratch.join(digest.to_string());
        let (from, to) = if self.pack(incoming, &packed)? {
            (packed.as_path(), raw.with_extension(PACKED))
        } else if has_other_names(path)? {
            // Moving it in would make the store depend on whoever holds the other name.
            fs::copy(path, &copied).map_err(ArtifactError::writing(&copied))?;
            (copied.as_path(), raw)
        } else {
            (*path, raw)
        };
        let open = File::open(from).map_err(ArtifactError::reading(from))?;
        open.set_permissions(Permissions::from_mode(0o444))
            .map_err(ArtifactError::writing(from))?;
        if durable {
            open.sync_all().map_err(ArtifactError::writing(from))?;
        }
        fault::point("object: before rename").map_err(ArtifactError::writing(&to))?;
        fs::rename(from, &to).map_err(ArtifactError::writing(&to))?;
        fault::point("object: after rename").map_err(ArtifactError::writing(&to))
    }

    /// Packs the file if that is worth it.
    fn pack(&self, incoming: &Incoming<'_>, packed: &Path) -> Result<bool, ArtifactError> {
        let Incoming { path, size, .. } = incoming;
        if *size < PACK_MIN_SIZE {
            return Ok(false);
        }
        let reading = |path| move |error| ArtifactError::reading(path)(error);
        let mut file = File::open(path).map_err(reading(path))?;
        let mut sample = Vec::with_capacity(SAMPLE);
        (&mut file)
            .take(SAMPLE as u64)
            .read_to_end(&mut sample)
            .map_err(reading(path))?;
        if !is_text(&sample) {
            return Ok(false);
        }
        let mut write = || -> io::Result<u64> {
            let mut encoder = zstd::Encoder::new(File::create(packed)?, PACK_LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.write_all(&sample)?;
            io::copy(&mut file, &mut encoder)?;
            fault::point("object: compressed")?;
            Ok(encoder.finish()?.metadata()?.len())
        };
        let length = write().map_err(ArtifactError::writing(packed))?;
        if length < size / 2 {
            return Ok(true);
        }
        fs::remove_file(packed).map_err(ArtifactError::writing(packed))?;
        Ok(false)
    }

    /// Writes the content of an object to a new file, and says what is wrong if it is not what the
    /// digest promises.
    pub(crate) fn copy_out(
        &self,
        digest: &Digest,
        size: u64,
        file: &ObjectFile,
        destination: &Path,
    ) -> Result<Option<Problem>, ArtifactError> {
        let source = match File::open(&file.path) {
            Ok(source) => source,
            Err(error) => return Ok(Some(Problem::Unreadable(error.to_string()))),
        };
        let source: Box<dyn Read> = if file.packed {
            match zstd::Decoder::new(source) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => return Ok(Some(Problem::Unreadable(error.to_string()))),
            }
        } else {
            Box::new(source)
        };
        let mut source = source.take(size.saturating_add(1));
        let mut target = File::create(destination).map_err(ArtifactError::writing(destination))?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; (size.clamp(1, 1 << 20)) as usize];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(Problem::Unreadable(error.to_string()))),
            };
            hasher.update(&buffer[..read]);
            target
                .write_all(&buffer[..read])
                .map_err(ArtifactError::writing(destination))?;
        }
        let (found_digest, found) = hasher.finish();
        if found != size {
            return Ok(Some(Problem::Size {
                expected: size,
                found,
            }));
        }
        Ok((found_digest != *digest).then_some(Problem::Content))
    }

    /// All objects: digest and file. Names that are not those of objects are left out.
    pub(crate) fn list(&self) -> Result<Vec<(Digest, ObjectFile)>, ArtifactError> {
        let mut objects = Vec::new();
        for shard in read_folder(&self.root)? {
            let Some(start) = shard.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !shard.is_dir() {
                continue;
            }
            for path in read_folder(&shard)? {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                let (rest, packed) = match name.strip_suffix(".zst") {
                    Some(rest) => (rest, true),
                    None => (name, false),
                };
                let Ok(digest) = format!("{start}{rest}").parse::<Digest>() else {
                    continue;
                };
                if let Some(file) = stat_object(path.clone(), packed)? {
                    objects.push((digest, file));
                }
            }
        }
        objects.sort_by_key(|(digest, file)| (*digest, file.packed));
        Ok(objects)
    }

    /// Flushes the names of objects to the disk.
    pub(crate) fn sync_names<'a>(
        &self,
        digests: impl Iterator<Item = &'a Digest>,
    ) -> Result<(), ArtifactError> {
        let shards: std::collections::BTreeSet<PathBuf> = digests
            .filter_map(|digest| self.raw_path(digest).parent().map(Path::to_owned))
            .collect();
        for shard in &shards {
            sync_folder(shard)?;
        }
        sync_folder(&self.root)
    }
}

fn stat_object(path: PathBuf, packed: bool) -> Result<Option<ObjectFile>, ArtifactError> {
    use std::os::unix::fs::MetadataExt;
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(ObjectFile {
            stat: Stat::of(&metadata),
            links: metadata.nlink(),
            path,
            packed,
        })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ArtifactError::reading(path)(error)),
    }
}

fn remove_if_there(path: &Path) -> Result<(), ArtifactError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArtifactError::writing(path)(error))
        }
        _ => Ok(()),
    }
}

/// Whether the file is hard-linked from elsewhere.
fn has_other_names(path: &Path) -> Result<bool, ArtifactError> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path)
        .map(|metadata| metadata.nlink() > 1)
        .map_err(ArtifactError::reading(path))
}

/// Text: UTF-8 (a last character may be cut off by the end of the sample) without zero bytes.
fn is_text(sample: &[u8]) -> bool {
    if sample.contains(&0) {
        return false;
    }
    match std::str::from_utf8(sample) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && sample.len() == SAMPLE,
    }
}

/// The full paths of what is in a folder, sorted; a folder that is not there has nothing in it.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArtifactError::reading(folder)(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ArtifactError::reading(folder))?;
    paths.sort_unstable();
    Ok(paths)
}

/// Flushes the names in a folder to the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), ArtifactError> {
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(ArtifactError::writing(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_bytes_even_when_the_sample_cuts_a_character() {
        assert!(is_text("grüße, 世界\n".as_bytes()));
        assert!(!is_text(b"ELF\0\x01"));
        assert!(!is_text(b"caf\xe9"));
        let mut cut = "é".repeat(SAMPLE).into_bytes();
        cut.insert(0, b'x');
        cut.truncate(SAMPLE);
        assert!(std::str::from_utf8(&cut).is_err());
        assert!(is_text(&cut));
    }
}
