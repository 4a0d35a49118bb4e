//! `matrix:`: one step of the file, expanded over lists of values.
//!
//! ```yaml
//! tuned:
//!   stage: federate
//!   inputs: {model: quantized, clips: small-clips}
//!   matrix: {params.strategy: [fedasync, fedavg], params.seed: [0, 1, 2]}
//! ```
//!
//! makes six instances, `tuned@strategy=fedasync,seed=0` and so on: each an ordinary step with a folder, a
//! key and a record of its own. The key does not know of the matrix: an instance and a plain step with the
//! same params are the same work.
//!
//! | written                   | means                                                                        |
//! | ------------------------- | ---------------------------------------------------------------------------- |
//! | `params.KEY: [..]`        | an axis over a param (dots nest), named `KEY`                                |
//! | `inputs.NAME: [..]`       | an axis over what an input is bound to, named `NAME`                         |
//! | an input `x: tuned`       | the step follows the axes of `tuned`: an instance for each of its instances   |
//! | an input `x: [tuned]`     | a list of all instances of `tuned`                                            |
//! | `tuned@seed=0`            | wherever a step is named: only the instances with this value                  |
//!
//! Axes go by their names, as dimensions do in xarray. Where a step has an axis of its own with the name of one
//! that it follows, the two are one axis and must have the same values; likewise where it follows two steps. A
//! list takes, of the instances it could, those that agree with the instance it is for.

mod axis;
mod expand;
mod label;
mod measure;
mod select;
mod space;

pub(crate) use axis::Axis;
pub(crate) use expand::{Bound, BoundSource, Instance, expand};
pub use label::Label;
pub(crate) use select::{Selection, refuse};

/// How many instances one step may have.
pub(crate) const LIMIT: usize = 10_000;
