//! Stage federate: fine-tune a model on unequal devices, asynchronously, synchronously or at the centre.
//!
//! In a simulation, training is real and happens in virtual-time order; time is that of the devices' profiles. With a fleet
//! (`served`), this process is the coordinator of real devices. The method is in `fedact-federation`; this crate gives it
//! clips, a network and a place to write.

mod checkpoint;
mod clients;
mod device;
mod drive;
mod error;
mod kept;
mod metrics;
mod rules;
mod run;
mod score;
mod served;
mod sgd;
mod trainer;
mod worker;
mod world;

pub use device::train_task;
pub use error::FederateError;
pub use fedact_federate_params::{
    Allotment, Budget, DEFINITION, Devices, FederateParams, FleetParams, StrategyKind, Transport,
    fleet,
};
pub use run::run;

/// Passes over all clips between two evaluations of the run at the centre: what `evaluate_every`
/// client-epochs come to, at least one.
fn central_epochs_per_segment(params: &FederateParams, clients: usize) -> u64 {
    (params.evaluate_every / clients as u64).max(1)
}
