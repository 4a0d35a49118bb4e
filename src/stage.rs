//! `fedact synthesize`, `extract`, ...: one stage, without a pipeline file or a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use clap::Args;
use fedact_pipeline::{Assignment, RunEvent, process};
use fedact_stage::{Cores, Definition, Event, Input, Job};
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};
use crate::{launch, output, progress, registry, run};

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
    let definition = catalogue
        .get(stage)
        .map(|entry| entry.definition)
        .ok_or_else(|| {
            Refusal::new(
                Code::Usage,
                format!("there is no stage {stage}"),
                "see `fedact --help`",
            )
        })?;
    let params = params(definition, &arguments.set)?;
    let inputs = inputs(definition, &arguments.input)?;
    let cores = arguments.threads.map_or_else(run::all_cores, usize::from);
    let threads = match (definition.cores)(&params) {
        Cores::Fixed(threads) => threads,
        Cores::All => cores,
    };
    refuse_overlap(&arguments.output, &inputs)?;
    let place = Place::prepare(&arguments.output, arguments.force)?;
    let job = Job {
        stage: stage.to_owned(),
        step: stage.to_owned(),
        params,
        inputs,
        output: place.output(),
        checkpoints: place.checkpoints(),
        threads,
    };
    let stop = run::stop_on_signals()?;
    let mut shown = (!arguments.json).then(progress::for_this_terminal);
    let mut failed_to_print = None;
    let mut hear = |report: Event| {
        if arguments.json && failed_to_print.is_none() {
            failed_to_print = output::json(&report).err();
        }
        if let Some(shown) = &mut shown {
            shown.hear(&RunEvent::Reported {
                step: stage.to_owned(),
                report,
            });
        }
    };
    let command = launch::launcher()?(definition, threads);
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
        Err(_) if stop.asked() => Ok(Code::Interrupted),
        Err(failure) => {
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
    // The output may not exist yet: its nearest parent that does has the true path.
    let absolute = std::path::absolute(output)
        .map_err(|error| Refusal::failed("find the output folder", &error))?;
    let real = absolute
        .ancestors()
        .find_map(|parent| {
            let rest = absolute.strip_prefix(parent).ok()?;
            Some(parent.canonicalize().ok()?.join(rest))
        })
        .unwrap_or(absolute);
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

/// Where a stage works until its output is complete: a hidden folder beside it. What a killed run left
/// there is removed by the next one.
struct Place {
    target: PathBuf,
    work: PathBuf,
    _lock: File,
}

impl Place {
    fn prepare(target: &Path, force: bool) -> Result<Self, Refusal> {
        let failed = |action: &str| {
            let action = format!("{action} {}", target.display());
            move |error: std::io::Error| Refusal::failed(&action, &error)
        };
        let target = std::path::absolute(target).map_err(failed("find"))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Refusal::new(
                Code::Usage,
                format!("{} cannot be an output folder", target.display()),
                "give the path of a folder that does not exist yet",
            ));
        };
        let something = match fs::read_dir(&target) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            // A file, or what cannot be read: not to be replaced by accident.
            Err(_) => true,
        };
        if something && !force {
            return Err(Refusal::new(
                Code::Usage,
                format!("the output folder {} is not empty", target.display()),
                "name another one, or replace it with --force",
            ));
        }
        let work = parent.join(format!(".{}.fedact", name.to_string_lossy()));
        fs::create_dir_all(&work).map_err(failed("make the folder beside"))?;
        let lock = File::create(work.join("lock")).map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Refusal::new(
                    Code::Usage,
                    format!("another process is making {}", target.display()),
                    "wait for it, or name another output folder",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let place = Self {
            target: target.clone(),
            work,
            _lock: lock,
        };
        for folder in [place.output(), place.checkpoints()] {
            remove(&folder).map_err(failed("clear the folder beside"))?;
            fs::create_dir(&folder).map_err(failed("make the folder beside"))?;
        }
        Ok(place)
    }

    fn output(&self) -> PathBuf {
        self.work.join("output")
    }

    fn checkpoints(&self) -> PathBuf {
        self.work.join("checkpoints")
    }

    fn log(&self) -> PathBuf {
        self.work.join("log")
    }

    /// Moves the complete output into its place. An old one is moved aside first, so that a kill at any
    /// moment leaves one of the two whole.
    fn finish(self) -> Result<(), Refusal> {
        let failed = |error| Refusal::failed(&format!("write {}", self.target.display()), &error);
        let old = self.work.join("old");
        remove(&old).map_err(failed)?;
        match fs::rename(&self.target, &old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        fs::rename(self.output(), &self.target).map_err(failed)?;
        remove(&self.work).map_err(failed)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
