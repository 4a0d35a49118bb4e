//! What a run came to, in numbers.

use std::path::Path;

use fedact_federation::bound::{self, Observed};
use fedact_nets::files;
use fedact_nets::score::Scores;
use fedact_stage::Metrics;
use serde_json::{Value, json};

use crate::drive::Outcome;
use crate::{FederateError, FederateParams, StrategyKind, Transport};

/// The metrics of the step.
pub fn metrics(params: &FederateParams, outcome: &Outcome, scores: &Scores) -> Metrics {
    let totals = &outcome.totals;
    let observed = Observed {
        alpha: params.alpha,
        learning_rate: params.learning_rate,
        versions: outcome.version,
        max_staleness: totals.max_staleness,
        min_steps: totals.min_steps.unwrap_or(0),
        max_steps: totals.max_steps,
    };
    let terms = (params.strategy == StrategyKind::Fedasync)
        .then(|| bound::terms(&observed))
        .flatten();
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: Value| metrics.insert(name.to_owned(), value);
    put("strategy", json!(params.strategy.name()));
    put("end", json!(outcome.reason));
    put_rules(params, &mut put);
    put("top1", json!(scores.top1));
    put("top5", json!(scores.top5));
    put("mean_class_accuracy", json!(scores.mean_class_accuracy));
    put("loss", json!(scores.loss));
    match params.transport {
        Transport::Simulation => {
            put("virtual_seconds", json!(outcome.seconds));
            put("joules", json!(outcome.energy.joules()));
        }
        // Seconds of a clock, and nobody has measured what the devices spent.
        Transport::Nats => {
            put("transport", json!(params.transport.name()));
            put("seconds", json!(outcome.seconds));
        }
    }
    put("client_epochs", json!(outcome.client_epochs));
    put("samples", json!(outcome.samples));
    put("bytes_up", json!(outcome.bytes_up));
    put("bytes_down", json!(outcome.bytes_down));
    put("versions", json!(outcome.version));
    put("updates", json!(totals.updates));
    put("refused", json!(totals.refused));
    put("refusals", outcome.refusals.clone());
    put("clipped", json!(outcome.clipped));
    put("lost_tasks", json!(totals.lost));
    put("mean_staleness", json!(totals.mean_staleness()));
    put("max_staleness", json!(totals.max_staleness));
    if let Some(spent) = &outcome.privacy {
        put("privacy", json!(spent));
    }
    if let Some(terms) = terms {
        let assumptions = "terms up to the problem's unknown constants (epsilon and those in O()); \
                           they hold for an L-smooth, mu-weakly convex loss, rho > mu, gamma < 1/L, \
                           plain SGD";
        let bound = json!({
            "observed": observed,
            "terms": terms,
            "assumptions": assumptions,
            "explanation": bound::explain(&observed),
        });
        put("bound", bound);
    }
    metrics
}

/// The strategy's choices that make runs of one name differ.
fn put_rules(params: &FederateParams, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
    if params.strategy == StrategyKind::Central {
        return;
    }
    if let Some(share) = params.average_last {
        put("average_last", json!(share));
    }
    if params.strategy == StrategyKind::Fedasync {
        return;
    }
    put("server", json!(params.server_optimizer()));
    if matches!(
        params.strategy,
        StrategyKind::Fedavg | StrategyKind::Fedbuff | StrategyKind::Fadas
    ) {
        put("combination", json!(params.combination.name()));
    }
    if matches!(
        params.strategy,
        StrategyKind::Fedbuff | StrategyKind::Fadas | StrategyKind::Ca2fl | StrategyKind::Ace
    ) {
        put("buffer_size", json!(params.updates_per_version()));
    }
    if matches!(params.strategy, StrategyKind::Fedbuff | StrategyKind::Fadas) {
        put("update_weights", json!(params.update_weights.name()));
    }
}

/// Writes them, with the confusion matrix, into the output folder.
///
/// # Errors
/// Names the file.
pub fn write_metrics(
    folder: &Path,
    metrics: &Metrics,
    scores: &Scores,
) -> Result<(), FederateError> {
    let path = folder.join(files::METRICS);
    let mut all = metrics.clone();
    all.insert("confusion".to_owned(), json!(scores.confusion));
    let write = || -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&all)?;
        text.push(b'\n');
        std::fs::write(&path, text)
    };
    write().map_err(|source| FederateError::Write {
        path: path.clone(),
        source,
    })
}
