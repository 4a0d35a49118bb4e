//! `fedact export`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fedact_artifact::{Action, Digest};
use fedact_pipeline::{State, StoreRecords};
use fedact_stage::Event;
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::progress;
use crate::run::all_cores;
use crate::session::{self, Session};
use crate::{import::report, output};

/// `fedact export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file to write, by custom ending in .tar.zst; one that is there is replaced.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Export this step and what it needs, instead of all steps. May be given several times.
    #[arg(long, value_name = "STEP")]
    step: Vec<String>,
    /// Leave out what the named steps need.
    #[arg(long, requires = "step")]
    alone: bool,
    #[command(flatten)]
    session: session::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was exported, for `--json`.
#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    results: Vec<Line>,
    left_out: Vec<String>,
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

/// Writes the results that are fresh into a file.
///
/// # Errors
/// A named step without a fresh result, none at all; a file or a store that fails.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let graph = session.graph.only(&arguments.step)?;
    let store = session.store()?;
    let records = StoreRecords::new(&store);
    let mut shown = (!arguments.json).then(progress::for_this_terminal);
    let (plan, _) = session.plan(&graph, &store, &records, &BTreeSet::new(), &mut |event| {
        if let Some(shown) = &mut shown {
            shown.hear(&event);
        }
    })?;
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for step in &arguments.step {
        named.extend(session.graph.select(step)?.iter().map(|node| node.name.as_str()));
    }
    let mut results: Vec<(String, Action)> = Vec::new();
    let mut left_out = Vec::new();
    for step in &plan.steps {
        if arguments.alone && !named.contains(step.step.as_str()) {
            continue;
        }
        let action = match (&step.state, step.key) {
            (State::Fresh, Some(key)) => records.action(&key)?,
            _ => None,
        };
        match action {
            Some(action) => results.push((step.step.clone(), Action::clone(&action))),
            None if named.contains(step.step.as_str()) => return Err(not_there(&step.step)),
            None => left_out.push(step.step.clone()),
        }
    }
    if results.is_empty() {
        return Err(Refusal::new(
            Code::Failed,
            "no step has a fresh result, so there is nothing to export",
            "`fedact run` makes results, `fedact status` says how they stand",
        ));
    }
    let actions: Vec<Action> = results.iter().map(|(_, action)| action.clone()).collect();
    let threads = u32::try_from(all_cores()).unwrap_or(1);
    let exported = fedact_bundle::export(
        &store,
        &actions,
        &arguments.file,
        threads,
        |done, total| {
            if let Some(shown) = &mut shown {
                shown.hear(&report(&arguments.file, "writing", done, total));
            }
        },
    )?;
    drop(shown);
    if arguments.json {
        output::json(&Exported {
            file: arguments.file.clone(),
            results: results
                .into_iter()
                .map(|(step, action)| Line {
                    step,
                    key: action.key,
                    output: action.output,
                })
                .collect(),
            left_out,
            contents: exported.contents,
            bytes: exported.bytes,
            file_bytes: exported.compressed,
        })?;
    } else {
        let mut text = format!(
            "exported {} ({}) to {} ({})\n",
            output::count(results.len(), "step"),
            output::size(exported.bytes),
            arguments.file.display(),
            output::size(exported.compressed)
        );
        if !left_out.is_empty() {
            text.push_str(&format!(
                "left out, because they are not fresh: {}\n",
                left_out.join(", ")
            ));
        }
        output::text(&text)?;
    }
    Ok(Code::Done)
}

fn not_there(step: &str) -> Refusal {
    Refusal::new(
        Code::Failed,
        format!("step `{step}` has no fresh result to export"),
        format!("`fedact run {step}` makes it, `fedact why {step}` says what is wrong"),
    )
}
