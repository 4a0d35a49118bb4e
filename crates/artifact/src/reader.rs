//! Reading what an artifact holds straight from the store, however it lies there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::digest::Hasher;
use crate::objects::{Part, Problem};
use crate::pack::Packing;
use crate::{ArtifactError, Damage, Digest, Manifest, Store, layout};

/// The contents of one artifact.
#[derive(Debug)]
pub struct Reader<'a> {
    store: &'a Store,
    packing: Packing,
    /// Its pack, or what is wrong with it.
    pack: Result<Option<Arc<File>>, Damage>,
}

impl Store {
    /// Opens an artifact for reading its contents one by one. Keep its key pinned meanwhile.
    pub fn reader(&self, manifest: &Manifest) -> Reader<'_> {
        let packing = layout(manifest);
        Reader {
            pack: self
                .open_pack(&manifest.digest(), &packing)
                .map(|pack| pack.map(Arc::new)),
            store: self,
            packing,
        }
    }
}

impl Reader<'_> {
    /// Where its contents lie.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// The whole pack, unchecked: each member must be compared with its digest. `None`: it has none.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`] if it is gone or has another length.
    pub fn open_pack(&self) -> Result<Option<impl Read + use<>>, ArtifactError> {
        match &self.pack {
            Ok(pack) => Ok(pack.as_ref().map(|pack| Section {
                file: Arc::clone(pack),
                offset: 0,
                left: self.packing.pack_size().unwrap_or(0),
            })),
            Err(damage) => Err(unavailable(damage.clone())),
        }
    }

    /// The content with a digest, checked while it is read: the read that reaches its end fails with
    /// [`io::ErrorKind::InvalidData`] if the bytes were not those that the digest promises.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`] if it is not there, or not part of this artifact.
    pub fn open(&self, content: &Digest) -> Result<Content, ArtifactError> {
        if let Some(member) = self.packing.member(content) {
            return match &self.pack {
                Ok(Some(pack)) => {
                    let section = Section {
                        file: Arc::clone(pack),
                        offset: member.offset,
                        left: member.size,
                    };
                    Ok(Content::new(Box::new(section), *content, member.size))
                }
                Ok(None) => Err(unavailable(missing(content))),
                Err(damage) => Err(unavailable(damage.clone())),
            };
        }
        let loose = &self.packing.loose;
        let size = loose
            .binary_search_by_key(content, |(digest, _)| *digest)
            .map(|index| loose[index].1)
            .map_err(|_| unavailable(missing(content)))?;
        let Some(object) = self.store.objects.find(content)? else {
            return Err(unavailable(missing(content)));
        };
        let open = File::open(&object.path).map_err(ArtifactError::reading(&object.path))?;
        let source: Box<dyn Read + Send> = if object.packed {
            Box::new(zstd::Decoder::new(open).map_err(ArtifactError::reading(&object.path))?)
        } else {
            Box::new(open)
        };
        Ok(Content::new(source, *content, size))
    }
}

fn missing(content: &Digest) -> Damage {
    Damage {
        part: Part::Object,
        digest: *content,
        problem: Problem::Missing,
    }
}

fn unavailable(damage: Damage) -> ArtifactError {
    ArtifactError::Unavailable {
        damage: vec![damage],
    }
}

/// A part of a file.
struct Section {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A content on its way out of the store, see [`Reader::open`].
pub struct Content {
    source: io::Take<Box<dyn Read + Send>>,
    /// Gone once the end was reached and found right.
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
}

impl Content {
    fn new(source: Box<dyn Read + Send>, digest: Digest, size: u64) -> Self {
        Self {
            // One byte more than it should have is enough to know that it is wrong.
            source: source.take(size.saturating_add(1)),
            hasher: Some(Hasher::default()),
            digest,
            size,
        }
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.source.read(buffer)?;
        if read > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..read]);
            }
            return Ok(read);
        }
        if let Some(hasher) = self.hasher.take() {
            let (found, length) = hasher.finish();
            if found != self.digest || length != self.size {
                self.hasher = Some(Hasher::default());
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    Damage {
                        part: Part::Object,
                        digest: self.digest,
                        problem: Problem::Content,
                    }
                    .to_string(),
                ));
            }
        }
        Ok(0)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
