//! A remote that is a folder: a network drive, or a disk that several users share.
//!
//! `ac/ab/abcd...` and `cas/ab/abcd...`, as Bazel's disk cache lays them out. A blob appears by rename,
//! whole. A drive that hangs in the kernel hangs its user: no time limit reaches there.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::blobs::{BlobName, Blobs};
use crate::{RemoteError, transfer};

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    place: String,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            place: root.display().to_string(),
        }
    }

    fn path(&self, name: &BlobName) -> PathBuf {
        let digest = name.digest().to_string();
        self.root.join(name.kind()).join(&digest[..2]).join(digest)
    }

    fn failed(&self, act: &'static str) -> impl FnOnce(io::Error) -> RemoteError {
        let remote = self.place.clone();
        move |error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                RemoteError::Denied {
                    remote,
                    act,
                    reason: error.to_string(),
                }
            }
            _ => RemoteError::Unreachable {
                remote,
                reason: error.to_string(),
            },
        }
    }

    fn open(&self, name: &BlobName) -> Result<Option<File>, RemoteError> {
        match File::open(self.path(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A drive that is not mounted has nothing either, but must be told from an empty one.
                fs::metadata(&self.root).map_err(self.failed("be read"))?;
                Ok(None)
            }
            Err(error) => Err(self.failed("be read")(error)),
        }
    }
}

impl Blobs for Folder {
    fn place(&self) -> &str {
        &self.place
    }

    fn has(&self, name: &BlobName) -> Result<bool, RemoteError> {
        Ok(self.open(name)?.is_some())
    }

    fn get(
        &self,
        name: &BlobName,
        most: u64,
        sink: &mut dyn Write,
    ) -> Result<Option<u64>, RemoteError> {
        let Some(mut file) = self.open(name)? else {
            return Ok(None);
        };
        transfer::copy_at_most(&mut file, most, sink)
            .map_err(self.failed("be read"))?
            .map(Some)
            .ok_or_else(|| transfer::too_long(&self.place, name, most))
    }

    fn put(&self, name: &BlobName, size: u64, source: &mut dyn Read) -> Result<(), RemoteError> {
        fs::metadata(&self.root).map_err(self.failed("be written to"))?;
        let path = self.path(name);
        let shard = path.parent().unwrap_or(&self.root);
        let mut write = || -> io::Result<()> {
            fs::create_dir_all(shard)?;
            let mut fresh = tempfile::Builder::new()
                .prefix(".incoming-")
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(shard)?;
            let written = io::copy(source, &mut fresh)?;
            if written != size {
                return Err(io::Error::other(format!(
                    "{written} bytes were to be {size}"
                )));
            }
            fresh.as_file().sync_all()?;
            fresh.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(self.failed("be written to"))
    }
}
