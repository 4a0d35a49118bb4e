//! `fedact status`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use fedact_artifact::{LockOwner, ShardNote, Store};
use fedact_pipeline::{Estimate, Plan, PlannedStep, State, shard_of};
use fedact_stage::Shard;
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::session::{self, Session};
use crate::{output, remote};

/// `fedact status`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
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
    /// The shards of it that have been begun.
    shards: Vec<ShardRow>,
}

/// A shard of a step that is not finished.
#[derive(Serialize)]
struct ShardRow {
    #[serde(flatten)]
    note: ShardNote,
    /// The process that works on it, in words.
    running: Option<String>,
}

impl std::fmt::Display for ShardRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} ", self.note.number, self.note.of)?;
        match (&self.running, self.note.seconds) {
            (Some(owner), _) => write!(f, "running ({owner})"),
            (None, Some(_)) => f.write_str("done"),
            (None, None) => write!(f, "broken off on {}", self.note.host),
        }
    }
}

/// The shards that a step without a result was parted into.
fn shards(store: &Store, step: &PlannedStep) -> Result<Vec<ShardRow>, Refusal> {
    let Some(key) = step.key.filter(|_| step.state != State::Fresh) else {
        return Ok(Vec::new());
    };
    let row = |note: ShardNote| {
        let (number, of) = (note.number, note.of);
        let owner = store.owner(&shard_of(&key, Shard { number, of }));
        ShardRow {
            running: owner.map(|owner| owner.to_string()),
            note,
        }
    };
    Ok(store.shards(&key)?.into_iter().map(row).collect())
}

/// Prints how each step stands.
///
/// # Errors
/// What is wrong with the pipeline or the store.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let remote = arguments.remote.named(&session)?;
    let store = session.store()?;
    let (_, plan, _) = session.look(&session.graph, &store, remote)?;
    let owner = |step: &PlannedStep| store.owner(&step.key?);
    if arguments.json {
        let row = |planned| -> Result<Row<'_>, Refusal> {
            let owner = owner(planned);
            Ok(Row {
                planned,
                running: owner.as_ref().map(ToString::to_string),
                owner,
                shards: shards(&store, planned)?,
            })
        };
        let steps: Vec<Row<'_>> = plan.steps.iter().map(row).collect::<Result<_, _>>()?;
        output::json(&serde_json::json!({ "steps": steps }))?;
        return Ok(Code::Done);
    }
    let mut parted = HashMap::new();
    for step in &plan.steps {
        let shards: Vec<String> = shards(&store, step)?
            .iter()
            .map(ShardRow::to_string)
            .collect();
        if !shards.is_empty() {
            let text = format!("{}; shards: {}", state(&step.state), shards.join(", "));
            parted.insert(&step.step, text);
        }
    }
    output::text(&table_with(&plan, |step| {
        let running = owner(step).map(|owner| running(&owner));
        running.or_else(|| parted.remove(&step.step))
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

fn table_with(plan: &Plan, mut instead: impl FnMut(&PlannedStep) -> Option<String>) -> String {
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
        State::Remote => "on the remote".to_owned(),
        State::Stale { reason } => format!("stale: {reason}"),
        State::NeverRun => "never run".to_owned(),
        State::Waiting { on } => format!("depends on what comes out of {}", on.join(", ")),
    }
}

/// How much a run on so many cores would do, what it would fetch, and how long it may take.
pub fn forecast(plan: &Plan, fetches: &[String], estimate: &Estimate, cores: usize) -> String {
    let fetch = match fetches {
        [] => String::new(),
        steps => format!(
            "would fetch {} from the remote ({})\n",
            output::count(steps.len(), "step"),
            steps.join(", ")
        ),
    };
    if plan.nothing_to_do() {
        return if fetches.is_empty() {
            "nothing to do\n".to_owned()
        } else {
            fetch
        };
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
    text + &fetch
}
