//! Stage teach: models and clips to what they say about views of them.
//!
//! See the crate's README for inputs, outputs and params.

mod run;

pub use fedact_teach_params::{DEFINITION, TeachParams};
pub use run::run;
