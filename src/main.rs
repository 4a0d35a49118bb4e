//! `fedact`: the command. It parses, calls the library crates and prints; nothing else prints.

mod accept;
mod cli;
mod completions;
mod diff;
mod doctor;
mod exit;
mod explain;
mod export;
mod fleet;
mod frames;
mod gc;
mod graph;
mod import;
mod launch;
mod memory;
mod named;
mod onnx;
mod output;
mod pin;
mod predict;
mod progress;
mod registry;
mod remote;
mod results;
mod run;
mod schema;
mod session;
mod show;
mod signals;
mod stage;
mod status;
mod verify;
mod why;
mod work;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Refusal;

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code.into(),
        Err(refusal) => {
            output::complain(&refusal);
            refusal.code.into()
        }
    }
}

fn dispatch(command: Command) -> Result<exit::Code, Refusal> {
    match command {
        Command::Run(arguments) => run::command(arguments),
        Command::Status(arguments) => status::command(&arguments),
        Command::Why(arguments) => why::command(&arguments),
        Command::Show(arguments) => show::command(&arguments),
        Command::Diff(arguments) => diff::command(&arguments),
        Command::Accept(arguments) => accept::command(&arguments),
        Command::Graph(arguments) => graph::command(&arguments),
        Command::Verify(arguments) => verify::command(&arguments),
        Command::Gc(arguments) => gc::command(&arguments),
        Command::Pin(arguments) => pin::command(&arguments),
        Command::Unpin(arguments) => pin::unpin(&arguments),
        Command::Predict(arguments) => predict::command(&arguments),
        Command::Onnx(arguments) => onnx::command(&arguments),
        Command::Export(arguments) => export::command(&arguments),
        Command::Import(arguments) => import::command(&arguments),
        Command::Fleet(arguments) => fleet::command(arguments),
        Command::Remote(arguments) => remote::command(&arguments),
        Command::Schema(arguments) => schema::command(&arguments),
        Command::Completions(arguments) => completions::command(&arguments),
        Command::Doctor(arguments) => cli::doctor(&arguments),
        Command::Synthesize(arguments) => stage::command("synthesize", &arguments),
        Command::Extract(arguments) => stage::command("extract", &arguments),
        Command::Teach(arguments) => stage::command("teach", &arguments),
        Command::Distill(arguments) => stage::command("distill", &arguments),
        Command::Quantize(arguments) => stage::command("quantize", &arguments),
        Command::Federate(arguments) => stage::command("federate", &arguments),
        Command::Evaluate(arguments) => stage::command("evaluate", &arguments),
        Command::Execute(arguments) => launch::execute(&arguments),
    }
}
