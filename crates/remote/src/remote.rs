//! A remote as a run sees it: it answers, or it is as if it were not there.

use std::path::PathBuf;

use fedact_artifact::Digest;

use crate::address::Address;
use crate::blobs::{self, BlobName, Blobs};
use crate::entry::{self, Entry};
use crate::folder::Folder;
use crate::health::Health;
use crate::network::Network;
use crate::{Access, Limits, PublicKey, RemoteError, SigningKey};

/// What a remote is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it is.
    pub address: Address,
    /// Who asks there.
    pub access: Access,
    /// Whose claims are believed. Where there are none, and no signing key either, everybody's are.
    pub trust: Vec<PublicKey>,
    /// Signs what is shared; its own claims are believed, too.
    pub signing: Option<SigningKey>,
    /// Whether results are shared, and not only taken.
    pub write: bool,
    /// How slow it may be.
    pub limits: Limits,
    /// A folder for nameless files on their way; it must be there.
    pub spool: PathBuf,
}

/// A place that other machines take results from and bring results to.
///
/// It never fails a run: what it does not have, does not give in time, gives wrong, or gives without a
/// trusted signature is a miss. [`Remote::take_warnings`] says so, once.
pub struct Remote {
    pub(crate) blobs: Box<dyn Blobs>,
    pub(crate) signing: Option<SigningKey>,
    pub(crate) health: Health,
    pub(crate) spool: PathBuf,
    trust: Vec<PublicKey>,
    write: bool,
}

impl Remote {
    /// Sets up a remote; makes no request yet.
    ///
    /// # Errors
    /// An address or a setting that no request could be made with.
    pub fn open(config: Config) -> Result<Self, RemoteError> {
        let place = config.address.to_string();
        let blobs: Box<dyn Blobs> = match &config.address {
            Address::Folder { path } => Box::new(Folder::new(path)),
            Address::S3 { bucket, prefix } => Box::new(Network::s3(
                place,
                bucket,
                prefix,
                &config.access,
                config.limits,
                &config.spool,
            )?),
            Address::Http { url } => Box::new(Network::http(
                place,
                url,
                &config.access,
                config.limits,
                &config.spool,
            )?),
        };
        let mut trust = config.trust;
        trust.extend(config.signing.as_ref().map(SigningKey::public));
        // What nobody would believe is not worth sending.
        let believed = trust.is_empty() || config.signing.is_some();
        Ok(Self {
            blobs,
            signing: config.signing,
            health: Health::default(),
            spool: config.spool,
            trust,
            write: config.write && believed,
        })
    }

    /// Where it is, for messages.
    pub fn place(&self) -> &str {
        self.blobs.place()
    }

    /// Whether it takes results just now.
    pub fn takes(&self) -> bool {
        self.write && self.health.writable()
    }

    /// What it claims to be the result of a key, where the claim can be believed.
    pub fn find(&self, key: &Digest) -> Option<Entry> {
        if !self.health.readable() {
            return None;
        }
        self.entry(key).unwrap_or_else(|error| {
            self.health.reading_failed(&error);
            None
        })
    }

    pub(crate) fn entry(&self, key: &Digest) -> Result<Option<Entry>, RemoteError> {
        let name = BlobName::Entry(*key);
        let Some(bytes) = blobs::read(self.blobs.as_ref(), &name, entry::MAX_SIZE)? else {
            return Ok(None);
        };
        Entry::from_bytes(&bytes, key, &self.trust)
            .map(Some)
            .map_err(|reason| self.lying(name.to_string(), reason))
    }

    /// What is to be said about the remote since the last time this was asked: at most a line or two in
    /// a run.
    pub fn take_warnings(&self) -> Vec<String> {
        self.health.take_warnings()
    }

    pub(crate) fn lying(&self, what: String, reason: impl Into<String>) -> RemoteError {
        RemoteError::Lying {
            remote: self.place().to_owned(),
            what,
            reason: reason.into(),
        }
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remote({})", self.place())
    }
}
