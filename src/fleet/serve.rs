//! `fedact fleet serve`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use fedact_federate_params::DEFINITION;
use fedact_pipeline::{Capacity, Graph, Node, Outcome, Served};

use super::changes::Follower;
use super::log;
use super::metrics::Metrics;
use crate::exit::{Code, Refusal};
use crate::run::{self, Observer, Request};
use crate::session::{self, Session};
use crate::{memory, output, remote};

/// `fedact fleet serve`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The fleet's folder.
    #[arg(value_name = "FOLDER", default_value = "fleet")]
    folder: PathBuf,
    /// The step whose clients are the fleet's devices, of the stage federate with `transport: nats`. What it needs is made
    /// first.
    #[arg(long, value_name = "STEP")]
    step: String,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    #[command(flatten)]
    exchange: remote::RunArguments,
    /// Begin the step anew although the store has its result.
    #[arg(long)]
    force: bool,
    /// Serve metrics for Prometheus at this address, as in 127.0.0.1:9464.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Log what happens on standard error, in the place of bars.
    #[arg(long, value_name = "FORMAT")]
    log: Option<log::Format>,
    /// Print what happens as lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the step, and what it needs, with the fleet.
///
/// # Errors
/// There is no fleet or no such step, the step is none for a fleet, and whatever `fedact run` refuses.
pub fn command(arguments: Arguments) -> Result<Code, Refusal> {
    let fleet = super::open(&arguments.folder)?;
    let session = Session::open(&arguments.session)?;
    let step = for_a_fleet(&session.graph, &arguments.step)?.name.clone();
    let steps = [step.clone()];
    let graph = session.graph.only(&steps)?;
    let request = Request {
        steps: &steps,
        forced: steps
            .iter()
            .filter(|_| arguments.force)
            .cloned()
            .collect::<BTreeSet<_>>(),
        remote: arguments.exchange.named(&arguments.remote, &session)?,
        fetch: arguments.exchange.fetch,
        share: arguments.exchange.share,
        capacity: Capacity {
            cores: run::all_cores(),
            memory: memory::available(),
        },
        keep_going: false,
        shard: None,
        served: Some(Served {
            step: step.clone(),
            fleet: fleet.folder().to_owned(),
        }),
        dry_run: false,
    };
    let serve = |address| Metrics::serve(fleet.clone(), address);
    let metrics = arguments.metrics.map(serve).transpose()?;
    if let Some(metrics) = &metrics {
        output::aside(&format!("metrics: http://{}/metrics\n", metrics.address()));
    }
    let mut observer = Observer::new(arguments.json);
    let mut _follower = None;
    if arguments.log.is_some() {
        observer = observer.logging(log::write_run);
        _follower = Some(Follower::of(fleet, log::write_change));
    }
    let Some(outcome) = run::carry_out(&session, &graph, request, observer)? else {
        return Ok(Code::Done);
    };
    if !arguments.json {
        let mut text = run::summary(&outcome, None, &graph, &session);
        text.push_str(&of_the_fleet(&outcome, &step));
        output::text(&text)?;
    }
    Ok(run::code(&outcome))
}

/// The step of this name, if a fleet can do its work.
fn for_a_fleet<'a>(graph: &'a Graph, name: &str) -> Result<&'a Node, Refusal> {
    let refuse = |problem: String, help: String| Refusal::new(Code::Usage, problem, help);
    let nodes = graph.select(name)?;
    let [node] = nodes[..] else {
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        return Err(refuse(
            format!(
                "`{name}` is {} steps, and a fleet serves one at a time",
                nodes.len()
            ),
            format!("name one of {}", names.join(", ")),
        ));
    };
    let stage = node.definition().name;
    if stage != DEFINITION.name {
        let tuned = graph
            .nodes()
            .iter()
            .filter(|node| node.definition().name == DEFINITION.name);
        let tuned: Vec<&str> = tuned.map(|node| node.name.as_str()).collect();
        let help = match &tuned[..] {
            [] => "this pipeline has no step of the stage federate".to_owned(),
            some => format!("name one of {}", some.join(", ")),
        };
        let problem = format!("a fleet cannot do the work of step `{name}`, of the stage {stage}");
        return Err(refuse(problem, help));
    }
    if super::params_for_a_fleet(node).is_none() {
        return Err(refuse(
            format!("the clients of step `{name}` are simulated: its `transport` is not `nats`"),
            format!(
                "add --set {}.transport=nats, or write it into the pipeline file",
                node.step
            ),
        ));
    }
    Ok(node)
}

/// What there is to know beside what any run says.
fn of_the_fleet(outcome: &Outcome, step: &str) -> String {
    let has = |steps: &[String]| steps.iter().any(|name| name == step);
    if has(&outcome.from_store) || has(&outcome.fetched) || has(&outcome.remote) {
        format!(
            "the result of `{step}` was there already, and no device was asked; --force asks them\n"
        )
    } else {
        String::new()
    }
}
