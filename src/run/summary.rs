//! What a run came to, for people and for the exit code.

use fedact_pipeline::{Graph, Outcome};
use fedact_stage::{Kind, Shard};

use crate::exit::Code;
use crate::output;
use crate::session::Session;

/// The exit code of a run.
pub fn code(outcome: &Outcome) -> Code {
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
pub fn summary(
    outcome: &Outcome,
    shard: Option<Shard>,
    graph: &Graph,
    session: &Session,
) -> String {
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
