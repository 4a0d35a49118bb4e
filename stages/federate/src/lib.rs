//! Stage federate: fine-tune a model on unequal devices, asynchronously, synchronously or at the centre.
//!
//! Training is real and happens in virtual-time order; time is that of the devices' profiles. The
//! method is in `fedact-federation`; this crate gives it clips, a network and a place to write.

mod checkpoint;
mod clients;
mod error;
mod params;
mod run;
mod sgd;
mod worker;

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library};
use serde_json::Value;

pub use error::FederateError;
pub use params::{Budget, Devices, FederateParams, StrategyKind};
pub use run::run;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "federate",
    summary: "fine-tune a quantized model on unequal devices, asynchronously, synchronously or at the centre",
    package: "fedact-federate",
    inputs: &[
        InputSpec {
            name: "model",
            kinds: &[Kind::QuantizedModel, Kind::Federated],
            arity: Arity::One,
            summary: "the quantized model to start from; it gets a new last layer where the classes differ",
        },
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips],
            arity: Arity::One,
            summary: "the clips that the clients hold (train split) and the model is tested on (test split)",
        },
    ],
    output: Kind::Federated,
    libraries: &[Library::Libtorch],
    resolve: fedact_stage::resolve::<FederateParams>,
    schema: fedact_stage::schema::<FederateParams>,
    cores,
};

fn cores(params: &Value) -> Cores {
    let threads = params["threads"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok());
    Cores::Fixed(threads.unwrap_or_else(|| FederateParams::default().threads))
}

/// Passes over all clips between two evaluations of the run at the centre: what `evaluate_every`
/// client-epochs come to, at least one.
fn central_epochs_per_segment(params: &FederateParams, clients: usize) -> u64 {
    (params.evaluate_every / clients as u64).max(1)
}
