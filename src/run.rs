//! `fedact run`.

use std::collections::BTreeSet;

use clap::Args;
use fedact_pipeline::{Capacity, Estimate, Graph, Outcome, RunEvent, Settings, StoreRecords};
use fedact_stage::Kind;

use crate::exit::{Code, Refusal};
use crate::progress::{self, Progress};
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
    let graph = session.graph.only(&arguments.steps)?;
    let mut forced: BTreeSet<String> = BTreeSet::new();
    for step in &arguments.force {
        let nodes = session.graph.select(step)?;
        forced.extend(nodes.into_iter().map(|node| node.name.clone()));
    }
    let store = session.store()?;
    let records = if arguments.dry_run {
        StoreRecords::for_a_look(&store)
    } else {
        StoreRecords::new(&store)
    };
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
    if arguments.dry_run {
        drop(observer);
        let estimate = Estimate::of(&graph, &plan, capacity);
        if arguments.json {
            output::json(&RunEvent::Planned { plan, estimate })?;
        } else {
            output::text(&status::table(&plan))?;
            output::text(&status::forecast(&plan, &estimate, capacity.cores))?;
        }
        return Ok(Code::Done);
    }
    let settings = Settings {
        artifacts: session.artifacts.clone(),
        launcher: launch::launcher()?,
        capacity,
        keep_going: arguments.keep_going,
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
        output::text(&summary(&outcome, &graph, &session))?;
    }
    Ok(code(&outcome))
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
fn summary(outcome: &Outcome, graph: &Graph, session: &Session) -> String {
    let mut parts = Vec::new();
    let mut part = |names: &[String], verb: &str| {
        if !names.is_empty() {
            parts.push(format!(
                "{verb} {} ({})",
                steps(names.len()),
                names.join(", ")
            ));
        }
    };
    part(&outcome.ran, "ran");
    part(&outcome.failed, "failed in");
    part(&outcome.not_run, "left out");
    let kept = outcome.from_store.len();
    let mut text = if parts.is_empty() {
        format!("nothing to do: {} from the store", steps(kept))
    } else {
        if kept > 0 {
            parts.push(format!("{} from the store", steps(kept)));
        }
        parts.join("; ")
    };
    text.push_str(&format!(", in {}\n", output::duration(outcome.seconds)));
    if outcome.interrupted {
        text.push_str("interrupted; finished steps and checkpoints are kept, run again to go on\n");
    }
    let there = |name: &String| outcome.ran.contains(name) || outcome.from_store.contains(name);
    for node in graph.nodes() {
        if node.definition().output == Kind::Report && there(&node.name) {
            let page = session.artifacts.join(&node.name).join("index.html");
            text.push_str(&format!("report: {}\n", page.display()));
        }
    }
    text
}

fn steps(count: usize) -> String {
    if count == 1 {
        "1 step".to_owned()
    } else {
        format!("{count} steps")
    }
}
