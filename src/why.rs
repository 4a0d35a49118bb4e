//! `fedact why`.

use clap::Args;
use fedact_pipeline::{Explained, PlannedStep, Preimage, Records, State, changes};
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::session::{self, Session};
use crate::{explain, output, remote, status};

/// `fedact why`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The step.
    step: String,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that speaks for running a step, or against it.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    planned: &'a PlannedStep,
    /// All that differs from the latest result.
    changes: Vec<Explained>,
    /// The steps that have to run before more can be said.
    first: Vec<&'a PlannedStep>,
}

/// Prints what differs between the latest result of a step and what a run would make.
///
/// # Errors
/// What is wrong with the pipeline or the store.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let node = session.graph.require(&arguments.step)?;
    let graph = session.graph.only(std::slice::from_ref(&arguments.step))?;
    let remote = arguments.remote.named(&session)?;
    let store = session.store()?;
    let (records, plan, contents) = session.look(&graph, &store, remote)?;
    let Some(planned) = plan.steps.iter().find(|step| step.step == node.name) else {
        return Ok(Code::Done);
    };
    let old = records
        .latest(&node.name)?
        .and_then(|latest| latest.preimage);
    let changes = match (&planned.state, old, Preimage::of(node, &contents)) {
        (State::Fresh | State::Remote, ..) => Vec::new(),
        (_, Some(old), Some(new)) => changes(&old, &new),
        _ => Vec::new(),
    };
    let changes = changes
        .into_iter()
        .map(|change| Explained::of(change, &store))
        .collect::<Result<Vec<_>, _>>()?;
    let first: Vec<&PlannedStep> = match planned.state {
        State::Waiting { .. } => plan.steps.iter().filter(|step| step.state.runs()).collect(),
        _ => Vec::new(),
    };
    if arguments.json {
        output::json(&Answer {
            planned,
            changes,
            first,
        })?;
        return Ok(Code::Done);
    }
    let mut text = match changes.as_slice() {
        [] => format!("{}: {}\n", node.name, status::state(&planned.state)),
        changes => {
            let lines = changes.iter().map(|change| explain::change(change, "  "));
            format!("{}: stale\n{}", node.name, lines.collect::<String>())
        }
    };
    for step in first {
        text.push_str(&format!(
            "  {}: {}\n",
            step.step,
            status::state(&step.state)
        ));
    }
    output::text(&text)?;
    Ok(Code::Done)
}
