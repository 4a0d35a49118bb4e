//! `fedact export`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use fedact_artifact::{Action, Digest};
use fedact_pipeline::{PlannedStep, State, StoreRecords};
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::progress::Counter;
use crate::run::all_cores;
use crate::session::{self, Session};
use crate::{output, remote, status};

/// `fedact export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file to write, by custom ending in .tar.zst; one that is there is replaced.
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// The steps to export, with what they need; all steps where none is named.
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Leave out what the named steps need.
    #[arg(long, requires = "steps")]
    alone: bool,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was exported, for `--json`.
#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    results: Vec<Line>,
    left_out: Vec<PlannedStep>,
    contents: usize,
    bytes: u64,
    file_bytes: u64,
}

/// One result.
#[derive(Debug, Serialize)]
struct Line {
    step: String,
    key: Digest,
    output: Digest,
}

/// Writes the results that are fresh and in the store into a file.
///
/// # Errors
/// A named step without a fresh result here, none at all; a file or a store that fails.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let graph = session.graph.only(&arguments.steps)?;
    let mut named = BTreeSet::new();
    for step in &arguments.steps {
        let nodes = session.graph.select(step)?;
        named.extend(nodes.into_iter().map(|node| node.name.as_str()));
    }
    let remote = arguments.remote.named(&session)?;
    let store = session.store()?;
    let records = StoreRecords::new(&store).with_exchange(remote::open(remote, &store));
    let (plan, _) = session.plan(
        &graph,
        &store,
        &records,
        &BTreeSet::new(),
        &mut session::only_warnings,
    )?;
    let mut results: Vec<(String, Rc<Action>)> = Vec::new();
    let mut left_out = Vec::new();
    for step in plan.steps {
        let is_named = named.contains(step.step.as_str());
        if arguments.alone && !is_named {
            continue;
        }
        let action = match (&step.state, step.key) {
            (State::Fresh, Some(key)) => records.action(&key)?,
            _ => None,
        };
        match action {
            Some(action) => results.push((step.step, action)),
            None if is_named => return Err(not_there(&step)),
            None => left_out.push(step),
        }
    }
    if results.is_empty() {
        return Err(Refusal::new(
            Code::Failed,
            "no step has a fresh result in the store, so there is nothing to export",
            "`fedact run` makes results, `fedact status` says how they stand",
        ));
    }
    let actions: Vec<Action> = results
        .iter()
        .map(|(_, action)| Action::clone(action))
        .collect();
    let threads = u32::try_from(all_cores()).unwrap_or(1);
    let mut counter = Counter::new("exporting");
    let exported = fedact_bundle::export(
        &store,
        &actions,
        &arguments.bundle,
        threads,
        |done, total| {
            counter.show(done, total);
        },
    )?;
    drop(counter);
    if arguments.json {
        let line = |(step, action): (String, Rc<Action>)| Line {
            step,
            key: action.key,
            output: action.output,
        };
        output::json(&Exported {
            file: arguments.bundle.clone(),
            results: results.into_iter().map(line).collect(),
            left_out,
            contents: exported.contents,
            bytes: exported.bytes,
            file_bytes: exported.compressed,
        })?;
        return Ok(Code::Done);
    }
    let mut text = format!(
        "exported {} ({}) to {} ({})\n",
        output::count(results.len(), "step"),
        output::size(exported.bytes),
        arguments.bundle.display(),
        output::size(exported.compressed)
    );
    for step in &left_out {
        let state = status::state(&step.state);
        text.push_str(&format!("left out {}: {state}\n", step.step));
    }
    output::text(&text)?;
    Ok(Code::Done)
}

fn not_there(step: &PlannedStep) -> Refusal {
    let name = &step.step;
    let help = match step.state {
        State::Remote => format!("`fedact run {name}` fetches it"),
        _ => format!("`fedact run {name}` makes it, `fedact why {name}` says what is wrong"),
    };
    Refusal::new(
        Code::Failed,
        format!("step `{name}` has no fresh result in the store to export"),
        help,
    )
}
