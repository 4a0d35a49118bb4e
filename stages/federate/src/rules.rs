//! The rules of a run, whoever its clients are.

use fedact_federation::aggregator::{Client, Config};
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::{Layout, TensorLayout};
use fedact_federation::strategy::{Average, Strategy};
use fedact_nets::quantize::QuantizedModel;
use serde_json::Value;

use crate::{FederateParams, StrategyKind};

/// So many tasks of every client, lost one after the other, end a run.
const LOSSES_OF_EACH: u64 = 50;

/// Lost tasks in a row that end a run with so many clients.
pub fn max_losses_in_a_row(clients: usize) -> u64 {
    LOSSES_OF_EACH * clients as u64
}

/// Tasks of every client that the budget comes to, rounded up, where a mean client's task is so many passes over its clips.
pub fn rounds(params: &FederateParams, clients: usize, passes_of_a_task: f64) -> u64 {
    let of_a_round = clients as f64 * passes_of_a_task;
    let rounds = params.budget.client_epochs as f64 / of_a_round;
    // A quotient that is whole but for its last bits is not rounded up.
    let nearest = rounds.round();
    let whole = (rounds - nearest).abs() <= 1e-9 * nearest;
    (if whole { nearest } else { rounds.ceil() }) as u64
}

/// How the parameters of a network lie.
pub fn layout_of(model: &QuantizedModel) -> Layout {
    let tensors = model.parameter_shapes().into_iter();
    let tensors = tensors.map(|tensor| TensorLayout {
        name: tensor.name,
        shape: tensor.shape,
    });
    Layout::new(tensors.collect())
}

/// What the server goes by.
pub fn config(
    params: &FederateParams,
    strategy: Strategy,
    layout: Layout,
    samples_per_task: impl IntoIterator<Item = u64>,
    budget_samples: u64,
) -> Config {
    let clients: Vec<Client> = samples_per_task
        .into_iter()
        .map(|samples_per_task| Client { samples_per_task })
        .collect();
    Config {
        strategy,
        max_refusals_in_a_row: 10 * clients.len() as u64,
        clients,
        layout,
        concurrency: params.concurrency,
        budget_samples,
        max_update_distance: params.max_update_norm,
        norm_bound: params.norm_bound,
        max_samples: params.max_samples,
        average: params.average_last.map(|share| Average { share }),
        seed: params.seed,
    }
}

/// The first line of the history.
pub fn start(
    params: &FederateParams,
    parameters: u64,
    model_bytes: u64,
    clients: Vec<ClientSummary>,
) -> Record {
    let mixing = match params.strategy {
        StrategyKind::Fedasync => Some(params.mixing.name().to_owned()),
        _ => None,
    };
    Record::Start {
        strategy: params.strategy.name().to_owned(),
        mixing,
        seed: params.seed,
        parameters,
        model_bytes,
        clients,
        settings: serde_json::to_value(params).unwrap_or(Value::Null),
    }
}
