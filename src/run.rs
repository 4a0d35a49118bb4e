//! `fedact run`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use clap::Args;
use fedact_pipeline::{Capacity, Estimate, Graph, Node, Outcome, RunEvent, Settings, StoreRecords};
use fedact_stage::{Kind, Shard};

use crate::exit::{Code, Refusal};
use crate::progress::{self, Progress};
use crate::remote::{self, Fetch, Share};
use crate::session::{self, Session};
use crate::{launch, memory, output, signals, status};

/// `fedact run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The steps to run, with all that they need; all steps where none is named.
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    #[command(flatten)]
    exchange: remote::RunArguments,
    /// Run this step although the store has its result. May be given several times.
    #[arg(long, value_name = "STEP")]
    force: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Cores to share out among steps that run side by side [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Memory to share out among steps that run side by side, as in `8GiB` [default: what is available].
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
    /// When a step fails, still run those that do not need it.
    #[arg(long)]
    keep_going: bool,
    /// Make only the I-th of N shards of the steps that can be parted (those of the stage extract), so that N
    /// machines share the work over one store; a run without it joins them.
    #[arg(long, value_name = "I/N", conflicts_with = "force")]
    shard: Option<Shard>,
    /// Print what happens as lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Plans and runs.
///
/// # Errors
/// Whatever is wrong before a step starts, and a store that breaks.
pub fn command(arguments: Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let graph = match arguments.shard {
        Some(_) => Cow::Owned(graph_in_shards(&session.graph, &arguments.steps)?),
        None => session.graph.only(&arguments.steps)?,
    };
    let mut forced: BTreeSet<String> = BTreeSet::new();
    for step in &arguments.force {
        let nodes = session.graph.select(step)?;
        forced.extend(nodes.into_iter().map(|node| node.name.clone()));
    }
    let mut remote = arguments.remote.named(&session)?;
    if let Some(remote) = &mut remote {
        remote.write &= !arguments.exchange.remote_read_only;
    }
    let store = session.store()?;
    let records = if arguments.dry_run {
        StoreRecords::for_a_look(&store)
    } else {
        StoreRecords::new(&store)
    }
    .with_exchange(remote::open(remote, &store));
    let progress = (!arguments.json).then(progress::for_this_terminal);
    let mut observer = Observer {
        progress,
        json: arguments.json,
        failed_to_print: None,
    };
    let capacity = Capacity {
        cores: arguments.jobs.map_or_else(all_cores, usize::from),
        memory: arguments.memory.or_else(memory::available),
    };
    let (plan, contents) = session.plan(&graph, &store, &records, &forced, &mut |event| {
        observer.hear(event);
    })?;
    let wanted = match arguments.exchange.fetch {
        Fetch::Needed => fedact_pipeline::wanted(&graph, &arguments.steps, &session.artifacts)?,
        Fetch::All => graph.nodes().iter().map(|node| node.name.clone()).collect(),
    };
    if arguments.dry_run {
        drop(observer);
        let estimate = Estimate::of(&graph, &plan, capacity);
        let fetches = plan.fetches(&graph, &wanted);
        if arguments.json {
            output::json(&RunEvent::Planned {
                plan,
                fetches,
                estimate,
            })?;
        } else {
            let forecast = status::forecast(&plan, &fetches, &estimate, capacity.cores);
            output::text(&(status::table(&plan) + &forecast))?;
        }
        return Ok(Code::Done);
    }
    let settings = Settings {
        artifacts: session.artifacts.clone(),
        launcher: launch::launcher()?,
        capacity,
        wanted,
        share_all: arguments.exchange.share == Share::All,
        keep_going: arguments.keep_going,
        shard: arguments.shard,
        served: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stop: signals::stop()?,
    };
    let outcome = fedact_pipeline::run(
        &graph,
        &plan,
        contents,
        &records,
        &store,
        &settings,
        &mut |event| observer.hear(event),
    )?;
    if let Some(refusal) = observer.failed_to_print.take() {
        return Err(refusal);
    }
    drop(observer);
    if !arguments.json {
        output::text(&summary(&outcome, arguments.shard, &graph, &session))?;
    }
    Ok(code(&outcome))
}

/// The steps that are to be made in shards, with all that they need.
fn graph_in_shards(graph: &Graph, steps: &[String]) -> Result<Graph, Refusal> {
    let parted = |node: &&Node| node.definition().pieces.is_some();
    let names = |nodes: Vec<&Node>| -> Vec<String> {
        nodes.into_iter().map(|node| node.name.clone()).collect()
    };
    let all = names(graph.nodes().iter().filter(parted).collect());
    let help = if all.is_empty() {
        "this pipeline has no such step; run it without --shard".to_owned()
    } else {
        format!("with --shard, name only steps out of: {}", all.join(", "))
    };
    let mut wanted = Vec::new();
    for step in steps {
        let nodes = graph.select(step)?;
        if let Some(whole) = nodes.iter().find(|node| !parted(node)) {
            let (name, stage) = (&whole.name, whole.definition().name);
            return Err(Refusal::new(
                Code::Usage,
                format!("step `{name}` (stage {stage}) cannot be made in shards"),
                help,
            ));
        }
        wanted.extend(names(nodes));
    }
    if steps.is_empty() {
        wanted = all;
    }
    if wanted.is_empty() {
        return Err(Refusal::new(
            Code::Usage,
            "there is no step that can be made in shards",
            help,
        ));
    }
    Ok(graph.only(&wanted)?.into_owned())
}

fn memory_size(text: &str) -> Result<u64, String> {
    fedact_pipeline::parse_bytes(text)
        .ok_or_else(|| "write an amount as in `8GiB` or `500MB`".to_owned())
}

/// The cores that this process may use.
pub fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Hands events to whoever shows them.
struct Observer {
    progress: Option<Progress>,
    json: bool,
    failed_to_print: Option<Refusal>,
}

impl Observer {
    fn hear(&mut self, event: RunEvent) {
        if self.json && self.failed_to_print.is_none() {
            self.failed_to_print = output::json(&event).err();
        }
        if let Some(progress) = &mut self.progress {
            progress.hear(&event);
        } else if let RunEvent::Failed { step, failure } = &event {
            output::aside(&progress::failure(step, failure));
        }
    }
}

/// The exit code of a run.
fn code(outcome: &Outcome) -> Code {
    if outcome.interrupted {
        Code::Interrupted
    } else if outcome.failed.is_empty() {
        Code::Done
    } else if outcome.invalid_input {
        Code::Invalid
    } else {
        Code::Failed
    }
}

/// What was done, and where to look at it.
fn summary(outcome: &Outcome, shard: Option<Shard>, graph: &Graph, session: &Session) -> String {
    let mut parts = Vec::new();
    let mut part = |names: &[String], verb: &str| {
        if !names.is_empty() {
            parts.push(format!(
                "{verb} {} ({})",
                output::count(names.len(), "step"),
                names.join(", ")
            ));
        }
    };
    part(&outcome.ran, "ran");
    if let Some(shard) = shard {
        part(&outcome.shards, &format!("made shard {shard} of"));
    }
    part(&outcome.failed, "failed in");
    part(&outcome.not_run, "left out");
    part(&outcome.fetched, "fetched");
    let mut rest = Vec::new();
    for (names, place) in [
        (&outcome.from_store, "from the store"),
        (&outcome.remote, "left on the remote"),
    ] {
        if !names.is_empty() {
            rest.push(format!("{} {place}", output::count(names.len(), "step")));
        }
    }
    let mut text = if parts.is_empty() {
        format!("nothing to do: {}", rest.join(", "))
    } else {
        parts.extend(rest);
        parts.join("; ")
    };
    text.push_str(&format!(", in {}\n", output::duration(outcome.seconds)));
    if !outcome.shards.is_empty() {
        text.push_str("its pieces are in the store; when all shards are done, run without --shard to join them\n");
    }
    if outcome.interrupted {
        text.push_str("interrupted; finished steps and checkpoints are kept, run again to go on\n");
    }
    if outcome.shared > 0 {
        let results = output::count(outcome.shared, "result");
        text.push_str(&format!("shared {results} through the remote\n"));
    }
    if outcome.unshared > 0 {
        let results = output::count(outcome.unshared, "result");
        text.push_str(&format!("{results} not shared: interrupted\n"));
    }
    let here = [&outcome.ran, &outcome.from_store, &outcome.fetched];
    let there = |name: &String| here.iter().any(|names| names.contains(name));
    for node in graph.nodes() {
        if node.definition().output == Kind::Report && there(&node.name) {
            let page = session.artifacts.join(&node.name).join("index.html");
            text.push_str(&format!("report: {}\n", page.display()));
        }
    }
    text
}
