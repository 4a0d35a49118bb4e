//! The way of a result to a remote: contents first, then the manifest, the entry last, so that no entry ever
//! names what is not there.

use std::io::{self, Read, Seek, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fedact_artifact::{Action, Digest, Packing, Reader, Store, layout};
use sha2::{Digest as _, Sha256};

use crate::blobs::BlobName;
use crate::entry::{Entry, Pack};
use crate::{Remote, RemoteError};

/// Requests side by side.
const REQUESTS: usize = 4;

/// What became of a result that was to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// The remote has it now, and so many bytes of it are new there.
    Sent {
        /// Bytes.
        bytes: u64,
    },
    /// The remote had it already.
    Known,
    /// The remote does not take it; [`Remote::take_warnings`] says why.
    Refused,
}

impl Remote {
    /// Brings a result to the remote.
    pub fn share(&self, store: &Store, action: &Action) -> Shared {
        if !self.takes() {
            return Shared::Refused;
        }
        self.try_share(store, action).unwrap_or_else(|error| {
            self.health.writing_failed(&error);
            Shared::Refused
        })
    }

    fn try_share(&self, store: &Store, action: &Action) -> Result<Shared, RemoteError> {
        // One that cannot be believed is replaced; another output of the same key is the newer one's to say.
        if let Ok(Some(known)) = self.entry(&action.key)
            && known.action.output == action.output
        {
            return Ok(Shared::Known);
        }
        let Some(manifest) = store.manifest(&action.output)? else {
            return Err(self.unreadable("the store no longer has its manifest"));
        };
        let shipment = Shipment {
            remote: self,
            reader: store.reader(&manifest),
        };
        let packing = layout(&manifest);
        let mut bytes = shipment.loose(&packing.loose)?;
        let mut pack = None;
        if let Some(size) = packing.pack_size() {
            let (made, sent) = shipment.pack(&packing, size)?;
            pack = Some(made);
            bytes += sent;
        }
        let text = manifest.to_bytes();
        bytes += shipment.content(&action.output, text.len() as u64, || {
            Ok(Box::new(text.as_slice()))
        })?;
        let entry = Entry {
            action: action.clone(),
            pack,
        };
        let text = entry
            .to_bytes(self.signing.as_ref())
            .map_err(|error| self.unreadable(&error.to_string()))?;
        let name = BlobName::Entry(action.key);
        self.blobs
            .put(&name, text.len() as u64, &mut text.as_slice())?;
        Ok(Shared::Sent {
            bytes: bytes + text.len() as u64,
        })
    }

    fn unreadable(&self, reason: &str) -> RemoteError {
        RemoteError::Setup {
            remote: self.place().to_owned(),
            reason: format!("what is to be sent cannot be read: {reason}"),
        }
    }
}

/// The contents of a result on their way out.
struct Shipment<'a> {
    remote: &'a Remote,
    reader: Reader<'a>,
}

impl Shipment<'_> {
    /// Contents that are blobs of their own, several at a time; says how many bytes were sent.
    fn loose(&self, contents: &[(Digest, u64)]) -> Result<u64, RemoteError> {
        let next = AtomicUsize::new(0);
        let sum: Mutex<Result<u64, RemoteError>> = Mutex::new(Ok(0));
        let going_on = || sum.lock().is_ok_and(|sum| sum.is_ok());
        std::thread::scope(|scope| {
            for _ in 0..REQUESTS.min(contents.len()) {
                scope.spawn(|| {
                    while going_on()
                        && let Some((digest, size)) =
                            contents.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let sent = self.content(digest, *size, || self.open(digest));
                        let Ok(mut sum) = sum.lock() else { return };
                        match (&mut *sum, sent) {
                            (Ok(sum), Ok(sent)) => *sum += sent,
                            (Ok(_), Err(error)) => *sum = Err(error),
                            (Err(_), _) => {}
                        }
                    }
                });
            }
        });
        sum.into_inner()
            .unwrap_or_else(|_| Err(self.remote.unreadable("a thread broke off")))
    }

    /// Sends one content, unless it is there; says how many bytes were sent.
    fn content<'s>(
        &self,
        digest: &Digest,
        size: u64,
        open: impl FnOnce() -> Result<Box<dyn Read + 's>, RemoteError>,
    ) -> Result<u64, RemoteError> {
        let name = BlobName::Content(*digest);
        if self.remote.blobs.has(&name)? {
            return Ok(0);
        }
        self.remote.blobs.put(&name, size, &mut open()?)?;
        Ok(size)
    }

    /// Puts the small contents together and sends them, unless they are there.
    fn pack(&self, packing: &Packing, size: u64) -> Result<(Pack, u64), RemoteError> {
        let failed = |error: io::Error| self.remote.unreadable(&error.to_string());
        let mut file = tempfile::tempfile_in(&self.remote.spool).map_err(failed)?;
        let mut hasher = Sha256::new();
        let mut bytes = Vec::new();
        for member in &packing.members {
            bytes.clear();
            self.open(&member.digest)?
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            hasher.update(&bytes);
            file.write_all(&bytes).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        let pack = Pack {
            digest: Digest::from_bytes(hasher.finalize().into()),
            size,
        };
        let sent = self.content(&pack.digest, pack.size, || Ok(Box::new(file)))?;
        Ok((pack, sent))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read>, RemoteError> {
        Ok(Box::new(self.reader.open(digest)?))
    }
}
