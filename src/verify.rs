//! `fedact verify`.

use std::path::PathBuf;

use clap::Args;
use fedact_artifact::{Store, Verification};
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::output;
use crate::progress::Counter;

/// `fedact verify`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the store and the outputs.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reads the whole store and names what is damaged and which steps that hurts.
///
/// # Errors
/// The store cannot be used.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let store = Store::open(arguments.artifacts.join("store"))?;
    let mut counter = Counter::new("verifying");
    let found = store.verify(|done, total| counter.show(done, total))?;
    drop(counter);
    if arguments.json {
        output::json(&as_json(&found))?;
    } else {
        output::text(&as_text(&found))?;
    }
    Ok(if found.is_whole() {
        Code::Done
    } else {
        Code::Store
    })
}

fn as_text(found: &Verification) -> String {
    let mut text = String::new();
    for record in &found.damaged_records {
        let path = record.path.display();
        text.push_str(&format!("damaged record {path}: {}\n", record.reason));
    }
    for result in &found.damaged_results {
        text.push_str(&format!(
            "damaged result of step {} ({})\n",
            result.step, result.key
        ));
        for (damage, paths) in &result.damage {
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.as_path().display().to_string())
                .collect();
            if paths.is_empty() {
                text.push_str(&format!("  {damage}\n"));
            } else {
                text.push_str(&format!("  {}: {damage}\n", paths.join(", ")));
            }
        }
    }
    for damage in &found.stray {
        text.push_str(&format!("damaged, needed by nothing: {damage}\n"));
    }
    text.push_str(&format!(
        "{} results, {} objects, {}: {}\n",
        found.records,
        found.objects,
        output::size(found.bytes),
        if found.is_whole() {
            "all whole"
        } else {
            "damaged ones are made again by the next `fedact run`"
        }
    ));
    text
}

fn as_json(found: &Verification) -> serde_json::Value {
    let records: Vec<_> = found
        .damaged_records
        .iter()
        .map(|record| json!({"path": record.path, "reason": record.reason}))
        .collect();
    let results: Vec<_> = found
        .damaged_results
        .iter()
        .map(|result| {
            let damage: Vec<_> = result
                .damage
                .iter()
                .map(|(damage, paths)| {
                    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
                    json!({
                        "part": damage.part.to_string(),
                        "object": damage.digest,
                        "problem": damage.to_string(),
                        "paths": paths,
                    })
                })
                .collect();
            json!({"key": result.key, "step": result.step, "damage": damage})
        })
        .collect();
    let stray: Vec<_> = found.stray.iter().map(|damage| damage.digest).collect();
    json!({
        "whole": found.is_whole(),
        "results": found.records,
        "manifests": found.manifests,
        "packs": found.packs,
        "objects": found.objects,
        "bytes": found.bytes,
        "damaged_records": records,
        "damaged_results": results,
        "stray": stray,
    })
}
