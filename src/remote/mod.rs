//! The remote of a command: which one, who is believed, who asks there.
//!
//! An option counts before the environment, and the environment before the pipeline file; an empty variable is
//! none. Nothing of it enters any key. Where no remote is named, nothing here costs anything; where one is, no
//! connection is made before something is asked there.

mod exchange;
pub mod keygen;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use fedact_artifact::Store;
use fedact_pipeline::{Exchange, Place};
use fedact_remote::{Address, Config, Limits, PublicKey, RemoteError};

use crate::exit::{Code, Refusal};
use crate::output;
use crate::session::Session;
use exchange::Lazy;
use variables::Variables;

/// The remote, for commands that look results up.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// Look results up there, too: `s3://BUCKET/PREFIX`, `https://HOST/PATH` or a folder [default: FEDACT_REMOTE
    /// of the environment, or what the pipeline file names].
    #[arg(long, value_name = "ADDRESS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    remote: Option<String>,
    /// Do without a remote.
    #[arg(long, conflicts_with = "remote")]
    no_remote: bool,
}

/// What `fedact run` does with it besides.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RunArguments {
    /// Take results from the remote, and bring none there.
    #[arg(long)]
    pub remote_read_only: bool,
    /// Which results of the remote to fetch.
    #[arg(long, value_name = "WHICH", default_value = "needed")]
    pub fetch: Fetch,
    /// Which results to bring to the remote.
    #[arg(long, value_name = "WHICH", default_value = "made")]
    pub share: Share,
}

impl RunArguments {
    /// The remote that is named, as far as a run may use it.
    ///
    /// # Errors
    /// Its address, or a variable that names it, means nothing.
    pub fn named(&self, remote: &Arguments, session: &Session) -> Result<Option<Config>, Refusal> {
        let mut named = remote.named(session)?;
        if let Some(remote) = &mut named {
            remote.write &= !self.remote_read_only;
        }
        Ok(named)
    }
}

/// Which results of a remote are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fetch {
    /// Those of the steps named (or the last ones), of steps whose folders are there already, and those that a
    /// step reads which has to run.
    Needed,
    /// All of them.
    All,
}

/// Which results are brought to a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Share {
    /// Those that this run makes.
    Made,
    /// Those that the store has already, too, where the remote has not.
    All,
}

/// `fedact remote`.
#[derive(Debug, Args)]
pub struct CommandArguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do about remotes.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key that signs results, and print the public one that others trust.
    Keygen(keygen::Arguments),
}

/// `fedact remote`.
///
/// # Errors
/// As [`keygen::command`].
pub fn command(arguments: &CommandArguments) -> Result<Code, Refusal> {
    match &arguments.command {
        Command::Keygen(arguments) => keygen::command(arguments),
    }
}

/// The remote as the place through which runs exchange results.
pub fn open(config: Option<Config>, store: &Store) -> Option<Arc<dyn Exchange>> {
    let config = Config {
        // On the disk of the store, which has room for what is fetched.
        spool: store.root().join("tmp"),
        ..config?
    };
    Some(Arc::new(Lazy::new(config, store.clone())))
}

impl Arguments {
    /// The remote to look results up in, if there is one; for [`open`], once the store is.
    ///
    /// # Errors
    /// An address or a key that is none.
    pub fn named(&self, session: &Session) -> Result<Option<Config>, Refusal> {
        if self.no_remote {
            return Ok(None);
        }
        let variables = Variables::read()?;
        let entry = session.pipeline.remote.as_ref();
        let named = self.remote.as_deref().map(|text| ("--remote", text));
        let named = named.or(variables
            .remote
            .as_deref()
            .map(|text| ("FEDACT_REMOTE", text)));
        let address = match (named, entry) {
            (Some((from, text)), _) => {
                let refused = |error: RemoteError| usage(&format!("{from}: {error}"));
                text.parse().map_err(refused)?
            }
            (None, Some(entry)) => {
                let (text, place) = &entry.url;
                match text
                    .parse()
                    .map_err(|error| invalid(place, "url", &error))?
                {
                    // As the inputs: from the folder of the file.
                    Address::Folder { path } => Address::Folder {
                        path: session.pipeline.folder().join(path),
                    },
                    other => other,
                }
            }
            (None, None) => return Ok(None),
        };
        let mut access = variables.access;
        if named.is_none() && access.bearer.take().is_some() {
            // A pipeline file may be a stranger's, and so may the host that it names.
            output::aside(
                "warning: FEDACT_REMOTE_TOKEN is sent only to a remote that FEDACT_REMOTE or --remote \
                 names, not to one that only the pipeline file does\n",
            );
        }
        let trust = match (variables.trust, entry) {
            (Some(trust), _) => trust,
            (None, Some(entry)) => {
                let parse = |(text, place): &(String, Place)| {
                    text.parse::<PublicKey>()
                        .map_err(|error| invalid(place, "trust", &error))
                };
                entry.trust.iter().map(parse).collect::<Result<_, _>>()?
            }
            (None, None) => Vec::new(),
        };
        // What a run makes goes only where somebody says so: the user, who names the remote, or a file that asks for it.
        let read_only = variables
            .read_only
            .or(entry.and_then(|entry| entry.read_only))
            .unwrap_or(named.is_none());
        Ok(Some(Config {
            address,
            access,
            trust,
            signing: variables.signing,
            write: !read_only,
            limits: Limits::default(),
            spool: PathBuf::new(),
        }))
    }
}

fn usage(message: &str) -> Refusal {
    Refusal {
        code: Code::Usage,
        message: message.to_owned(),
        help: None,
        others: Vec::new(),
    }
}

fn invalid(place: &Place, key: &str, error: &RemoteError) -> Refusal {
    Refusal {
        code: Code::Invalid,
        ..usage(&format!("{place}: `remote.{key}`: {error}"))
    }
}
