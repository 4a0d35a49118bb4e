//! `fedact synthesize`, `extract`, ...: one stage, without a pipeline file or a store.

pub mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use fedact_pipeline::{Assignment, RunEvent, Unfinished, process};
use fedact_stage::{Cores, Definition, Event, Input, Job, Level};
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};
use crate::{launch, output, progress, registry, run, signals};
use place::Place;

/// One stage command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A folder for an input. Several for an input that takes a list, in order; the last part of a path
    /// is the name that the stage sees.
    #[arg(long, value_name = "NAME=PATH")]
    input: Vec<String>,
    /// A param; the value is YAML. `fedact schema STAGE` lists them.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder to make. It appears when it is complete.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the output folder if there is something in it.
    #[arg(long)]
    force: bool,
    /// Cores to use, for the stages whose results do not depend on the number [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print what happens as lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a stage in a process of its own.
///
/// # Errors
/// What is wrong with inputs, params and the output folder.
pub fn command(stage: &str, arguments: &Arguments) -> Result<Code, Refusal> {
    let catalogue = registry::catalogue();
    let entry = catalogue.get(stage).ok_or_else(|| {
        Refusal::new(
            Code::Usage,
            format!("there is no stage {stage}"),
            "see `fedact --help`",
        )
    })?;
    let definition = entry.definition;
    let params = params(definition, &arguments.set)?;
    let inputs = inputs(definition, &arguments.input)?;
    let cores = arguments.threads.map_or_else(run::all_cores, usize::from);
    let threads = match (definition.cores)(&params) {
        Cores::Fixed(threads) => threads,
        Cores::All => cores,
    };
    refuse_overlap(&arguments.output, &inputs)?;
    let place = Place::prepare(&arguments.output, arguments.force)?;
    let work = place::Work {
        stage: definition.name,
        code: &entry.code,
        libraries: catalogue.libraries_of(definition),
        params: &params,
        inputs: place::listing(&inputs)?,
    };
    let resumed = place.clear_unless_of(&work)?;
    let job = Job {
        stage: stage.to_owned(),
        step: stage.to_owned(),
        params: params.clone(),
        inputs,
        output: place.output(),
        checkpoints: place.checkpoints(),
        pieces: None,
        threads,
        fleet: None,
    };
    let stop = signals::stop()?;
    let mut told = false;
    let mut shown = (!arguments.json).then(progress::for_this_terminal);
    let mut failed_to_print = None;
    if resumed && let Some(shown) = &mut shown {
        shown.hear(&RunEvent::Reported {
            step: stage.to_owned(),
            report: Event::Message {
                level: Level::Info,
                text: "going on from checkpoints of a run that was cut off".to_owned(),
            },
        });
    }
    let mut hear = |report: Event| {
        if arguments.json && failed_to_print.is_none() {
            failed_to_print = output::json(&report).err();
        }
        if let Some(shown) = &mut shown {
            if let Some(deadline) = stop.deadline()
                && !std::mem::replace(&mut told, true)
            {
                let left = deadline.saturating_duration_since(Instant::now());
                shown.hear(&RunEvent::Stopping {
                    steps: vec![stage.to_owned()],
                    within_seconds: left.as_secs_f64(),
                });
            }
            shown.hear(&RunEvent::Reported {
                step: stage.to_owned(),
                report,
            });
        }
    };
    // It holds the library open that the process is to load.
    let launcher = launch::launcher()?;
    let command = launcher(definition, threads);
    let result = process::execute(command, &job, &place.log(), &stop, &mut hear);
    drop(shown);
    if let Some(refusal) = failed_to_print {
        return Err(refusal);
    }
    match result {
        Ok(metrics) => {
            place.finish()?;
            if arguments.json {
                output::json(&Event::Finished { metrics })?;
            } else {
                output::text(&finished(&arguments.output, &metrics))?;
            }
            Ok(Code::Done)
        }
        Err(Unfinished::Stopped) => {
            output::aside("interrupted; run the same command again to go on\n");
            if arguments.json {
                output::json(&Event::Stopped)?;
            }
            Ok(Code::Interrupted)
        }
        Err(Unfinished::Failed(failure)) => {
            output::aside(&progress::failure(stage, &failure));
            if arguments.json {
                output::json(&json!({
                    "event": "failed",
                    "message": failure.message,
                    "remedy": failure.remedy,
                    "invalid_input": failure.invalid_input,
                }))?;
            }
            Ok(if failure.invalid_input {
                Code::Invalid
            } else {
                Code::Failed
            })
        }
    }
}

/// An output folder that is, holds or lies in an input would replace what is read, or be read itself.
fn refuse_overlap(output: &Path, inputs: &BTreeMap<String, Vec<Input>>) -> Result<(), Refusal> {
    let real =
        true_path(output).map_err(|error| Refusal::failed("find the output folder", &error))?;
    for input in inputs.values().flatten() {
        let Ok(read) = input.path.canonicalize() else {
            continue;
        };
        if read.starts_with(&real) || real.starts_with(&read) {
            return Err(Refusal::new(
                Code::Usage,
                format!(
                    "--output {} and the input {} overlap",
                    output.display(),
                    input.path.display()
                ),
                "give an output folder beside the inputs, not around or in one of them",
            ));
        }
    }
    Ok(())
}

/// The path of a folder that may not exist yet: its nearest parent that does has the true one.
///
/// # Errors
/// There is no current folder.
pub fn true_path(folder: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(folder)?;
    let found = absolute.ancestors().find_map(|parent| {
        let rest = absolute.strip_prefix(parent).ok()?;
        Some(parent.canonicalize().ok()?.join(rest))
    });
    Ok(found.unwrap_or(absolute))
}

fn params(definition: &Definition, set: &[String]) -> Result<Value, Refusal> {
    let mut params = Value::Null;
    for text in set {
        Assignment::parse(text)?.apply(&mut params);
    }
    (definition.resolve)(&params).map_err(|error| {
        Refusal::new(
            Code::Invalid,
            error.to_string(),
            format!("`fedact schema {}` lists the params", definition.name),
        )
    })
}

fn inputs(
    definition: &Definition,
    given: &[String],
) -> Result<BTreeMap<String, Vec<Input>>, Refusal> {
    let known: Vec<&str> = definition.inputs.iter().map(|input| input.name).collect();
    let usage = |message: String| {
        let help = if known.is_empty() {
            format!("stage {} takes no inputs", definition.name)
        } else {
            format!(
                "write `--input NAME=PATH`; the inputs of {} are {}",
                definition.name,
                known.join(", ")
            )
        };
        Refusal::new(Code::Usage, message, help)
    };
    let mut inputs: BTreeMap<String, Vec<Input>> = BTreeMap::new();
    for text in given {
        let Some((name, path)) = text.split_once('=') else {
            return Err(usage(format!("--input {text} has no `=`")));
        };
        let Some(spec) = definition.input(name) else {
            return Err(usage(format!("there is no input `{name}`")));
        };
        let path = folder(name, Path::new(path))?;
        let items = inputs.entry(name.to_owned()).or_default();
        if !spec.arity.list() && !items.is_empty() {
            return Err(usage(format!("input `{name}` takes one folder")));
        }
        let item = Input {
            name: path.file_name().map_or_else(
                || path.display().to_string(),
                |last| last.to_string_lossy().into_owned(),
            ),
            path,
        };
        items.push(item);
        let names: BTreeSet<&String> = items.iter().map(|item| &item.name).collect();
        if names.len() < items.len() {
            return Err(usage(format!(
                "two folders of input `{name}` have the same last part, by which the stage names them"
            )));
        }
    }
    for spec in definition.inputs {
        if spec.arity.required() && !inputs.contains_key(spec.name) {
            return Err(usage(format!(
                "input `{}` is missing: {}",
                spec.name, spec.summary
            )));
        }
    }
    Ok(inputs)
}

fn folder(input: &str, path: &Path) -> Result<PathBuf, Refusal> {
    let refuse = |problem: &str| {
        Refusal::new(
            Code::Invalid,
            format!("input `{input}`: {} {problem}", path.display()),
            "give the path of a folder",
        )
    };
    match path.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(refuse("is not a folder")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(refuse("does not exist")),
        Err(error) => Err(refuse(&format!("cannot be read: {error}"))),
    }
}

fn finished(output: &Path, metrics: &fedact_stage::Metrics) -> String {
    let mut text = format!("{}\n", output.display());
    for (name, value) in metrics {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text
}
