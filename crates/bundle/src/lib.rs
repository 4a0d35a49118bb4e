//! Results as one file: written from a store, verified on the way into another.
//!
//! A bundle is a tar archive, compressed with zstd, that any tar reads:
//!
//! ```text
//! fedact-export.json        {"format": 1, "results": [{"key", "output", "step"}, ...]}, by key
//! records/<key>.json        the record of each result, by key
//! manifests/<output>        the manifest of each output, once, by digest
//! contents/<sha256>         each content, once, by digest
//! ```
//!
//! Nothing but regular files, in exactly this order; owners, times and permissions are zero or fixed. Equal
//! results give equal bytes, however many threads compress, so that caches keep one copy.
//!
//! What can be relied on:
//!
//! * [`export`] leaves a whole file or none: it writes beside it and renames.
//! * [`import`] reads everything before it believes anything: names, sizes and order, every digest, every key
//!   against its preimage, zstd's checksum at the end. From a file that is damaged, cut off or of another
//!   version nothing is taken. From a good one each result is taken whole, so that an import that is killed is
//!   gone on with by importing again.
//! * Memory does not grow with the sizes of files; the disk holds what is new twice for a moment.
//!
//! A bundle is not signed: whoever can write the file says what the results are. Take it from where only those
//! write whom you believe, as CI caches see to.

mod error;
mod export;
mod import;
mod layout;

pub use error::BundleError;
pub use export::{Exported, export};
pub use import::{Imported, ImportedResult, import, list};
pub use layout::FORMAT;
