//! The manifests that the store keeps: `manifests/<digest>`, canonical bytes, packed with zstd where that
//! saves a quarter. Their name is the digest of their bytes, so that a damaged one is known for one.
//!
//! Kept are the manifests of outputs, and those of users' folders that were inputs, so that a change of an
//! input can be told file by file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::objects::{Part, Problem, read_folder, sync_folder};
use crate::scratch::Scratch;
use crate::{ArtifactError, Damage, Digest, Manifest, Store, fault};

/// Below this size packing saves no block of the disk.
const PACK_MIN_SIZE: usize = 4 << 10;
const PACK_LEVEL: i32 = 3;
/// What zstd's files begin with.
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// More than the manifest of ten million files has; a damaged file must not fill the memory.
const MAX_SIZE: u64 = 1 << 30;

impl Store {
    pub(crate) fn manifests_folder(&self) -> PathBuf {
        self.root().join("manifests")
    }

    pub(crate) fn manifest_file(&self, digest: &Digest) -> PathBuf {
        self.manifests_folder().join(digest.to_string())
    }

    /// The manifest with a digest; `None` if the store does not have it, or has it damaged.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, ArtifactError> {
        Ok(self.read_manifest(digest)?.ok())
    }

    /// The same, and what is wrong with it.
    pub(crate) fn read_manifest(
        &self,
        digest: &Digest,
    ) -> Result<Result<Manifest, Damage>, ArtifactError> {
        let damaged = |problem| {
            Ok(Err(Damage {
                part: Part::Manifest,
                digest: *digest,
                problem,
            }))
        };
        let path = self.manifest_file(digest);
        let bytes = match read_bytes(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return damaged(Problem::Missing);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ArtifactError::reading(path)(error));
            }
            Err(error) => return damaged(Problem::Unreadable(error.to_string())),
        };
        if Digest::of(&bytes) != *digest {
            return damaged(Problem::Content);
        }
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) => Ok(Ok(manifest)),
            Err(error) => damaged(Problem::Unreadable(error.to_string())),
        }
    }

    /// The digests of all manifests that are there.
    pub(crate) fn kept_manifests(&self) -> Result<Vec<Digest>, ArtifactError> {
        Ok(read_folder(&self.manifests_folder())?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .collect())
    }

    /// Keeps a manifest, flushed to the disk; collections spare it while a kept result names it as an input or
    /// output.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn keep_manifest(&self, manifest: &Manifest) -> Result<Digest, ArtifactError> {
        let digest = manifest.digest();
        if self.read_manifest(&digest)?.is_err() {
            let scratch = Scratch::new(&self.tmp())?;
            self.write_manifest(manifest, scratch.path())?;
        }
        Ok(digest)
    }

    /// Writes the file of a manifest, whole or not at all.
    pub(crate) fn write_manifest(
        &self,
        manifest: &Manifest,
        scratch: &Path,
    ) -> Result<(), ArtifactError> {
        let file = self.manifest_file(&manifest.digest());
        let temporary = scratch.join("manifest");
        let write = || -> io::Result<()> {
            let mut open = File::create(&temporary)?;
            open.write_all(&packed(manifest.to_bytes())?)?;
            open.sync_all()?;
            fault::point("manifest: written")?;
            fs::rename(&temporary, &file)?;
            fault::point("manifest: renamed")
        };
        write().map_err(ArtifactError::writing(&file))?;
        sync_folder(&self.manifests_folder())
    }
}

/// The bytes as they lie on the disk.
fn packed(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if bytes.len() < PACK_MIN_SIZE {
        return Ok(bytes);
    }
    let packed = zstd::bulk::compress(&bytes, PACK_LEVEL)?;
    Ok(if packed.len() < bytes.len() / 4 * 3 {
        packed
    } else {
        bytes
    })
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if !bytes.starts_with(ZSTD_MAGIC) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    zstd::Decoder::new(bytes.as_slice())?
        .take(MAX_SIZE)
        .read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
