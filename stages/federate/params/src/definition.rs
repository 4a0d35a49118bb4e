//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};
use serde_json::Value;

use crate::{FederateParams, StrategyKind, Transport};

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
    resolve: resolve::<FederateParams>,
    schema: schema::<FederateParams>,
    cores,
    memory: |params| Some(memory(params)),
    pieces: None,
};

fn cores(params: &Value) -> Cores {
    let FederateParams {
        threads,
        workers,
        strategy,
        transport,
        ..
    } = known(params);
    // At the centre there is one network; one tests what a fleet does.
    Cores::Fixed(match (strategy, transport) {
        (StrategyKind::Central, _) | (_, Transport::Nats) => threads,
        _ => threads * workers,
    })
}

fn memory(params: &Value) -> u64 {
    let FederateParams {
        workers, transport, ..
    } = known(params);
    let others = match transport {
        Transport::Simulation => workers as u64 - 1,
        Transport::Nats => 0,
    };
    FIRST_NETWORK + OTHER_NETWORK * others
}

/// Resolved params; those that are not count as if they were left out.
fn known(params: &Value) -> FederateParams {
    serde_json::from_value(params.clone()).unwrap_or_default()
}

/// Measured at 200 MiB for a student of width 4, half of it libtorch itself. The network is an input and not
/// known here.
const FIRST_NETWORK: u64 = 512 << 20;

/// What each further network takes beside.
const OTHER_NETWORK: u64 = 128 << 20;
