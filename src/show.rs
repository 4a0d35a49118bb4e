//! `fedact show`.

mod model;

use std::collections::BTreeSet;

use clap::Args;
use fedact_artifact::{Action, Digest, EntryKind, Kept, Manifest, Provenance, Store};
use fedact_pipeline::{Change, Plan, StoreRecords};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};
use crate::session::{self, Session};
use crate::{frames, output, pin, remote, results};
use model::ModelCost;

/// How many files are listed.
const FILES: usize = 20;

/// `fedact show`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The step. Of a matrix step, or of several, the results are shown as one table.
    #[arg(value_name = "STEP", required = true)]
    steps: Vec<String>,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    frames: frames::Arguments,
    #[command(flatten)]
    table: results::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what the store knows of a step's result: of the one that the pipeline as it is now would give,
/// or else of the latest one.
///
/// # Errors
/// What is wrong with the pipeline or the store; a step that has no result.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let (step, kind) = match arguments.steps.as_slice() {
        _ if arguments.table.given() => return table(&session, arguments),
        [one] => match session.graph.select(one)?.as_slice() {
            [node] => (node.name.clone(), node.stage.definition.output),
            _ => return table(&session, arguments),
        },
        _ => return table(&session, arguments),
    };
    let graph = session.graph.only(std::slice::from_ref(&step))?;
    let remote = arguments.remote.named(&session)?;
    let store = session.store()?;
    let (records, plan, _) = session.look(&graph, &store, remote)?;
    let result = result_of(&step, &plan, &records)?;
    let Some((action, fresh)) = result else {
        return Err(Refusal::new(
            Code::Failed,
            format!("step `{step}` has no result yet"),
            format!("`fedact run {step}` makes one"),
        ));
    };
    if let Some(picture) = &arguments.frames.frames {
        let folder = session.artifacts.join(&step);
        return frames::command(
            &frames::Shown {
                step: &step,
                kind,
                folder: &folder,
                delivered: store.is_materialized(&action.output, &folder),
                key: action.key,
                fresh,
            },
            picture,
            &arguments.frames,
            arguments.json,
        );
    }
    let manifest = store.manifest(&action.output)?;
    let model = manifest
        .as_ref()
        .and_then(|manifest| ModelCost::of(&store, manifest));
    if arguments.json {
        output::json(&json!({
            "step": step,
            "fresh": fresh,
            "key": action.key,
            "output": action.output,
            "preimage": action.preimage,
            "provenance": action.provenance,
            "pinned": kept(&store, &action.key)?,
            "model": model,
            "files": manifest,
            "sources": sources(&records, &action)?,
        }))?;
        return Ok(Code::Done);
    }
    let kept = kept(&store, &action.key)?;
    let mut text = heading(&step, fresh, &action, kept);
    let away = fresh && records.action(&action.key)?.is_none();
    text.push_str(&files(&action, away, &manifest.unwrap_or_default()));
    if let Some(model) = model {
        text.push_str(&model.to_string());
    }
    text.push_str(&description(&action, &records)?);
    output::text(&text)?;
    Ok(Code::Done)
}

/// The results of several steps.
fn table(session: &Session, arguments: &Arguments) -> Result<Code, Refusal> {
    if arguments.frames.frames.is_some() {
        return Err(Refusal::new(
            Code::Usage,
            "`--frames` draws the clips of one step, and these are several",
            "name one step, as in `fedact show large-clips --frames clips.png`",
        ));
    }
    let (steps, wanted) = (&arguments.steps, &arguments.table);
    let overwrite = arguments.frames.overwrite;
    results::command(
        session,
        &arguments.remote,
        steps,
        wanted,
        overwrite,
        arguments.json,
    )
}

/// The result that the planned step would give, here or on the remote, or else its latest one; and whether it is the first.
///
/// # Errors
/// What is wrong with the store.
pub fn result_of(
    step: &str,
    plan: &Plan,
    records: &StoreRecords<'_>,
) -> Result<Option<(Action, bool)>, Refusal> {
    let planned = plan.steps.iter().find(|planned| planned.step == step);
    if let Some(key) = planned.and_then(|planned| planned.key)
        && let Some(action) = records.known(&key)?
    {
        return Ok(Some((Action::clone(&action), true)));
    }
    let latest = records.latest_action(step)?;
    Ok(latest.map(|action| (Action::clone(&action), false)))
}

/// What the result is, and how it was made.
fn heading(step: &str, fresh: bool, action: &Action, kept: Option<Kept>) -> String {
    let provenance = &action.provenance;
    let mut text = format!(
        "{step} (stage {}){}\nkey      {}\noutput   {}\nmade     {} in {} on {} by fedact {}{}\n",
        provenance.stage,
        if fresh {
            ""
        } else {
            ": an older result, the step is stale"
        },
        action.key,
        action.output,
        output::moment(provenance.started),
        output::duration(provenance.seconds),
        provenance.host,
        provenance.version,
        if provenance.resumed {
            ", going on from checkpoints"
        } else {
            ""
        },
    );
    text.push_str(&acceptances(provenance));
    if let Some(kept) = kept {
        text.push_str(&pin::since(kept.at, &kept.host));
        text.push_str(&match kept.because {
            Some(because) => format!(": {because}\n"),
            None => "\n".to_owned(),
        });
    }
    text
}

/// The files; `away` if they are on the remote.
fn files(action: &Action, away: bool, manifest: &Manifest) -> String {
    let mut text = format!(
        "files    {}, {}{}\n",
        action.files,
        output::size(action.bytes),
        if away { ", on the remote" } else { "" }
    );
    for entry in manifest.entries().iter().take(FILES) {
        if let EntryKind::File { size, .. } = &entry.kind {
            let path = entry.path.as_path().display();
            text.push_str(&format!("  {:>10}  {path}\n", output::size(*size)));
        }
    }
    if manifest.entries().len() > FILES {
        let more = manifest.entries().len() - FILES;
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

/// What the result was made from, and what came of it.
fn description(action: &Action, records: &StoreRecords<'_>) -> Result<String, Refusal> {
    let provenance = &action.provenance;
    let mut text = String::new();
    section(&mut text, "params", &action.preimage["params"]);
    section(
        &mut text,
        "metrics",
        &Value::Object(provenance.metrics.clone()),
    );
    for warning in &provenance.warnings {
        text.push_str(&format!("warning  {warning}\n"));
    }
    text.push_str("sources\n");
    for (depth, line) in lineage(records, action)? {
        text.push_str(&format!("{}{line}\n", "  ".repeat(depth + 1)));
    }
    Ok(text)
}

/// Whether somebody has pinned the result of a key.
fn kept(store: &Store, key: &Digest) -> Result<Option<Kept>, Refusal> {
    Ok(store.kept()?.into_iter().find(|kept| kept.key == *key))
}

/// Under which keys the output was made and accepted, the latest first.
fn acceptances(provenance: &Provenance) -> String {
    let mut text = String::new();
    for accepted in provenance.accepted.iter().rev() {
        text.push_str(&format!(
            "accepted {} on {} by fedact {}, from key {}, although\n",
            output::moment(accepted.at),
            accepted.host,
            accepted.version,
            accepted.from
        ));
        for change in &accepted.changes {
            let typed = Change::deserialize(change);
            let words = typed.map_or_else(|_| change.to_string(), |change| change.to_string());
            text.push_str(&format!("  {words}\n"));
        }
    }
    text
}

/// Top-level values one a line, deeper ones as JSON.
fn section(text: &mut String, title: &str, values: &Value) {
    text.push_str(title);
    text.push('\n');
    for (key, value) in values.as_object().into_iter().flatten() {
        text.push_str(&format!("  {key}: {value}\n"));
    }
}

/// Where it all comes from, down to folders of the user's and steps without inputs.
fn lineage(records: &StoreRecords<'_>, action: &Action) -> Result<Vec<(usize, String)>, Refusal> {
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    follow(records, action, 0, &mut seen, &mut lines)?;
    Ok(lines)
}

fn follow(
    records: &StoreRecords<'_>,
    action: &Action,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    lines: &mut Vec<(usize, String)>,
) -> Result<(), Refusal> {
    for (input, sources) in &action.provenance.inputs {
        for source in sources {
            lines.push((
                depth,
                format!("{input}: {} {}", source.name, source.digest.short()),
            ));
            let Some(key) = source.key.filter(|key| seen.insert(*key)) else {
                continue;
            };
            if let Some(upstream) = records.recorded(&key)? {
                follow(records, &upstream, depth + 1, seen, lines)?;
            }
        }
    }
    Ok(())
}

/// The provenance of everything before it, by key.
fn sources(records: &StoreRecords<'_>, action: &Action) -> Result<Value, Refusal> {
    let mut all = serde_json::Map::new();
    let mut open: Vec<Digest> = keys_of_inputs(action);
    while let Some(key) = open.pop() {
        if all.contains_key(&key.to_string()) {
            continue;
        }
        if let Some(upstream) = records.recorded(&key)? {
            open.extend(keys_of_inputs(&upstream));
            all.insert(key.to_string(), json!(upstream.provenance));
        }
    }
    Ok(Value::Object(all))
}

fn keys_of_inputs(action: &Action) -> Vec<Digest> {
    let sources = action.provenance.inputs.values().flatten();
    sources.filter_map(|source| source.key).collect()
}
