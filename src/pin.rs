//! `fedact pin` and `fedact unpin`: results that `fedact gc` never takes.

use std::path::PathBuf;

use clap::Args;
use fedact_artifact::{Digest, Kept, Store};
use serde::Serialize;
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::named::{self, Results};
use crate::output;
use crate::session::{self, Session};

/// `fedact pin`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What to keep: a step, for the result that the pipeline as it is now would give, or else its latest; or a key,
    /// or the beginning of one. A matrix step stands for all its instances. None: list what is kept.
    #[arg(value_name = "STEP|KEY")]
    results: Vec<String>,
    #[command(flatten)]
    session: session::Arguments,
    /// Why, in your own words.
    #[arg(long, value_name = "TEXT", requires = "results")]
    because: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `fedact unpin`.
#[derive(Debug, Args)]
pub struct UnpinArguments {
    /// What need no longer be kept: the steps or keys (or beginnings of keys) that `fedact pin` lists.
    #[arg(value_name = "STEP|KEY", required = true)]
    results: Vec<String>,
    /// The folder of the store and the outputs.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One pinned result.
#[derive(Serialize)]
struct Pinned<'a> {
    #[serde(flatten)]
    kept: &'a Kept,
    /// Whether the store still has it whole.
    whole: bool,
}

/// Keeps results, or lists those that are kept.
///
/// # Errors
/// What is wrong with the pipeline or the store; a result that is not there.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    if arguments.results.is_empty() {
        let store = Store::open(arguments.session.artifacts.join("store"))?;
        return tell(&store.kept()?, &store, arguments.json);
    }
    let session = Session::open(&arguments.session)?;
    let store = session.store()?;
    let results = Results::of(&session, &store);
    let mut wanted: Vec<Kept> = Vec::new();
    for word in &arguments.results {
        let found = match session.graph.select(word) {
            Ok(nodes) => nodes
                .into_iter()
                .map(|node| results.current(&node.name))
                .collect::<Result<Vec<_>, _>>()?,
            Err(_) if named::beginning(word).is_some() => vec![results.named("", word)?],
            Err(no_step) => return Err(no_step.into()),
        };
        let because = &arguments.because;
        wanted.extend(
            found
                .into_iter()
                .map(|named| Kept::now(named.action.key, named.step, because.clone())),
        );
    }
    for kept in &wanted {
        if !store.keep(kept)? {
            return Err(Refusal::new(
                Code::Failed,
                format!(
                    "the result {} of step `{}` is no longer whole in the store",
                    kept.key.short(),
                    kept.step
                ),
                format!("`fedact run {}` makes one", kept.step),
            ));
        }
    }
    tell(&wanted, &store, arguments.json)
}

/// Lets results go.
///
/// # Errors
/// What is wrong with the store; a result that is not kept.
pub fn unpin(arguments: &UnpinArguments) -> Result<Code, Refusal> {
    let store = Store::open(arguments.artifacts.join("store"))?;
    let kept = store.kept()?;
    let mut gone: Vec<Digest> = Vec::new();
    for word in &arguments.results {
        let of_step = |kept: &&Kept| {
            let step = kept.step.split('@').next();
            kept.step == *word || step == Some(word)
        };
        let mut found: Vec<Digest> = kept.iter().filter(of_step).map(|kept| kept.key).collect();
        if found.is_empty()
            && let Some(begins) = named::beginning(word)
        {
            let keys = kept.iter().map(|kept| kept.key);
            found = keys.filter(|key| begins(key)).collect();
        }
        if found.is_empty() {
            return Err(Refusal::new(
                Code::Usage,
                format!("no result is pinned for `{word}`"),
                "`fedact pin` lists the pinned results",
            ));
        }
        gone.extend(found);
    }
    for key in &gone {
        store.let_go(key)?;
    }
    if arguments.json {
        output::json(&json!({ "unpinned": gone }))?;
    } else {
        let lines = gone
            .iter()
            .map(|key| format!("{} is no longer pinned\n", key.short()));
        output::text(&lines.collect::<String>())?;
    }
    Ok(Code::Done)
}

fn tell(kept: &[Kept], store: &Store, as_json: bool) -> Result<Code, Refusal> {
    let mut pinned = Vec::with_capacity(kept.len());
    for kept in kept {
        let whole = store.lookup(&kept.key)?.is_some();
        pinned.push(Pinned { kept, whole });
    }
    if as_json {
        output::json(&json!({ "pinned": pinned }))?;
    } else if pinned.is_empty() {
        output::text("nothing is pinned\n")?;
    } else {
        output::text(&pinned.iter().map(words).collect::<String>())?;
    }
    Ok(Code::Done)
}

fn words(pinned: &Pinned<'_>) -> String {
    let Kept {
        key,
        step,
        at,
        host,
        because,
    } = pinned.kept;
    let mut text = format!("{}  {step}, {}", key.short(), since(*at, host));
    if let Some(because) = because {
        text.push_str(&format!(": {because}"));
    }
    if !pinned.whole {
        text.push_str(" (no longer whole in the store)");
    }
    text.push('\n');
    text
}

/// Since when it is pinned, and where that was said.
pub fn since(at: f64, host: &str) -> String {
    format!("pinned {} on {host}", output::moment(at))
}
