//! `fedact run`.

mod summary;

use std::borrow::Cow;
use std::collections::BTreeSet;

use clap::Args;
use fedact_pipeline::{
    Capacity, Estimate, Graph, Node, Outcome, RunEvent, Served, Settings, StoreRecords,
};
use fedact_remote::Config;
use fedact_stage::Shard;

use crate::exit::{Code, Refusal};
use crate::progress::{self, Progress};
use crate::remote::{self, Fetch, Share};
use crate::session::{self, Session};
use crate::{launch, memory, output, signals, status};

pub use summary::{code, summary};

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

/// What is to be run, and how.
pub struct Request<'a> {
    /// The steps that were named; all steps where there is none.
    pub steps: &'a [String],
    /// Steps that are run although the store has their results.
    pub forced: BTreeSet<String>,
    /// Where else results may be.
    pub remote: Option<Config>,
    /// Which of those are fetched.
    pub fetch: Fetch,
    /// Which are brought there.
    pub share: Share,
    /// What the steps share out.
    pub capacity: Capacity,
    /// Whether steps that do not need a failed one still run.
    pub keep_going: bool,
    /// The shard that is made of steps that can be parted.
    pub shard: Option<Shard>,
    /// The step whose work a fleet does.
    pub served: Option<Served>,
    /// Whether all is only said.
    pub dry_run: bool,
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
    let request = Request {
        steps: &arguments.steps,
        forced,
        remote: arguments.exchange.named(&arguments.remote, &session)?,
        fetch: arguments.exchange.fetch,
        share: arguments.exchange.share,
        capacity: Capacity {
            cores: arguments.jobs.map_or_else(all_cores, usize::from),
            memory: arguments.memory.or_else(memory::available),
        },
        keep_going: arguments.keep_going,
        shard: arguments.shard,
        served: None,
        dry_run: arguments.dry_run,
    };
    let observer = Observer::new(arguments.json);
    let Some(outcome) = carry_out(&session, &graph, request, observer)? else {
        return Ok(Code::Done);
    };
    if !arguments.json {
        output::text(&summary(&outcome, arguments.shard, &graph, &session))?;
    }
    Ok(code(&outcome))
}

/// Plans a graph and runs it; nothing comes of it where all is only said.
///
/// # Errors
/// Whatever is wrong before a step starts, and a store that breaks.
pub fn carry_out(
    session: &Session,
    graph: &Graph,
    request: Request<'_>,
    mut observer: Observer,
) -> Result<Option<Outcome>, Refusal> {
    let store = session.store()?;
    let records = if request.dry_run {
        StoreRecords::for_a_look(&store)
    } else {
        StoreRecords::new(&store)
    }
    .with_exchange(remote::open(request.remote, &store));
    let (plan, contents) =
        session.plan(graph, &store, &records, &request.forced, &mut |event| {
            observer.hear(event);
        })?;
    let wanted = match request.fetch {
        Fetch::Needed => fedact_pipeline::wanted(graph, request.steps, &session.artifacts)?,
        Fetch::All => graph.nodes().iter().map(|node| node.name.clone()).collect(),
    };
    let capacity = request.capacity;
    if request.dry_run {
        let json = observer.json;
        drop(observer);
        let estimate = Estimate::of(graph, &plan, capacity);
        let fetches = plan.fetches(graph, &wanted);
        if json {
            output::json(&RunEvent::Planned {
                plan,
                fetches,
                estimate,
            })?;
        } else {
            let forecast = status::forecast(&plan, &fetches, &estimate, capacity.cores);
            output::text(&(status::table(&plan) + &forecast))?;
        }
        return Ok(None);
    }
    let settings = Settings {
        artifacts: session.artifacts.clone(),
        launcher: launch::launcher()?,
        capacity,
        wanted,
        share_all: request.share == Share::All,
        keep_going: request.keep_going,
        shard: request.shard,
        served: request.served,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stop: signals::stop()?,
    };
    let outcome = fedact_pipeline::run(
        graph,
        &plan,
        contents,
        &records,
        &store,
        &settings,
        &mut |event| observer.hear(event),
    )?;
    match observer.failed_to_print.take() {
        Some(refusal) => Err(refusal),
        None => Ok(Some(outcome)),
    }
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
pub struct Observer {
    progress: Option<Progress>,
    json: bool,
    log: Option<fn(&RunEvent)>,
    failed_to_print: Option<Refusal>,
}

impl Observer {
    /// Shows progress for people, or every event as a line of JSON.
    pub fn new(json: bool) -> Self {
        Self {
            progress: (!json).then(progress::for_this_terminal),
            json,
            log: None,
            failed_to_print: None,
        }
    }

    /// Has events logged, which takes the place of showing progress.
    pub fn logging(mut self, log: fn(&RunEvent)) -> Self {
        self.progress = None;
        self.log = Some(log);
        self
    }

    fn hear(&mut self, event: RunEvent) {
        if self.json && self.failed_to_print.is_none() {
            self.failed_to_print = output::json(&event).err();
        }
        if let Some(log) = self.log {
            log(&event);
        }
        if let Some(progress) = &mut self.progress {
            progress.hear(&event);
        } else if let RunEvent::Failed { step, failure } = &event
            && self.log.is_none()
        {
            output::aside(&progress::failure(step, failure));
        }
    }
}
