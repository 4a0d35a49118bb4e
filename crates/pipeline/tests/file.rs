//! The shape of a pipeline file: what is wrong with it is said all at once, by place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::path::{Path, PathBuf};

use fedact_pipeline::{Graph, Override, Pipeline, PipelineError, Source};
use serde_json::json;

fn build(text: &str, set: &[&str]) -> Result<Graph, PipelineError> {
    let overrides = set
        .iter()
        .map(|text| Override::parse(text).unwrap())
        .collect();
    let pipeline = Pipeline::parse(text, Path::new("work/p.yaml"), overrides)?;
    Graph::build(&pipeline, &stages::catalogue("code"))
}

/// Each message, without the folder.
fn messages(text: &str) -> Vec<String> {
    let error = build(text, &[]).unwrap_err();
    error
        .problems()
        .iter()
        .map(|problem| problem.to_string().replace("work/", ""))
        .collect()
}

#[test]
fn merged_mappings_may_be_merged_again() {
    let graph = build(
        "
version: 1
steps:
  a: {stage: source, params: &a {<<: &base {count: 2, rate: 1}, text: x}}
  b: {stage: source, params: {<<: *a, count: 4}}
",
        &[],
    )
    .unwrap();
    let params = &graph.get("b").unwrap().params;
    assert_eq!(
        (&params["text"], &params["count"], &params["rate"]),
        (&json!("x"), &json!(4), &json!(1.0))
    );
}

#[test]
fn steps_keep_their_order_and_inputs_take_three_forms() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data/mine")).unwrap();
    let text = "
version: 1
steps:
  z: {stage: capitals, inputs: {videos: {path: data/mine}}}
  a:
    stage: join
    inputs:
      clips: [z, {path: data/mine}]
      more: z
";
    let file = folder.path().join("p.yaml");
    let pipeline = Pipeline::parse(text, &file, Vec::new()).unwrap();
    let graph = Graph::build(&pipeline, &stages::catalogue("code")).unwrap();
    let folder: PathBuf = folder.path().join("data/mine");
    let sources = |node: usize, input: usize| &graph.nodes()[node].inputs[input].sources;
    assert_eq!(graph.nodes()[0].name, "z");
    assert_eq!(*sources(0, 0), [Source::Folder(folder.clone())]);
    assert_eq!(
        *sources(1, 0),
        [Source::Step("z".into()), Source::Folder(folder)]
    );
    assert_eq!(*sources(1, 1), [Source::Step("z".into())]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = "\
version: 2
stepz: {}
steps:
  one:
    stage: sorce
    parms: {count: 3}
  Two: {stage: source, params: {count: 11}}
  three:
    stage: source
    params: {cuont: 1, text: 5, nested: {deep: 1, deeper: 2}, rate: fast, count: 2}
  four: {stage: capitals, inputs: {vidoes: one, videos: [thre]}}
  five: {stage: join, inputs: {clips: [{paht: x}, three, three]}, params: {count: 1, count: 2}}
  six: {stage: join}
  seven: {inputs: 3, params: [1]}
  eight: {stage: capitals, inputs: {videos: nine}}
  nine: {stage: capitals, inputs: {videos: eight}}
  six: {stage: source}
";
    assert_eq!(
        messages(text),
        [
            "p.yaml:1:1: `version` is 2, but must be 1, the only version of the format so far",
            "p.yaml:2:1: unknown key `stepz` (did you mean `steps`?)",
            "p.yaml:5:5: `steps.one.stage`: unknown stage `sorce` (did you mean `source`?)",
            "p.yaml:6:5: unknown key `steps.one.parms` (did you mean `params`?)",
            "p.yaml:7:3: `Two` cannot be the name of a step",
            "p.yaml:7:33: step `Two`: `count` is 11, but must be between 1 and 10",
            "p.yaml:10:14: step `three`: unknown key `cuont`; known here: text, count, rate, nested, cores, sleep_ms, until, behaviour, marks",
            "p.yaml:10:24: step `three`: `text`: invalid type: 5",
            "p.yaml:10:42: step `three`: `nested.deep`: invalid type: 1",
            "p.yaml:10:51: step `three`: unknown key `nested.deeper`; known here: deep, list",
            "p.yaml:10:63: step `three`: `rate`: invalid type: \"fast\"",
            "p.yaml:11:36: stage capitals has no input `vidoes` (did you mean `videos`?)",
            "p.yaml:11:58: `steps.four.inputs.videos`: there is no step `thre` (did you mean `three`?)",
            "p.yaml:12:41: unknown key `steps.five.inputs.clips.paht` (did you mean `path`?)",
            "p.yaml:12:58: `steps.five.inputs.clips` names `three` twice",
            "p.yaml:12:86: `steps.five.params.count` is here for the second time; line 12 has it first",
            "p.yaml:13:3: step `six` lacks the input `clips` of stage join",
            "p.yaml:14:3: `steps.seven.stage` is missing",
            "p.yaml:14:11: `steps.seven.inputs` is 3, but must be a mapping from an input to a step",
            "p.yaml:14:22: `steps.seven.params` is a list, but must be a mapping of the stage's params",
            "p.yaml:15:28: the steps go round in a circle: eight -> nine -> eight",
            "p.yaml:17:3: `steps.six` is here for the second time; line 13 has it first",
        ]
    );
    // Only a wrong shape, which says what would be right, has no remedy of its own.
    let error = build(text, &[]).unwrap_err();
    assert!(
        error
            .problems()
            .iter()
            .filter(|problem| problem.remedy().is_some())
            .count()
            > 15
    );
}

#[test]
fn what_is_wrong_behind_a_merge_is_found_where_it_stands() {
    let text = "\
version: 1
steps:
  a:
    stage: source
    params:
      text: x
      <<: &work
        rate: 0.5
        count: 11
  b:
    stage: source
    params: {<<: *work, text: y}
  c:
    stage: source
    params: *unrelated
";
    let text = text
        .replace("version: 1", "version: 1 # &unrelated")
        .replace("*unrelated", "{<<: [*work]}");
    assert_eq!(
        messages(&text),
        ["p.yaml:9:9: step `a`: `count` is 11, but must be between 1 and 10"],
        "one fault in a shared mapping is one message"
    );
    let error = build(&text, &["a.count=1", "b.count=1", "c.count=0"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--set c.count=0: step `c`: `count` is 0"),
        "{error}"
    );
}

#[test]
fn resources_are_read_and_enter_no_key() {
    let text = |resources: &str| {
        format!(
            "version: 1\nsteps:\n  a: {{stage: source, params: {{cores: 0}}, resources: {resources}}}\n"
        )
    };
    let graph = build(&text("{memory: 1.5GiB, cores: 3}"), &[]).unwrap();
    assert_eq!(graph.nodes()[0].needs.memory, 3 << 29);
    assert_eq!(graph.nodes()[0].needs.cores_at_most, 3);
    let graph = build(&text("{}"), &["a.count=7"]).unwrap();
    assert_eq!(graph.nodes()[0].needs.memory, 700, "what the stage says");
    assert_eq!(
        messages(&text("{memory: much, cores: 0, corse: 1}")),
        [
            "p.yaml:3:54: `steps.a.resources.memory` is \"much\", but must be an amount of memory, as in `4GiB` or `500MB`",
            "p.yaml:3:68: `steps.a.resources.cores` is 0, but must be a number of cores, at least 1",
            "p.yaml:3:78: unknown key `steps.a.resources.corse` (did you mean `cores`?)",
        ]
    );
    let fixed = text("{cores: 2}").replace("{cores: 0}", "{cores: 1}");
    assert_eq!(
        messages(&fixed),
        [
            "p.yaml:3:54: the results of stage source depend on the number of its threads, which is one of its params"
        ]
    );
}

#[test]
fn names_that_cannot_be_folders_are_refused() {
    for name in ["store", "Upper", "-a", "a/b", "'..'", "'a b'", "'a@b'"] {
        let text = format!("version: 1\nsteps:\n  {name}: {{stage: source}}\n");
        let messages = messages(&text);
        assert!(messages[0].starts_with("p.yaml:3:3: "), "{messages:?}");
        assert_eq!(messages.len(), 1);
    }
}

#[test]
fn a_file_without_steps_says_what_it_lacks() {
    assert!(messages("")[0].contains("`the file` is empty, but must be a mapping"));
    assert!(messages("version: 1\nsteps:\n")[0].starts_with("p.yaml:2:1: `steps` is empty"));
    assert!(messages("version: 1\nsteps: {}\n")[0].contains("`steps` is an empty mapping"));
    assert_eq!(
        messages("{}"),
        [
            "p.yaml:1:1: `version` is missing",
            "p.yaml:1:1: `steps` is missing"
        ]
    );
    let error = build("version: 1\nsteps: {a: [\n", &[]).unwrap_err();
    assert!(error.to_string().starts_with("work/p.yaml:3:"), "{error}");
}

#[test]
fn an_override_of_an_unknown_step_is_refused_beside_what_else_is_wrong() {
    let text = "version: 1\nsteps: {student: {stage: source, params: {count: 0}}}\n";
    let error = build(text, &["studnt.count=3", "b.c=1"]).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "work/p.yaml:2:43: step `student`: `count` is 0, but must be between 1 and 10",
            "--set b.c=1: unknown key `b`",
            "--set studnt.count=3: unknown key `studnt` (did you mean `student`?)",
        ]
    );
}
