//! From clips on disk to batches of tensors: order, augmentation, normalisation, prefetching.

mod augment;
mod loader;
mod normalise;

pub use augment::{Augmentation, View};
pub use loader::{Batch, Loader, LoaderSettings, Remainder};
