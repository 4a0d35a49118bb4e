//! The federation on real machines: a coordinator and devices over NATS JetStream.
//!
//! * [`identity`]: keys, the roster of a fleet, join files.
//! * [`wire`]: subjects and messages, byte by byte.
//! * [`journal`]: the events on the disk; [`engine`]: the aggregator of the simulation, driven by them.

mod digest;
pub mod engine;
mod error;
mod files;
pub mod identity;
pub mod journal;
mod name;
pub mod wire;

pub use digest::Digest;
pub use error::FleetError;
pub use name::Name;
