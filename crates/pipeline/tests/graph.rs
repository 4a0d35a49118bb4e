//! What the names in a pipeline may mean, and how wrong ones are refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::path::Path;

use fedact_pipeline::{Fault, Graph, Override, Pipeline, PipelineError, Source};

fn build(steps: &str, set: &[&str]) -> Result<Graph, PipelineError> {
    let overrides = set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let text = format!("version: 1\nsteps:\n{steps}");
    let pipeline = Pipeline::parse(&text, Path::new("p.yaml"), overrides)?;
    Graph::build(&pipeline, &stages::catalogue("code"))
}

/// The message and the remedy.
fn refusal(steps: &str, set: &[&str]) -> (String, String) {
    let error = build(steps, set).unwrap_err();
    (error.to_string(), error.remedy().unwrap_or_default())
}

#[test]
fn steps_come_after_what_they_need_and_otherwise_in_the_order_of_the_file() {
    let graph = build(
        "  last: {stage: join, inputs: {clips: [b, c]}}\n  c: {stage: capitals, inputs: {videos: a}}\n  b: {stage: capitals, inputs: {videos: a}}\n  a: {stage: source}\n  z: {stage: source}\n",
        &[],
    )
    .unwrap();
    let names: Vec<&str> = graph
        .nodes()
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "last", "z"]);
    let only = graph.only(&["c".into()]).unwrap();
    let names: Vec<&str> = only.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn a_single_name_serves_where_a_list_is_taken() {
    let graph = build(
        "  a: {stage: source}\n  j: {stage: join, inputs: {clips: a, more: []}}\n",
        &[],
    )
    .unwrap();
    let join = graph.get("j").unwrap();
    assert_eq!(join.inputs.len(), 1, "an empty list is the same as none");
    assert!(join.inputs[0].list);
    assert_eq!(join.inputs[0].sources, [Source::Step("a".into())]);
}

#[test]
fn a_circle_is_named_step_by_step() {
    let (message, remedy) = refusal(
        "  x: {stage: capitals, inputs: {videos: a}}\n  a: {stage: capitals, inputs: {videos: b}}\n  b: {stage: capitals, inputs: {videos: c}}\n  c: {stage: capitals, inputs: {videos: a}}\n",
        &[],
    );
    assert_eq!(
        message,
        "p.yaml:4:24: the steps go round in a circle: a -> b -> c -> a"
    );
    assert_eq!(remedy, "take one of these inputs out");
    let (message, _) = refusal("  a: {stage: capitals, inputs: {videos: a}}\n", &[]);
    assert!(message.ends_with("in a circle: a -> a"), "{message}");
}

#[test]
fn an_input_of_the_wrong_kind_is_refused_with_the_right_ones() {
    let (message, remedy) = refusal(
        "  a: {stage: source}\n  j: {stage: join, inputs: {clips: a}}\n  b: {stage: capitals, inputs: {videos: j}}\n",
        &[],
    );
    assert_eq!(
        message,
        "p.yaml:5:33: `steps.b.inputs.videos`: step `j` makes report, but stage capitals needs videos or clips"
    );
    assert_eq!(remedy, "name a step that makes videos or clips");
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let (message, remedy) = refusal("  a: {stage: sorce}\n", &[]);
    assert_eq!(
        message,
        "p.yaml:3:7: `steps.a.stage`: unknown stage `sorce` (did you mean `source`?)"
    );
    assert_eq!(remedy, "the stages are source, capitals, words, join");
    let (message, remedy) = refusal(
        "  a: {stage: source}\n  b: {stage: capitals, inputs: {vidoes: a}}\n",
        &[],
    );
    assert_eq!(
        message,
        "p.yaml:4:33: stage capitals has no input `vidoes` (did you mean `videos`?)"
    );
    assert_eq!(remedy, "its inputs are videos");
    let (message, _) = refusal(
        "  abc: {stage: source}\n  b: {stage: capitals, inputs: {videos: abd}}\n",
        &[],
    );
    assert_eq!(
        message,
        "p.yaml:4:33: `steps.b.inputs.videos`: there is no step `abd` (did you mean `abc`?)"
    );
}

#[test]
fn inputs_are_counted() {
    let (message, remedy) = refusal("  b: {stage: capitals}\n", &[]);
    assert_eq!(
        message,
        "p.yaml:3:3: step `b` lacks the input `videos` of stage capitals"
    );
    assert!(
        remedy.contains("add `videos:` with the name of a step that makes videos or clips"),
        "{remedy}"
    );
    let (message, _) = refusal(
        "  a: {stage: source}\n  b: {stage: capitals, inputs: {videos: [a, a]}}\n",
        &[],
    );
    assert!(
        message.contains("lists 2, but stage capitals takes exactly one"),
        "{message}"
    );
    let (message, _) = refusal("  b: {stage: join, inputs: {clips: []}}\n", &[]);
    assert!(
        message.contains("lists 0, but stage join takes one or more"),
        "{message}"
    );
    let (message, _) = refusal(
        "  a: {stage: source}\n  b: {stage: join, inputs: {clips: [a, a]}}\n",
        &[],
    );
    assert!(
        message.contains("`steps.b.inputs.clips` names `a` twice"),
        "{message}"
    );
}

#[test]
fn params_at_fault_are_found_in_the_file_or_on_the_command_line() {
    let steps =
        "  a:\n    stage: source\n    params:\n      count: 3\n      nested:\n        deep: 3\n";
    let (message, remedy) = refusal(steps, &[]);
    assert_eq!(
        message,
        "p.yaml:8:9: step `a`: `nested.deep`: invalid type: 3"
    );
    assert_eq!(
        remedy,
        "`fedact schema source` lists the params, their ranges and defaults"
    );
    let (message, _) = refusal(steps, &["a.nested.deep=true", "a.count=11"]);
    assert_eq!(
        message,
        "--set a.count=11: step `a`: `count` is 11, but must be between 1 and 10"
    );
    let error = build("  a: {stage: source}\n", &["a.cuont=2"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--set a.cuont=2: step `a`: unknown key `cuont`"),
        "{error}"
    );
}

#[test]
fn folders_have_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let file = folder.path().join("p.yaml");
    let check = |path: &str| {
        let text = format!(
            "version: 1\nsteps:\n  b: {{stage: capitals, inputs: {{videos: {{path: {path}}}}}}}\n"
        );
        let pipeline = Pipeline::parse(&text, &file, Vec::new()).unwrap();
        Graph::build(&pipeline, &stages::catalogue("code"))
    };
    let error = check("nowhere").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("p.yaml:3:33: `steps.b.inputs.videos`: "),
        "{error}"
    );
    assert!(
        error.to_string().ends_with("nowhere does not exist"),
        "{error}"
    );
    assert!(
        error
            .remedy()
            .unwrap()
            .contains("counts from the folder of the pipeline file")
    );
    assert_eq!(error.fault(), Fault::Pipeline);
    assert!(
        check("file")
            .unwrap_err()
            .to_string()
            .ends_with("file is not a folder")
    );
    assert_eq!(check(".").unwrap().folders().len(), 1);
}

#[test]
fn a_thousand_steps_in_a_chain_are_ordered() {
    let mut steps = String::from("  s0: {stage: source}\n");
    for index in 1..1000 {
        let before = index - 1;
        steps.push_str(&format!(
            "  s{index}: {{stage: capitals, inputs: {{videos: s{before}}}}}\n"
        ));
    }
    assert_eq!(build(&steps, &[]).unwrap().nodes().len(), 1000);
}
