//! `fedact accept`.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use fedact_artifact::Digest;
use fedact_pipeline::{Candidate, Change, Concern, StoreRecords, Unacceptable};
use serde::Serialize;

use crate::exit::{Code, Refusal};
use crate::session::{self, Session};
use crate::{output, remote};

/// `fedact accept`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The steps whose latest results are still good; a matrix step stands for all its instances.
    #[arg(value_name = "STEP", required = true)]
    steps: Vec<String>,
    #[command(flatten)]
    session: session::Arguments,
    #[command(flatten)]
    remote: remote::Arguments,
    /// Accept although this differs, besides the code. May be given several times.
    #[arg(long, value_name = "WHAT")]
    even_if: Vec<Difference>,
    /// Say what would be accepted, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What may differ besides the code.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Difference {
    /// Versions of libtorch or FFmpeg.
    Libraries,
    /// Params.
    Params,
    /// Content of the inputs.
    Inputs,
}

impl From<Difference> for Concern {
    fn from(difference: Difference) -> Self {
        match difference {
            Difference::Libraries => Self::Libraries,
            Difference::Params => Self::Params,
            Difference::Inputs => Self::Inputs,
        }
    }
}

/// One accepted result.
#[derive(Serialize)]
struct Accepted {
    step: String,
    /// The key whose result it was.
    from: Digest,
    /// The key whose result it is now.
    key: Digest,
    output: Digest,
    changes: Vec<Change>,
}

/// Declares the latest results of steps good for the keys that they have now.
///
/// # Errors
/// What is wrong with the pipeline or the store; a result that cannot be accepted.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    let mut wanted = BTreeSet::new();
    for step in &arguments.steps {
        let nodes = session.graph.select(step)?;
        wanted.extend(nodes.into_iter().map(|node| node.name.as_str()));
    }
    let graph = session.graph.only(&arguments.steps)?;
    let remote = arguments.remote.named(&session)?;
    let store = session.store()?;
    let remote = remote::open(remote, &store);
    let allowed: BTreeSet<Concern> = arguments
        .even_if
        .iter()
        .map(|what| (*what).into())
        .collect();
    let mut accepted = Vec::new();
    // In the order of the graph: what is accepted may make those behind it known.
    for node in graph
        .nodes()
        .iter()
        .filter(|node| wanted.contains(node.name.as_str()))
    {
        let records = StoreRecords::new(&store).with_exchange(remote.clone());
        let (plan, contents) = session.plan(
            &graph,
            &store,
            &records,
            &BTreeSet::new(),
            &mut session::only_warnings,
        )?;
        let Some(planned) = plan.steps.iter().find(|step| step.step == node.name) else {
            continue;
        };
        let candidate = Candidate::find(node, planned, &contents, &records, &allowed)?
            .map_err(|why| refused(&why))?;
        let one = Accepted {
            step: candidate.step.clone(),
            from: candidate.old.key,
            key: candidate.key,
            output: candidate.old.output,
            changes: candidate.changes.clone(),
        };
        if !arguments.dry_run {
            candidate
                .accept(&store, env!("CARGO_PKG_VERSION"))?
                .map_err(|why| refused(&why))?;
        }
        if !arguments.json {
            output::text(&words(&one, arguments.dry_run))?;
        }
        accepted.push(one);
    }
    if arguments.json {
        output::json(&serde_json::json!({
            "accepted": accepted,
            "dry_run": arguments.dry_run,
        }))?;
    }
    Ok(Code::Done)
}

fn refused(why: &Unacceptable) -> Refusal {
    Refusal::new(Code::Failed, why.to_string(), why.remedy())
}

fn words(accepted: &Accepted, dry_run: bool) -> String {
    let mut text = format!(
        "{}: {} the result of key {} for key {}, although\n",
        accepted.step,
        if dry_run { "would accept" } else { "accepted" },
        accepted.from.short(),
        accepted.key.short()
    );
    for change in &accepted.changes {
        text.push_str(&format!("  {change}\n"));
    }
    text
}
