//! Stage evaluate: models, histories and clips to metrics, plots and a report.
//!
//! [`run`] loads every model, tests it on the clip set of its classes, and gathers what the page needs
//! into a [`report::Report`]; from there on no torch is needed. `fedact-chart` draws and escapes.

mod collect;
mod error;
mod measure;
pub mod report;
mod run;
mod strips;

use fedact_stage::{Job, Metrics, Reporter, StageError};

pub use error::EvaluateError;
pub use fedact_evaluate_params::{DEFINITION, EvaluateParams};

/// Tests every model and writes `index.html` and `metrics.json`.
///
/// # Errors
/// A model or clip set that cannot be read, a model whose classes no clip set has, a history that is
/// not complete.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: EvaluateParams = job.params()?;
    Ok(run::evaluate(job, &params, reporter)?)
}
