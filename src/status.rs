//! `fedact status`.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use fedact_artifact::LockOwner;
use fedact_pipeline::{Estimate, Plan, PlannedStep, State, StoreRecords};
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::output;
use crate::session::{self, Session};

/// `fedact status`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    session: session::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A step as in a plan, and who runs it just now.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    planned: &'a PlannedStep,
    /// The process that works on it, in words.
    running: Option<String>,
    /// The same as it is written down.
    owner: Option<LockOwner>,
}

/// Prints how each step stands.
///
/// # Errors
/// What is wrong with the pipeline or the store.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let store = session.store()?;
    let records = StoreRecords::for_a_look(&store);
    let (plan, _) = session.plan(
        &session.graph,
        &store,
        &records,
        &BTreeSet::new(),
        &mut |_| {},
    )?;
    let owner = |step: &PlannedStep| store.owner(&step.key?);
    if arguments.json {
        let steps: Vec<Row<'_>> = plan
            .steps
            .iter()
            .map(|planned| {
                let owner = owner(planned);
                Row {
                    planned,
                    running: owner.as_ref().map(ToString::to_string),
                    owner,
                }
            })
            .collect();
        output::json(&serde_json::json!({ "steps": steps }))?;
        return Ok(Code::Done);
    }
    output::text(&table_with(&plan, |step| {
        owner(step).map(|owner| running(&owner))
    }))?;
    Ok(Code::Done)
}

/// Who runs a step, and since when.
fn running(owner: &LockOwner) -> String {
    if owner.started == 0 {
        return format!("running ({owner})");
    }
    let since = owner.started as f64;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock that was set back makes no negative times.
    let seconds = now.map_or(0.0, |now| (now.as_secs_f64() - since).max(0.0));
    format!(
        "running for {} ({owner}, since {})",
        output::duration(seconds),
        output::moment(since)
    )
}

/// A plan, one line a step.
pub fn table(plan: &Plan) -> String {
    table_with(plan, |_| None)
}

fn table_with(plan: &Plan, instead: impl Fn(&PlannedStep) -> Option<String>) -> String {
    let width = |get: fn(&PlannedStep) -> &str| {
        let lengths = plan.steps.iter().map(|step| get(step).len());
        lengths.max().unwrap_or(0)
    };
    let (steps, stages) = (width(|step| &step.step), width(|step| &step.stage));
    plan.steps
        .iter()
        .map(|step| {
            let state = instead(step).unwrap_or_else(|| state(&step.state));
            format!("{:steps$}  {:stages$}  {state}\n", step.step, step.stage)
        })
        .collect()
}

/// A state in words.
pub fn state(state: &State) -> String {
    match state {
        State::Fresh => "fresh".to_owned(),
        State::Stale { reason } => format!("stale: {reason}"),
        State::NeverRun => "never run".to_owned(),
        State::Waiting { on } => format!("depends on what comes out of {}", on.join(", ")),
    }
}

/// How much a run on so many cores would do, and how long it may take.
pub fn forecast(plan: &Plan, estimate: &Estimate, cores: usize) -> String {
    if plan.nothing_to_do() {
        return "nothing to do\n".to_owned();
    }
    let certain = plan.steps.iter().filter(|step| step.state.runs()).count();
    let perhaps = plan
        .steps
        .iter()
        .filter(|step| matches!(step.state, State::Waiting { .. }))
        .count();
    let mut text = format!("would run {certain} of {}", plan.steps.len());
    if perhaps > 0 {
        text.push_str(&format!(", and up to {perhaps} more that depend on those"));
    }
    if estimate.seconds > 0.0 {
        text.push_str(&format!(
            "; about {} on {cores} {}",
            output::duration(estimate.seconds),
            if cores == 1 { "core" } else { "cores" }
        ));
    }
    let shown: Vec<&str> = estimate
        .unknown
        .iter()
        .take(5)
        .map(String::as_str)
        .collect();
    let more = estimate.unknown.len() - shown.len();
    if !shown.is_empty() && estimate.seconds > 0.0 {
        text.push_str(&format!(", not counting {}", shown.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text.push_str(", of which no time is known");
    }
    text.push('\n');
    text
}
