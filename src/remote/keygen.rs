//! `fedact remote keygen`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use fedact_remote::SigningKey;
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::output;

/// `fedact remote keygen`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file for the signing key, readable by you alone; one that is there is never replaced.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Makes a pair of keys: the one that signs goes into the file, the public one is printed.
///
/// # Errors
/// A file that is there already, or cannot be written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let file = arguments.file.display();
    let key = SigningKey::generate().map_err(|error| Refusal::failed("make a key", &error))?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&arguments.file)
        .and_then(|mut open| {
            writeln!(open, "{}", key.to_text())?;
            open.sync_all()
        });
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Refusal::new(
                Code::Usage,
                format!("{file} is there already, and may hold a key that somebody needs"),
                "name another file, or remove that one first",
            ));
        }
        Err(error) => return Err(Refusal::failed(&format!("write {file}"), &error)),
    }
    let public = key.public().to_string();
    if arguments.json {
        output::json(&json!({"file": arguments.file, "public": public}))?;
    } else {
        output::text(&format!("{public}\n"))?;
    }
    Ok(Code::Done)
}
