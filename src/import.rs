//! `fedact import`.

use std::path::{Path, PathBuf};

use clap::Args;
use fedact_artifact::{Digest, Store};
use fedact_bundle::{Imported, ImportedResult};
use fedact_pipeline::RunEvent;
use fedact_stage::Event;
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::{output, progress};

/// `fedact import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file of `fedact export`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take only the results of this step. May be given several times.
    #[arg(long, value_name = "STEP")]
    step: Vec<String>,
    /// The folder of the store and the outputs.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was imported, for `--json`.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    taken: Vec<Line>,
    known: Vec<Line>,
    bytes: u64,
}

/// One result.
#[derive(Debug, Serialize)]
struct Line {
    step: String,
    key: Digest,
    output: Digest,
}

/// Takes the results of a file into the store.
///
/// # Errors
/// A file that is damaged or none of ours: nothing is taken then. A store that fails.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let store = Store::open(arguments.artifacts.join("store"))?;
    let mut shown = (!arguments.json).then(progress::for_this_terminal);
    let wanted = |step: &str| {
        arguments.step.is_empty() || arguments.step.iter().any(|wanted| wanted == step)
    };
    let imported = fedact_bundle::import(&store, &arguments.file, wanted, |done, total| {
        if let Some(shown) = &mut shown {
            shown.hear(&report(&arguments.file, "reading", done, total));
        }
    })?;
    drop(shown);
    if arguments.json {
        output::json(&Report {
            file: arguments.file.clone(),
            taken: imported.taken.iter().map(Line::of).collect(),
            known: imported.known.iter().map(Line::of).collect(),
            bytes: imported.bytes,
        })?;
    } else {
        output::text(&words(&imported))?;
    }
    Ok(Code::Done)
}

impl Line {
    fn of(result: &ImportedResult) -> Self {
        Self {
            step: result.step.clone(),
            key: result.key,
            output: result.output,
        }
    }
}

fn words(imported: &Imported) -> String {
    let mut text = format!(
        "took {} ({})",
        output::count(imported.taken.len(), "result"),
        output::size(imported.bytes)
    );
    if !imported.taken.is_empty() {
        let steps: Vec<&str> = imported.taken.iter().map(|one| one.step.as_str()).collect();
        text.push_str(&format!(": {}", steps.join(", ")));
    }
    if !imported.known.is_empty() {
        text.push_str(&format!("; {} were there already", imported.known.len()));
    }
    text.push('\n');
    text
}

/// How far the work on a file is, in the form that progress is shown from.
pub fn report(file: &Path, task: &str, done: u64, total: u64) -> RunEvent {
    RunEvent::Reported {
        step: file.display().to_string(),
        report: Event::Progress {
            task: task.to_owned(),
            done,
            total,
            unit: "bytes".to_owned(),
            detail: String::new(),
        },
    }
}
