//! From clips on disk to batches of tensors: order, augmentation, normalisation, prefetching.

mod augment;
mod loader;
mod normalise;

pub use augment::View;
pub use fedact_recipe::{Augmentation, Views};
pub use loader::{Batch, Loader, LoaderSettings, Remainder};
