//! From clips on disk to batches of tensors: order, augmentation, normalisation, prefetching.

mod augment;
mod loader;
mod order;
mod validation;

pub use augment::{View, mirrored_labels};
pub use fedact_recipe::{Augmentation, Views};
pub use loader::{Batch, Loader, LoaderSettings, Mixed, Remainder};
pub use validation::hold_out;
