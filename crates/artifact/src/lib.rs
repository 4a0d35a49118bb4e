//! Content-addressed artifacts: digests, manifests, the object store, publishing, verification and
//! collection. Knows nothing of pipelines, torch or FFmpeg.
//!
//! An artifact is a [`Manifest`]: the sorted paths of a folder, with size, mode and SHA-256. Its bytes
//! lie in a [`Store`], by content, and so does the manifest. An [`Action`] says that a key (the digest of all
//! that decides a result) has a certain manifest as its result, and how that came about.
//!
//! ```text
//! artifacts/
//! ├── store/                          Store::open(root)
//! │   ├── version                     the layout's number; another one is refused
//! │   ├── objects/                    bytes by the SHA-256 of their unpacked content
//! │   │   ├── ab/cdef...              raw, read-only, linked into artifacts/<step>/
//! │   │   └── 12/3456....zst          packed: text that shrinks to under half
//! │   ├── packs/<digest of manifest>  the small files of an artifact that has very many, in one file
//! │   ├── manifests/<digest>          what outputs, and folders that were inputs, consist of
//! │   ├── actions/<key>.json          key preimage, digest of the output's manifest, provenance, checksum
//! │   ├── checkpoints/<key>/          private to a key, gone on success, never an input
//! │   ├── logs/<step>-<key>.log       what the processes of steps wrote to standard error
//! │   ├── locks/<key>.lock            held (flock) by who works on the key; says who that is
//! │   ├── locks/collect               shared by publishers, exclusive for the collector
//! │   ├── pins/<pid>-<n>              held by a run; the keys that no collection may take
//! │   ├── kept/<key>.json             a result that a person keeps, since when and why
//! │   ├── stats/<folder>              digests under (path, size, mtime, ctime, inode): saves reading
//! │   ├── stats/parts-<manifest>      the same for the parts of an artifact: manifest, pack, objects
//! │   ├── stats/latest                the key that each step used last: saves reading all records
//! │   └── tmp/<id>/, tmp/<id>.lock    work in progress; swept when nobody holds the lock
//! └── <step>/                         Store::materialize: the latest outputs, read-only
//! ```
//!
//! What can be relied on:
//!
//! * A result is there whole or not at all, whatever is killed when ([`Workspace::publish`]).
//! * A damaged or missing object is a miss, never delivered ([`Store::lookup`], [`Store::materialize`]).
//!   Damage that leaves no trace in the file's stats (a failing disk) is found by [`Store::verify`].
//! * Everything in `stats/` may be deleted at any time; it only saves reading.
//! * Locks, pins and `tmp/` are freed by the death of their process; nothing is guessed from numbers.

mod action;
mod adopt;
mod cache;
mod canonical;
mod digest;
mod error;
#[cfg(any(test, feature = "fault-injection"))]
pub mod fault;
#[cfg(not(any(test, feature = "fault-injection")))]
mod fault;
mod gc;
mod kept;
mod latest;
mod lock;
mod manifest;
mod manifests;
mod materialize;
mod objects;
mod outline;
mod pack;
mod packs;
mod path;
mod pin;
mod publish;
mod reader;
mod scan;
mod scratch;
mod stat;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod trust;
mod verify;
mod walk;

pub use action::{Accepted, Action, Provenance, Source};
pub use adopt::ScratchTree;
pub use digest::{Digest, InvalidDigest, canonical_json};
pub use error::ArtifactError;
pub use gc::{
    Collected, Collection, Doomed, Inventory, Item, StoredObject, StoredResult, collection,
};
pub use kept::Kept;
pub use lock::{Attempt, KeyLock, LockOwner, host_name};
pub use manifest::{Entry, EntryKind, Manifest};
pub use materialize::Materialized;
pub use objects::{Damage, PACK_MIN_SIZE, Part, Problem, SAMPLE};
pub use outline::Outline;
pub use pack::{MEMBER_MAX, MEMBERS_MIN, Member, Packing, layout};
pub use path::{EntryPath, LinkTarget};
pub use pin::Pin;
pub use publish::Workspace;
pub use reader::{Content, Reader};
pub use store::{FolderDigest, Lookup, STORE_VERSION, Store};
pub use verify::{DamagedRecord, DamagedResult, Verification};
