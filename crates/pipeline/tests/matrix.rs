//! `matrix:`: what the instances are, what they are called, who takes what from whom.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::collections::HashSet;
use std::path::Path;

use fedact_artifact::Digest;
use fedact_pipeline::{Contents, Graph, Node, Override, Pipeline, PipelineError, Preimage, Source};
use proptest::prelude::*;
use serde_json::{Value, json};

fn build(steps: &str, set: &[&str]) -> Result<Graph, PipelineError> {
    let overrides = set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<_, _>>()?;
    let text = format!("version: 1\nsteps:\n{steps}");
    let pipeline = Pipeline::parse(&text, Path::new("p.yaml"), overrides)?;
    Graph::build(&pipeline, &stages::catalogue("code"))
}

fn names<'g>(nodes: impl IntoIterator<Item = &'g Node>) -> Vec<&'g str> {
    nodes.into_iter().map(|node| node.name.as_str()).collect()
}

/// The names of what an input of a node is bound to.
fn sources(graph: &Graph, node: &str, input: &str) -> Vec<String> {
    let node = graph.get(node).unwrap();
    let binding = node
        .inputs
        .iter()
        .find(|binding| binding.input == input)
        .unwrap();
    binding.sources.iter().map(Source::name).collect()
}

fn refusals(steps: &str, set: &[&str]) -> Vec<String> {
    let error = build(steps, set).unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

const SEEDS: &str = "  a: {stage: source, params: {text: x}, matrix: {params.count: [1, 2, 3]}}\n";

#[test]
fn a_matrix_is_the_product_of_its_lists_with_the_last_fastest() {
    let graph = build(
        "  a:\n    stage: source\n    params: {text: x, nested: {list: [9]}}\n    matrix: {params.nested.deep: [true, false], params.count: [3, 1]}\n",
        &[],
    )
    .unwrap();
    assert_eq!(
        names(graph.nodes()),
        [
            "a@nested.deep=true,count=3",
            "a@nested.deep=true,count=1",
            "a@nested.deep=false,count=3",
            "a@nested.deep=false,count=1"
        ]
    );
    let last = &graph.nodes()[3];
    assert_eq!(last.step, "a");
    assert_eq!(last.params["nested"], json!({"deep": false, "list": [9]}));
    assert_eq!(
        (&last.params["count"], &last.params["text"]),
        (&json!(1), &json!("x"))
    );
    let labels: Vec<(&str, &Value)> = last
        .labels
        .iter()
        .map(|label| (&*label.axis, &label.value))
        .collect();
    assert_eq!(
        labels,
        [("nested.deep", &json!(false)), ("count", &json!(1))]
    );
}

#[test]
fn a_single_input_follows_the_axes_and_a_list_takes_all() {
    let steps = format!(
        "{SEEDS}  b: {{stage: capitals, inputs: {{videos: a}}}}\n  c: {{stage: capitals, inputs: {{videos: b}}, matrix: {{params.rate: [0.5, 1]}}}}\n  all: {{stage: join, inputs: {{clips: [c, a]}}}}\n  each: {{stage: join, inputs: {{clips: b}}}}\n"
    );
    let graph = build(&steps, &[]).unwrap();
    let of = |step: &str| names(graph.nodes().iter().filter(|node| node.step == step));
    assert_eq!(of("b"), ["b@count=1", "b@count=2", "b@count=3"]);
    assert_eq!(of("c").len(), 6);
    assert_eq!(of("c")[1], "c@count=1,rate=1");
    assert_eq!(sources(&graph, "c@count=2,rate=1", "videos"), ["b@count=2"]);
    assert_eq!(sources(&graph, "all", "clips").len(), 9);
    assert_eq!(of("each").len(), 3);
    assert_eq!(sources(&graph, "each@count=3", "clips"), ["b@count=3"]);
    let followed = graph.get("b@count=2").unwrap();
    assert_eq!(
        followed.params["count"], 1,
        "the axis is followed, the param is not"
    );
}

#[test]
fn axes_of_one_name_go_together() {
    let steps = format!(
        "{SEEDS}  b: {{stage: capitals, inputs: {{videos: a}}, matrix: {{params.count: [3, 2, 1]}}}}\n  c: {{stage: join, inputs: {{clips: b, more: [b]}}}}\n"
    );
    let graph = build(&steps, &[]).unwrap();
    assert_eq!(graph.nodes().len(), 9);
    assert_eq!(sources(&graph, "b@count=2", "videos"), ["a@count=2"]);
    assert_eq!(graph.get("b@count=2").unwrap().params["count"], 2);
    // A list takes those that agree with the instance it is for.
    assert_eq!(sources(&graph, "c@count=3", "more"), ["b@count=3"]);

    assert_eq!(
        refusals(&steps.replace("[3, 2, 1]", "[1, 2]"), &[]),
        ["p.yaml:4:3: in step `b` the axis `count` of `b` (1, 2) meets that of `a` (1, 2, 3)"]
    );
}

#[test]
fn instances_are_named_in_part_or_whole() {
    let steps = format!(
        "{SEEDS}  b: {{stage: capitals, inputs: {{videos: a@count=2}}}}\n  c: {{stage: join, inputs: {{clips: [a@count=1, 'a@count=3']}}}}\n"
    );
    let graph = build(&steps, &[]).unwrap();
    assert_eq!(sources(&graph, "b", "videos"), ["a@count=2"]);
    assert_eq!(sources(&graph, "c", "clips"), ["a@count=1", "a@count=3"]);
    assert_eq!(graph.select("a").unwrap().len(), 3);
    assert_eq!(names(graph.select("a@count=2").unwrap()), ["a@count=2"]);
    let only = graph.only(&["b".into()]).unwrap();
    assert_eq!(names(only.nodes()), ["a@count=2", "b"]);
    for (name, message, help) in [
        (
            "a@cuont=2",
            "has no axis `cuont` (did you mean `count`?)",
            "its axes are count (1, 2, 3)",
        ),
        (
            "a@count=7",
            "the axis `count` of step `a` has no value `7`",
            "count (1, 2, 3)",
        ),
        (
            "b@count=2",
            "step `b` has no axis `count`",
            "`b` has no matrix",
        ),
        ("aa", "there is no step `aa`", "its steps are a, b, c"),
    ] {
        let error = graph.select(name).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.remedy().unwrap().contains(help), "{error:?}");
    }
    let error = graph.require("a").unwrap_err();
    assert!(
        error.to_string().contains("`a` stands for 3 instances"),
        "{error}"
    );
    assert_eq!(
        refusals(&steps.replace("a@count=2", "a@count=5"), &[]),
        ["p.yaml:4:33: `steps.b.inputs.videos`: the axis `count` of step `a` has no value `5`"]
    );
}

#[test]
fn an_axis_over_an_input_binds_it_to_each() {
    let steps = "  a: {stage: source, params: {text: a}, matrix: {params.count: [1, 2]}}\n  b: {stage: capitals, inputs: {videos: a}}\n  c:\n    stage: capitals\n    matrix: {inputs.videos: [a, b]}\n";
    let graph = build(steps, &[]).unwrap();
    let of_c = names(graph.nodes().iter().filter(|node| node.step == "c"));
    assert_eq!(
        of_c,
        [
            "c@count=1,videos=a",
            "c@count=1,videos=b",
            "c@count=2,videos=a",
            "c@count=2,videos=b"
        ]
    );
    assert_eq!(sources(&graph, of_c[3], "videos"), ["b@count=2"]);
    assert_eq!(
        refusals(&steps.replace("[a, b]", "[a, b@count=1]"), &[]),
        [
            "p.yaml:7:33: `steps.c.matrix.inputs.videos`: \"b@count=1\" has no axes, but \"a\" has the axes count"
        ]
    );
}

#[test]
fn overrides_reach_all_instances_some_or_the_axis() {
    let graph = build(
        SEEDS,
        &[
            "a.text=y",
            "a@count=2.text=z",
            "a@count=2.nested.deep=false",
        ],
    )
    .unwrap();
    let text = |name: &str| graph.get(name).unwrap().params["text"].clone();
    assert_eq!([text("a@count=1"), text("a@count=2")], ["y", "z"]);
    assert_eq!(
        graph.get("a@count=2").unwrap().params["nested"]["deep"],
        false
    );
    let graph = build(SEEDS, &["a.count=[7, 8]"]).unwrap();
    assert_eq!(names(graph.nodes()), ["a@count=7", "a@count=8"]);
    let graph = build(SEEDS, &["a.count=7"]).unwrap();
    assert_eq!(names(graph.nodes()), ["a@count=7"]);
    for (set, message) in [
        (
            "a@count=2.count=5",
            "--set a@count=2.count=5: `count` is an axis of the step's matrix",
        ),
        (
            "a@count=9.text=z",
            "--set a@count=9.text=z: selects no instance",
        ),
        (
            "a.count=[]",
            "--set a.count=[]: leaves the axis `count` without values",
        ),
        (
            "a.count=[1, 11]",
            "--set a.count=[1, 11]: step `a@count=11`: `count` is 11, but must be",
        ),
        (
            "a.count=[1, 1]",
            "--set a.count=[1, 1]: `steps.a.matrix.params.count` has the value 1 twice",
        ),
        (
            "a@count=2.txet=z",
            "--set a@count=2.txet=z: step `a@count=2`: unknown key `txet`",
        ),
    ] {
        let found = refusals(SEEDS, &[set]);
        assert!(found[0].starts_with(message), "{found:?}");
    }
}

#[test]
fn what_cannot_be_a_matrix_says_why_by_place() {
    let steps = "  a:
    stage: source
    matrix:
      params.count: []
      params.text: [x, y, x]
      params.rate: 0.5
      count: [1, 2]
      params.: [1]
      params.nested.deep: [true, 3, false]
      params.unknown: [1, 2]
";
    assert_eq!(
        refusals(steps, &[]),
        [
            "p.yaml:6:7: `steps.a.matrix.params.count` is an empty list, but must be a list of one or more values",
            "p.yaml:7:27: `steps.a.matrix.params.text` has the value \"x\" twice",
            "p.yaml:8:7: `steps.a.matrix.params.rate` is 0.5, but must be a list of one or more values",
            "p.yaml:9:7: unknown key `steps.a.matrix.count` (did you mean `params.count`?)",
            "p.yaml:10:7: unknown key `steps.a.matrix.params.`",
            "p.yaml:11:34: step `a@text=x,nested.deep=3,unknown=1`: `nested.deep`: invalid type: 3",
            "p.yaml:12:24: step `a@text=x,nested.deep=true,unknown=1`: unknown key `unknown`; known here: text, count, rate, nested, cores, sleep_ms, until, behaviour, marks",
            "p.yaml:12:27: step `a@text=x,nested.deep=true,unknown=2`: unknown key `unknown`; known here: text, count, rate, nested, cores, sleep_ms, until, behaviour, marks",
        ]
    );
    let hundred = (0..101)
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let steps = format!(
        "  a: {{stage: source, matrix: {{params.sleep_ms: [{hundred}], params.cores: [{hundred}]}}}}\n"
    );
    assert_eq!(
        refusals(&steps, &[]),
        [
            "p.yaml:3:3: the matrix of step `a` makes 101 x 101 instances, but may make at most 10000"
        ]
    );
    let steps = "  a: {stage: capitals, inputs: {videos: a}, matrix: {params.count: [1, 2]}}\n";
    assert_eq!(
        refusals(steps, &[]),
        ["p.yaml:3:24: the steps go round in a circle: a -> a"]
    );
}

/// Distinct values for an axis, with the param they are for.
fn axis() -> impl Strategy<Value = (String, Vec<Value>)> {
    let distinct = |values: HashSet<String>, parse: fn(&str) -> Value| {
        values.iter().map(|text| parse(text)).collect()
    };
    prop_oneof![
        proptest::sample::subsequence((1..=10).collect::<Vec<u64>>(), 1..5).prop_map(|values| (
            "count".to_owned(),
            values.into_iter().map(Value::from).collect()
        )),
        proptest::collection::hash_set("[ -~]{0,40}", 1..4).prop_map(move |values| (
            "text".to_owned(),
            distinct(values, |text| Value::from(text))
        )),
        Just(("nested.deep".to_owned(), vec![json!(false), json!(true)])),
        Just((
            "nested.list".to_owned(),
            vec![json!([]), json!([1]), json!([1, 2])]
        )),
    ]
}

fn axes() -> impl Strategy<Value = Vec<(String, Vec<Value>)>> {
    proptest::collection::vec(axis(), 1..4).prop_map(|mut axes| {
        let mut seen = HashSet::new();
        axes.retain(|(key, _)| seen.insert(key.clone()));
        axes
    })
}

fn key_of(node: &Node) -> Digest {
    Preimage::of(node, &Contents::default()).unwrap().key()
}

proptest! {
    #[test]
    fn instances_are_the_product_in_order_with_names_and_keys_of_their_own(axes in axes()) {
        let matrix: serde_json::Map<String, Value> = axes
            .iter()
            .map(|(key, values)| (format!("params.{key}"), json!(values)))
            .collect();
        let steps = format!("  a: {}\n", json!({"stage": "source", "matrix": matrix}));
        let graph = build(&steps, &[]).unwrap();
        let nodes = graph.nodes();
        let product: usize = axes.iter().map(|(_, values)| values.len()).product();
        prop_assert_eq!(nodes.len(), product);
        let names: HashSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        prop_assert_eq!(names.len(), product);
        let keys: HashSet<Digest> = nodes.iter().map(key_of).collect();
        prop_assert_eq!(keys.len(), product);
        for (index, node) in nodes.iter().enumerate() {
            let mut rest = index;
            let mut plain = json!({"stage": "source", "params": {}});
            for (at, (key, values)) in axes.iter().enumerate().rev() {
                let value = &values[rest % values.len()];
                rest /= values.len();
                prop_assert_eq!(&node.labels[at].value, value);
                let mut place = &mut plain["params"];
                for segment in key.split('.') {
                    place = &mut place[segment];
                }
                *place = value.clone();
            }
            // The same work as of a plain step with these params.
            let plain = build(&format!("  other: {plain}\n"), &[]).unwrap();
            prop_assert_eq!(key_of(&plain.nodes()[0]), key_of(node));
            prop_assert_eq!(graph.select(&node.name).unwrap().len(), 1);
        }
    }

    #[test]
    fn other_values_never_rename_an_instance(one in "[ -~]{0,40}", other in "[ -~]{0,40}") {
        prop_assume!(one != other);
        let name = |values: Value| {
            let steps = format!("  a: {}\n", json!({"stage": "source", "matrix": {"params.text": values}}));
            build(&steps, &[]).unwrap().nodes().last().unwrap().name.clone()
        };
        prop_assert_eq!(name(json!([one])), name(json!([other, one])));
    }
}
