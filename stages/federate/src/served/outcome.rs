//! What a run came to.

use fedact_federation::aggregator::EndReason;
use fedact_federation::energy::Energy;
use fedact_federation::simulation::Totals;
use fedact_fleet::engine::Engine;
use serde_json::Value;

use super::plan::Plan;
use crate::FederateParams;
use crate::drive::Outcome;

/// What the engine of a finished run says. Energy was not measured, so there is none.
pub fn outcome(
    engine: &Engine,
    reason: EndReason,
    plan: &Plan,
    params: &FederateParams,
) -> Outcome {
    let (progress, aggregator) = (engine.progress(), engine.aggregator());
    let members = progress.members.iter();
    let lost = members.map(|member| member.lost).sum();
    let steps = |samples: u64| samples.div_ceil(params.batch_size as u64);
    let between = progress.samples_between;
    Outcome {
        reason: reason.code(),
        parameters: aggregator.model().to_vec(),
        seconds: progress.now,
        client_epochs: plan.client_epochs_of(aggregator.samples()),
        samples: aggregator.samples(),
        version: aggregator.version(),
        bytes_up: progress.bytes_up,
        bytes_down: progress.bytes_down,
        energy: Energy::default(),
        totals: Totals {
            bytes_up: progress.bytes_up,
            bytes_down: progress.bytes_down,
            updates: progress.mixed,
            refused: progress.refused.values().sum(),
            lost,
            lost_in_a_row: progress.lost_in_a_row,
            energy: Energy::default(),
            staleness_sum: progress.staleness_sum,
            max_staleness: progress.max_staleness,
            min_steps: between.map(|(least, _)| steps(least)),
            max_steps: between.map_or(0, |(_, most)| steps(most)),
        },
        refusals: serde_json::to_value(&progress.refused).unwrap_or(Value::Null),
        clipped: aggregator.clipped(),
        privacy: aggregator.privacy_spent(),
    }
}
