//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit::{Code, Refusal};
use crate::{accept, completions, diff, doctor, export, fleet, gc, graph, import, launch, onnx};
use crate::{output, pin, predict, remote, run, schema, show, stage, status, verify, why};

/// Videos in, a small action-recognition model out, fine-tuned by a fleet of unequal devices.
#[derive(Debug, Parser)]
#[command(
    name = "fedact",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 a step failed, 2 wrong usage, 3 invalid pipeline or data, \
                  4 the store cannot be used or is damaged, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the steps of a pipeline that are not in the store yet.
    Run(run::Arguments),
    /// Say how each step stands: fresh, stale and why, never run, waiting.
    Status(status::Arguments),
    /// Say everything that makes a step stale.
    Why(why::Arguments),
    /// Show a step's outputs, figures and where they come from.
    Show(show::Arguments),
    /// Put two results side by side: params, figures, files.
    Diff(diff::Arguments),
    /// Declare the latest result of a step still good, after an edit that does not change it.
    Accept(accept::Arguments),
    /// Draw the steps and what they take from one another.
    Graph(graph::Arguments),
    /// Read everything in the store and name what is damaged.
    Verify(verify::Arguments),
    /// Remove results that neither the pipeline nor a pinned result needs.
    Gc(gc::Arguments),
    /// Keep results from every gc, with all that they were made from; without names, list the kept ones.
    Pin(pin::Arguments),
    /// Let pinned results go.
    Unpin(pin::UnpinArguments),
    /// Say what a model sees in videos: the classes, and how probable they are.
    Predict(predict::Arguments),
    /// Write a model as ONNX files, for other runtimes.
    Onnx(onnx::Arguments),
    /// Write results into one file, for another machine or a CI cache.
    Export(export::Arguments),
    /// Take the results of an exported file into the store.
    Import(import::Arguments),
    /// Fine-tune a model on devices of your own, over a NATS server.
    Fleet(fleet::Arguments),
    /// Make keys for a remote.
    Remote(remote::CommandArguments),
    /// Print the JSON schema of a stage's params, or of all stages.
    Schema(schema::Arguments),
    /// Print the completions for a shell.
    Completions(completions::Arguments),
    /// Say what this machine has and what is wrong with it.
    Doctor(DoctorArguments),
    /// Run the stage synthesize alone: labelled videos of moving figures.
    Synthesize(stage::Arguments),
    /// Run the stage extract alone: videos to clips.
    Extract(stage::Arguments),
    /// Run the stage teach alone: what teachers say about clips, for many students.
    Teach(stage::Arguments),
    /// Run the stage distill alone: clips, and teachers where given, to a model.
    Distill(stage::Arguments),
    /// Run the stage quantize alone: a model and clips to an int8 model.
    Quantize(stage::Arguments),
    /// Run the stage federate alone: fine-tune a model on unequal devices.
    Federate(stage::Arguments),
    /// Run the stage evaluate alone: models and clips to a report.
    Evaluate(stage::Arguments),
    /// The process of one step, started by the runner.
    #[command(hide = true)]
    Execute(launch::Arguments),
}

/// `fedact doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The folder that the store stands in, or would.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Measure how fast this machine trains and runs the reference model, and print a device profile of this name for
    /// the params of `federate`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "this-machine")]
    profile: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Examines the machine and prints what was found.
///
/// # Errors
/// Standard output cannot be written to; the machine cannot be measured.
pub fn doctor(arguments: &DoctorArguments) -> Result<Code, Refusal> {
    if let Some(name) = &arguments.profile {
        let machine = doctor::measure()?;
        if arguments.json {
            output::json(&doctor::profiles(name, &machine))?;
        } else {
            let yaml = machine.to_yaml(name);
            output::text(&yaml.map_err(|error| Refusal::failed("write the profile", &error))?)?;
        }
        return Ok(Code::Done);
    }
    let examination = doctor::examine(&arguments.artifacts);
    if arguments.json {
        output::json(&examination)?;
    } else {
        output::text(&examination.to_string())?;
    }
    Ok(if examination.healthy() {
        Code::Done
    } else {
        Code::Failed
    })
}
