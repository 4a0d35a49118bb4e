//! Stage evaluate: models, histories and clips to metrics, plots and a report.
//!
//! [`run`] loads every model, tests it on the clip set of its classes, and gathers what the page needs
//! into a [`report::Report`]; from there on no torch is needed. `plot` draws, `html` escapes.

mod collect;
mod error;
mod html;
mod measure;
mod params;
mod plot;
pub mod report;
mod run;
mod strips;

use fedact_stage::{
    Arity, Cores, Definition, InputSpec, Job, Kind, Library, Metrics, Reporter, StageError,
};
use serde_json::Value;

pub use error::EvaluateError;
pub use params::EvaluateParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "evaluate",
    summary: "Test models, gather the histories of federated runs, and write a report",
    package: "fedact-evaluate",
    inputs: &[
        InputSpec {
            name: "models",
            kinds: &[Kind::Model, Kind::QuantizedModel, Kind::Federated],
            arity: Arity::Many,
            summary: "The models to test, in the order in which the report lists them",
        },
        InputSpec {
            name: "clips",
            kinds: &[Kind::Clips],
            arity: Arity::Many,
            summary: "Clip sets; a model is tested on the test split of the one with its classes",
        },
    ],
    output: Kind::Report,
    libraries: &[Library::Libtorch],
    resolve: fedact_stage::resolve::<EvaluateParams>,
    schema: fedact_stage::schema::<EvaluateParams>,
    cores,
};

fn cores(params: &Value) -> Cores {
    let threads = params["threads"]
        .as_u64()
        .and_then(|threads| usize::try_from(threads).ok());
    Cores::Fixed(threads.unwrap_or_else(|| EvaluateParams::default().threads))
}

/// Tests every model and writes `index.html` and `metrics.json`.
///
/// # Errors
/// A model or clip set that cannot be read, a model whose classes no clip set has, a history that is
/// not complete.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: EvaluateParams = job.params()?;
    Ok(run::evaluate(job, &params, reporter)?)
}
