//! The planner against records made up by the tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use fedact_artifact::Digest;
use fedact_pipeline::{
    Contents, Found, Graph, Pipeline, PipelineError, Plan, Preimage, Previous, Records, State,
};

const STEPS: &str = "version: 1
steps:
  a: {stage: source, params: {count: 2}}
  b: {stage: capitals, inputs: {videos: a}}
  c: {stage: join, inputs: {clips: [a, b]}}
";

#[derive(Default)]
struct Made {
    by_key: HashMap<Digest, Found>,
    latest: HashMap<String, Previous>,
}

impl Records for Made {
    fn lookup(&self, key: &Digest) -> Result<Option<Found>, PipelineError> {
        Ok(self.by_key.get(key).copied())
    }

    fn latest(&self, step: &str) -> Result<Option<Previous>, PipelineError> {
        Ok(self.latest.get(step).cloned())
    }
}

fn graph(text: &str, code: &str) -> Graph {
    let pipeline = Pipeline::parse(text, Path::new("p.yaml"), Vec::new()).unwrap();
    Graph::build(&pipeline, &stages::catalogue(code)).unwrap()
}

/// Everything has run once; the output of a step is the digest of its name.
fn all_run(graph: &Graph) -> Made {
    let mut made = Made::default();
    let mut contents = Contents::default();
    for node in graph.nodes() {
        let preimage = Preimage::of(node, &contents).unwrap();
        let output = Digest::of(&node.name);
        let seconds = 2.0;
        made.by_key.insert(
            preimage.key(),
            Found {
                here: true,
                output,
                seconds,
            },
        );
        made.latest.insert(
            node.name.clone(),
            Previous {
                preimage: Some(preimage),
                output,
                seconds,
            },
        );
        contents.steps.insert(node.name.clone(), output);
    }
    made
}

fn states(graph: &Graph, made: &Made, forced: &[&str]) -> Vec<String> {
    let forced: BTreeSet<String> = forced.iter().map(|&step| step.to_owned()).collect();
    let plan = Plan::make(graph, &mut Contents::default(), made, &forced).unwrap();
    plan.steps
        .iter()
        .map(|step| match &step.state {
            State::Stale { reason } => format!("{} stale: {reason}", step.step),
            State::Waiting { on } => format!("{} waits for {}", step.step, on.join(", ")),
            State::NeverRun => format!("{} never", step.step),
            State::Fresh => format!("{} fresh", step.step),
            State::Remote => format!("{} remote", step.step),
        })
        .collect()
}

#[test]
fn an_empty_store_has_run_nothing_and_knows_no_keys_downstream() {
    let graph = graph(STEPS, "code");
    assert_eq!(
        states(&graph, &Made::default(), &[]),
        ["a never", "b waits for a", "c waits for a, b"]
    );
}

#[test]
fn what_has_run_is_fresh_and_a_change_makes_stale_with_its_reason() {
    let before = graph(STEPS, "code");
    let made = all_run(&before);
    assert_eq!(
        states(&before, &made, &[]),
        ["a fresh", "b fresh", "c fresh"]
    );

    let after = graph(&STEPS.replace("count: 2", "count: 3"), "code");
    assert_eq!(
        states(&after, &made, &[]),
        [
            "a stale: param `count` was 2 and is 3",
            "b waits for a",
            "c waits for a, b"
        ]
    );

    let edited = graph(STEPS, "new code");
    assert!(states(&edited, &made, &[])[0].starts_with("a stale: the code of stage source"),);
}

#[test]
fn a_forced_step_runs_and_those_behind_it_wait_for_what_it_gives() {
    let graph = graph(STEPS, "code");
    let made = all_run(&graph);
    assert_eq!(
        states(&graph, &made, &["b"]),
        [
            "a fresh",
            "b stale: asked for with --force",
            "c waits for b"
        ]
    );
}

#[test]
fn a_lost_result_and_one_of_another_format_say_so() {
    let graph = graph(STEPS, "code");
    let mut made = all_run(&graph);
    made.by_key.clear();
    assert_eq!(
        states(&graph, &made, &[])[0],
        "a stale: its result is no longer whole in the store"
    );
    for previous in made.latest.values_mut() {
        previous.preimage = None;
    }
    assert_eq!(
        states(&graph, &made, &[])[0],
        "a stale: its result was made by another version of fedact"
    );
}
