//! `fedact completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact completions`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Prints the script that a shell reads.
///
/// # Errors
/// Standard output cannot be written to.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "fedact", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Code::Done)
}
