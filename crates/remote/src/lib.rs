//! Results shared between machines: a folder, an S3 bucket or an HTTP cache, signed and verified.
//!
//! ```text
//! ac/<key>          the entry: record, where the small files are, signatures       (entry.rs)
//! cas/<output>      the manifest; its name is its digest
//! cas/<sha256>      a file, or the pack with the small files of an artifact        
//! ```
//!
//! What can be relied on:
//!
//! * Nothing is believed for having come from a remote. Contents and manifests are compared with their
//!   digests, an entry with the key it was asked for, and with a trusted key where there is one.
//! * A remote that is gone, slow, full, forbidden or wrong is a miss; it never fails a run, and one line says
//!   so ([`Remote::take_warnings`]).
//! * An entry is written after all that it names, so that a reader never finds half a result.
//! * Nothing happens before it is asked for: no connection, no thread, no TLS without a remote that needs them.

mod address;
mod blobs;
mod entry;
mod error;
mod fetch;
mod folder;
mod health;
mod network;
mod remote;
mod share;
mod sign;
mod transfer;
mod uploader;

pub use address::Address;
pub use entry::{Entry, Pack};
pub use error::RemoteError;
pub use fetch::Progress;
pub use network::Access;
pub use remote::{Config, Remote};
pub use share::Shared;
pub use sign::{PublicKey, SigningKey};
pub use transfer::Limits;
pub use uploader::{Uploader, Uploads};
