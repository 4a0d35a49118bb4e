//! The way of a result from a remote into a folder, every byte compared with what was asked for.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use fedact_artifact::{ArtifactError, Digest, Manifest, Outline, Packing, layout};
use sha2::{Digest as _, Sha256};

use crate::blobs::{self, BlobName};
use crate::entry::Entry;
use crate::{Remote, RemoteError};

/// Requests side by side: enough to fill a line whose answers take a while.
const REQUESTS: usize = 8;
/// More than the manifest of a million files has.
const MAX_MANIFEST: u64 = 256 << 20;

/// Hears of bytes had and bytes to have; what it returns says whether to go on.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) -> bool + Sync);

/// Why nothing came.
enum Failure {
    /// The remote could not, or not rightly.
    Remote(RemoteError),
    /// The user asked to stop.
    Stopped,
}

impl<E: Into<RemoteError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Remote(error.into())
    }
}

impl Remote {
    /// The files of an output, laid out in an empty folder. `None`: they could not be had, which counts as
    /// a miss.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn fetch(
        &self,
        entry: &Entry,
        folder: &Path,
        progress: Progress<'_>,
    ) -> Result<Option<Manifest>, ArtifactError> {
        if !self.health.readable() {
            return Ok(None);
        }
        match self.try_fetch(entry, folder, progress) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Failure::Stopped) => Ok(None),
            Err(Failure::Remote(RemoteError::Store(error))) => Err(error),
            Err(Failure::Remote(error)) => {
                self.health.reading_failed(&error);
                Ok(None)
            }
        }
    }

    fn try_fetch(
        &self,
        entry: &Entry,
        folder: &Path,
        progress: Progress<'_>,
    ) -> Result<Manifest, Failure> {
        let manifest = self.manifest(entry)?;
        let outline = Outline::new(folder, &manifest)?;
        let packing = layout(&manifest);
        let total = packing.pack_size().unwrap_or(0)
            + packing.loose.iter().map(|(_, size)| size).sum::<u64>();
        let delivery = Delivery {
            remote: self,
            outline: &outline,
            had: AtomicU64::new(0),
            total,
            progress,
        };
        if let Some(size) = packing.pack_size() {
            delivery.unpack(entry, &packing, size)?;
        }
        delivery.loose(&packing.loose)?;
        Ok(manifest)
    }

    /// The manifest of an output.
    fn manifest(&self, entry: &Entry) -> Result<Manifest, RemoteError> {
        let output = entry.action.output;
        let name = BlobName::Content(output);
        let what = || format!("manifest {output}");
        let bytes = blobs::read(self.blobs.as_ref(), &name, MAX_MANIFEST)?
            .ok_or_else(|| self.lying(what(), "it is not there"))?;
        if Digest::of(&bytes) != output {
            return Err(self.lying(what(), "its digest is another"));
        }
        let manifest = Manifest::from_bytes(&bytes)
            .and_then(|manifest| manifest.check_contained().map(|()| manifest))
            .map_err(|error| self.lying(what(), error.to_string()))?;
        let (files, bytes) = (manifest.file_count() as u64, manifest.total_size());
        if (files, bytes) != (entry.action.files, entry.action.bytes) {
            return Err(self.lying(what(), "it is not of the size that the record says"));
        }
        Ok(manifest)
    }
}

/// Contents on their way into their places.
struct Delivery<'a> {
    remote: &'a Remote,
    outline: &'a Outline<'a>,
    had: AtomicU64,
    total: u64,
    progress: Progress<'a>,
}

impl Delivery<'_> {
    /// Each content of the pack to its place.
    fn unpack(&self, entry: &Entry, packing: &Packing, size: u64) -> Result<(), Failure> {
        let what = format!("pack of {}", entry.action.output);
        let wrong = |reason: &str| Failure::Remote(self.remote.lying(what.clone(), reason));
        let pack = entry
            .pack
            .ok_or_else(|| wrong("the entry does not name it"))?;
        if pack.size != size {
            return Err(wrong("it is not of the size that the manifest says"));
        }
        // A file without a name; the pack may be larger than the memory.
        let mut file =
            tempfile::tempfile_in(&self.remote.spool).map_err(|error| self.unwritable(error))?;
        self.download(&pack.digest, pack.size, &mut file)?;
        io::Seek::rewind(&mut file).map_err(|error| self.unwritable(error))?;
        let mut source = BufReader::with_capacity(1 << 20, file);
        let mut bytes = Vec::new();
        for member in &packing.members {
            bytes.clear();
            (&mut source)
                .take(member.size)
                .read_to_end(&mut bytes)
                .map_err(|error| self.unwritable(error))?;
            if Digest::of(&bytes) != member.digest {
                return Err(wrong("its contents are not those of the manifest"));
            }
            if let Some(mut file) = self.outline.create(&member.digest)? {
                file.write_all(&bytes)
                    .map_err(|error| self.unwritable(error))?;
            }
            self.outline.filled(&member.digest)?;
        }
        Ok(())
    }

    /// What was fetched cannot be kept: the local disk's fault, not the remote's.
    fn unwritable(&self, source: io::Error) -> RemoteError {
        RemoteError::Store(ArtifactError::writing(&self.remote.spool)(source))
    }

    /// Contents that are blobs of their own, several at a time.
    fn loose(&self, contents: &[(Digest, u64)]) -> Result<(), Failure> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Failure>> = Mutex::new(None);
        let failed = || failure.lock().is_ok_and(|failure| failure.is_some());
        std::thread::scope(|scope| {
            for _ in 0..REQUESTS.min(contents.len()) {
                scope.spawn(|| {
                    while !failed()
                        && let Some((digest, size)) =
                            contents.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        if let Err(error) = self.content(digest, *size)
                            && let Ok(mut failure) = failure.lock()
                        {
                            failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(Some(failure)) => Err(failure),
            _ => Ok(()),
        }
    }

    fn content(&self, digest: &Digest, size: u64) -> Result<(), Failure> {
        let Some(mut file) = self.outline.create(digest)? else {
            return Ok(());
        };
        self.download(digest, size, &mut file)?;
        Ok(self.outline.filled(digest)?)
    }

    /// Writes a blob into a file, if it is what its name promises.
    fn download(&self, digest: &Digest, size: u64, file: &mut File) -> Result<(), Failure> {
        let name = BlobName::Content(*digest);
        let wrong = |reason: &str| Failure::Remote(self.remote.lying(name.to_string(), reason));
        let mut sink = Sink {
            file,
            hasher: Sha256::new(),
            delivery: self,
            stopped: false,
            full: None,
        };
        let got = self.remote.blobs.get(&name, size, &mut sink);
        if sink.stopped {
            return Err(Failure::Stopped);
        }
        if let Some(error) = sink.full {
            return Err(self.unwritable(error).into());
        }
        let found = Digest::from_bytes(sink.hasher.finalize().into());
        match got? {
            None => Err(wrong("it is not there")),
            Some(length) if length != size => {
                Err(wrong(&format!("it has {length} bytes instead of {size}")))
            }
            Some(_) if found != *digest => Err(wrong("its digest is another")),
            Some(_) => Ok(()),
        }
    }
}

/// Takes the digest of what is written to a file.
struct Sink<'a> {
    file: &'a mut File,
    hasher: Sha256,
    delivery: &'a Delivery<'a>,
    stopped: bool,
    full: Option<io::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.file.write(bytes) {
            Ok(written) => written,
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.full = Some(error);
                return Err(told);
            }
        };
        self.hasher.update(&bytes[..written]);
        let had = &self.delivery.had;
        let had = had.fetch_add(written as u64, Ordering::Relaxed) + written as u64;
        if !(self.delivery.progress)(had, self.delivery.total) {
            self.stopped = true;
            return Err(io::Error::other("stopped"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
