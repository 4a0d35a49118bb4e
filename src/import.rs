//! `fedact import`.

use std::path::PathBuf;

use clap::Args;
use fedact_artifact::{Digest, Store};
use fedact_bundle::{Imported, ImportedResult};
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::output;
use crate::progress::Counter;

/// `fedact import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file of `fedact export`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The steps whose results to take; all in the file where none is named. A matrix step stands for all its
    /// instances.
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
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

/// Takes the results of a file into the store, for the next `fedact run` to find.
///
/// # Errors
/// A file that is damaged or none of ours: nothing is taken then. A step that it does not have. A store that
/// fails.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    if !arguments.steps.is_empty() {
        let there = fedact_bundle::list(&arguments.file)?;
        for step in &arguments.steps {
            if !there.iter().any(|result| stands_for(step, &result.step)) {
                return Err(not_in(arguments, step, &there));
            }
        }
    }
    let wanted = |step: &str| {
        let named = &arguments.steps;
        named.is_empty() || named.iter().any(|name| stands_for(name, step))
    };
    let store = Store::open(arguments.artifacts.join("store"))?;
    let mut counter = Counter::new("importing");
    let imported = fedact_bundle::import(&store, &arguments.file, wanted, |done, total| {
        counter.show(done, total);
    })?;
    drop(counter);
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

/// Whether a name on the command line means this step or the matrix step that it is an instance of.
fn stands_for(name: &str, step: &str) -> bool {
    step.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
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
    let mut text = format!("took {}", output::count(imported.taken.len(), "result"));
    if !imported.taken.is_empty() {
        let steps: Vec<&str> = imported.taken.iter().map(|one| one.step.as_str()).collect();
        let size = output::size(imported.bytes);
        text.push_str(&format!(" ({size}): {}", steps.join(", ")));
    }
    if !imported.known.is_empty() {
        text.push_str(&format!("; {} were there already", imported.known.len()));
    }
    text.push('\n');
    text
}

fn not_in(arguments: &Arguments, step: &str, there: &[ImportedResult]) -> Refusal {
    let steps: Vec<&str> = there.iter().map(|result| result.step.as_str()).collect();
    Refusal::new(
        Code::Usage,
        format!(
            "{} has no result of step `{step}`",
            arguments.file.display()
        ),
        format!("it has those of {}", steps.join(", ")),
    )
}
