//! `fedact gc`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fedact_artifact::{Collection, Digest, Item, Store, collection};
use fedact_pipeline::State;
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::output;
use crate::session::{self, Session};

/// `fedact gc`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    session: session::Arguments,
    /// Keep the results of this pipeline file, too. May be given several times.
    #[arg(long, value_name = "FILE")]
    keep: Vec<PathBuf>,
    /// List what would go, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists and removes what no kept pipeline reaches. Of each step of a kept pipeline stay the result that
/// is fresh and the latest one; of a pinned result, all that it was made from.
///
/// # Errors
/// What is wrong with the pipelines or the store.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let store = session.store()?;
    // In this order: what a run finishes meanwhile is seen by the look at the pipelines, or not doomed at all.
    let inventory = store.inventory()?;
    let mut keep = BTreeSet::new();
    add_kept(&session, &store, &mut keep)?;
    for file in &arguments.keep {
        let other = Session::open(&session::Arguments {
            file: file.clone(),
            set: Vec::new(),
            artifacts: session.artifacts.clone(),
        })?;
        add_kept(&other, &store, &mut keep)?;
    }
    let plan = collection(&inventory, &keep);
    if !arguments.json {
        output::text(&list(&plan))?;
    }
    let collected = if arguments.dry_run {
        None
    } else {
        Some(store.collect(&plan)?)
    };
    if arguments.json {
        let doomed: Vec<_> = plan
            .doomed
            .iter()
            .map(|doomed| {
                json!({
                    "item": name(&doomed.item),
                    "reason": doomed.reason,
                    "bytes": doomed.bytes,
                })
            })
            .collect();
        output::json(&json!({
            "doomed": doomed,
            "kept": plan.kept,
            "frees_bytes": plan.frees,
            "removed": collected.map(|collected| collected.removed),
            "freed_bytes": collected.map(|collected| collected.freed),
        }))?;
        return Ok(Code::Done);
    }
    match collected {
        Some(collected) => output::text(&format!(
            "removed {}, freed {}\n",
            collected.removed,
            output::size(collected.freed)
        ))?,
        None => output::text(&format!(
            "would remove {} and free {}\n",
            plan.doomed.len(),
            output::size(plan.frees)
        ))?,
    }
    Ok(Code::Done)
}

fn add_kept(session: &Session, store: &Store, keep: &mut BTreeSet<Digest>) -> Result<(), Refusal> {
    let (records, plan, _) = session.look(&session.graph, store, None)?;
    for (node, step) in session.graph.nodes().iter().zip(&plan.steps) {
        if step.state != State::Fresh {
            keep.extend(node.pieces());
        }
        keep.extend(step.key);
        keep.extend(records.latest_action(&step.step)?.map(|action| action.key));
    }
    Ok(())
}

fn list(plan: &Collection) -> String {
    let lines = plan.doomed.iter().map(|doomed| {
        let size = output::size(doomed.bytes);
        format!("{size:>10}  {}: {}\n", name(&doomed.item), doomed.reason)
    });
    lines.collect()
}

fn name(item: &Item) -> String {
    match item {
        Item::Result { key, step, .. } => format!("result of step {step} ({})", key.short()),
        Item::Unreadable(path) => format!("record {}", path.display()),
        Item::Object { digest, .. } => format!("object {}", digest.short()),
        Item::Manifest(digest) => format!("manifest {}", digest.short()),
        Item::Pack(output) => format!("small files of output {}", output.short()),
        Item::Checkpoints(key) => format!("checkpoints of {}", key.short()),
        Item::Pieces(space) => format!("finished pieces {}", space.short()),
        Item::Log { path, .. } => format!("log {}", path.display()),
    }
}
