//! The federation on real machines: a coordinator and devices over NATS JetStream.
//!
//! * [`identity`]: keys, the roster of a fleet, join files.
//! * [`wire`]: subjects and messages, byte by byte.
//! * [`journal`]: the events on the disk; [`engine`]: the aggregator of the simulation, driven by them.
//! * [`difference`]: what goes down to a device that has a model already.
//! * [`setup`]: keys, certificates and the server's configuration for a new fleet.
//! * [`coordinator`] and [`client`]: the two sides of a run.

pub mod client;
pub mod coordinator;
pub mod difference;
pub mod engine;
mod error;
mod files;
pub mod identity;
pub mod journal;
mod link;
mod name;
pub mod setup;
mod stop;
pub mod wire;

pub use error::FleetError;
pub use name::Name;
pub use stop::Stop;

pub use fedact_artifact::Digest;
