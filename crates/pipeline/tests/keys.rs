//! Keys: equal for equal configurations however written, different for any difference; and `why` sees
//! exactly what the key sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::path::Path;

use fedact_artifact::Digest;
use fedact_pipeline::{Change, Contents, Graph, Pipeline, Preimage, changes};
use proptest::prelude::*;
use serde_json::{Value, json};

fn preimage_of(text: &str, step: &str) -> Preimage {
    let pipeline = Pipeline::parse(text, Path::new("p.yaml"), Vec::new()).unwrap();
    let graph = Graph::build(&pipeline, &stages::catalogue("code")).unwrap();
    let mut contents = Contents::default();
    for node in graph.nodes() {
        contents
            .steps
            .insert(node.name.clone(), Digest::of(&node.name));
    }
    Preimage::of(graph.get(step).unwrap(), &contents).unwrap()
}

fn source(params: &str) -> Preimage {
    preimage_of(
        &format!("version: 1\nsteps:\n  a: {{stage: source, params: {params}}}\n"),
        "a",
    )
}

#[test]
fn a_key_does_not_change_between_builds_of_this_program() {
    // Whoever changes the format of keys on purpose also counts KEY_VERSION up.
    let json = source("{}").to_json();
    assert_eq!(
        fedact_artifact::canonical_json(&json),
        r#"{"code":"code of source","format":1,"inputs":{},"libraries":{"ffmpeg":"7.1"},"params":{"behaviour":"good","cores":1,"count":1,"marks":"","nested":{"deep":true,"list":[1,2]},"rate":0.5,"sleep_ms":0,"text":"","until":""},"stage":"source"}"#
    );
}

#[test]
fn comments_styles_anchors_and_step_names_do_not_matter() {
    let block = "
# a comment
version: 1
steps:
  a:
    stage: source
    params:
      nested: &shared
        list: [1, 2]
        deep: false   # here
      count: 3
";
    let flow =
        "{version: 1, steps: {b: {params: {count: 3, nested: {deep: false}}, stage: source}}}";
    assert_eq!(preimage_of(block, "a").key(), preimage_of(flow, "b").key());
    let anchored = "
version: 1
steps:
  a: {stage: source, params: &p {count: 3}}
  b: {stage: source, params: {<<: *p, nested: {deep: false}}}
";
    assert_eq!(
        preimage_of(anchored, "b").key(),
        preimage_of(flow, "b").key()
    );
}

#[test]
fn names_of_single_inputs_stay_out_and_names_in_lists_enter() {
    let single = |name: &str| {
        let text = format!(
            "version: 1\nsteps:\n  {name}: {{stage: source}}\n  b: {{stage: capitals, inputs: {{videos: {name}}}}}\n"
        );
        let pipeline = Pipeline::parse(&text, Path::new("p.yaml"), Vec::new()).unwrap();
        let graph = Graph::build(&pipeline, &stages::catalogue("code")).unwrap();
        let mut contents = Contents::default();
        contents.steps.insert(name.to_owned(), Digest::of("same"));
        Preimage::of(graph.get("b").unwrap(), &contents).unwrap()
    };
    assert_eq!(single("x").key(), single("y").key());

    let list = |clips: &str| {
        preimage_of(
            &format!(
                "version: 1\nsteps:\n  x: {{stage: source}}\n  y: {{stage: source}}\n  j: {{stage: join, inputs: {{clips: {clips}}}}}\n"
            ),
            "j",
        )
    };
    assert_eq!(list("x").key(), list("[x]").key());
    assert_ne!(list("[x, y]").key(), list("[y, x]").key());
    let difference = changes(&list("[x, y]"), &list("[x]"));
    assert_eq!(
        difference[0].to_string(),
        "input `clips` listed x, y and lists x"
    );
}

#[test]
fn an_input_that_is_not_known_yet_gives_no_key() {
    let text =
        "version: 1\nsteps:\n  a: {stage: source}\n  b: {stage: capitals, inputs: {videos: a}}\n";
    let pipeline = Pipeline::parse(text, Path::new("p.yaml"), Vec::new()).unwrap();
    let graph = Graph::build(&pipeline, &stages::catalogue("code")).unwrap();
    assert!(Preimage::of(graph.get("b").unwrap(), &Contents::default()).is_none());
}

#[test]
fn each_kind_of_difference_is_worded() {
    let old = preimage_of(
        "version: 1\nsteps:\n  a: {stage: source}\n  b: {stage: capitals, inputs: {videos: a}}\n",
        "b",
    );
    let mut new = old.clone();
    new.code = "other".into();
    new.libraries.insert("libtorch".into(), "2.12.0".into());
    new.params["count"] = json!(7);
    new.params["nested"]["deep"] = json!(false);
    if let Some(object) = new.params.as_object_mut() {
        object.shift_remove("text");
    }
    new.inputs.insert(
        "videos".into(),
        fedact_pipeline::Bound::One(Digest::of("other")),
    );
    let words: Vec<String> = changes(&old, &new).iter().map(Change::to_string).collect();
    assert_eq!(
        words,
        [
            "the code of stage capitals, or of a crate it uses, has changed".to_owned(),
            "libtorch was not used and is 2.12.0".to_owned(),
            "param `count` was 1 and is 7".to_owned(),
            "param `nested.deep` was true and is false".to_owned(),
            "param `text` is gone; it was \"\"".to_owned(),
            format!(
                "the content of input `videos` has changed ({} to {})",
                Digest::of("a").short(),
                Digest::of("other").short()
            ),
        ]
    );
}

/// Params as a user may give them: any subset of the keys.
fn params() -> impl Strategy<Value = Value> {
    let nested = (
        any::<Option<bool>>(),
        proptest::option::of(proptest::collection::vec(0u64..5, 0..4)),
    )
        .prop_map(|(deep, list)| {
            let mut nested = serde_json::Map::new();
            nested.extend(deep.map(|deep| ("deep".to_owned(), json!(deep))));
            nested.extend(list.map(|list| ("list".to_owned(), json!(list))));
            Value::Object(nested)
        });
    (
        proptest::option::of(1u64..=10),
        proptest::option::of("[a-z:#' ]{0,8}"),
        proptest::option::of(prop_oneof![0.0f64..1.0, Just(0.1), Just(1e-300), Just(2.0)]),
        proptest::option::of(nested),
    )
        .prop_map(|(count, text, rate, nested)| {
            let mut params = serde_json::Map::new();
            params.extend(count.map(|count| ("count".to_owned(), json!(count))));
            params.extend(text.map(|text| ("text".to_owned(), json!(text))));
            params.extend(rate.map(|rate| ("rate".to_owned(), json!(rate))));
            params.extend(nested.map(|nested| ("nested".to_owned(), nested)));
            Value::Object(params)
        })
}

/// The same value with its keys turned round and, where asked, defaults written out.
fn rewritten(params: &Value, fill: bool) -> Value {
    let mut resolved = (stages::SOURCE.resolve)(params).unwrap();
    if !fill {
        resolved = params.clone();
    }
    reversed(&resolved)
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .rev()
            .map(|(key, value)| (key.clone(), reversed(value)))
            .collect(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn equal_configurations_written_differently_have_equal_keys(params in params(), fill: bool) {
        // JSON is YAML in flow style; serde_yaml writes block style.
        let flow = source(&params.to_string());
        let other = json!({
            "steps": {"b": {"params": rewritten(&params, fill), "stage": "source"}},
            "version": 1,
        });
        let block = serde_yaml::to_string(&other).unwrap();
        let block = preimage_of(&block, "b");
        prop_assert_eq!(flow.key(), block.key());
        prop_assert_eq!(changes(&flow, &block), []);
    }

    #[test]
    fn a_changed_value_changes_the_key_and_is_named(one in params(), other in params()) {
        let (one, other) = (source(&one.to_string()), source(&other.to_string()));
        let differ = one.params != other.params;
        prop_assert_eq!(one.key() != other.key(), differ);
        prop_assert_eq!(!changes(&one, &other).is_empty(), differ);
        for change in changes(&one, &other) {
            let Change::Param { key, old, new } = change else {
                panic!("only params differ");
            };
            let pointer = format!("/{}", key.replace('.', "/"));
            prop_assert_eq!(old.as_ref(), one.params.pointer(&pointer));
            prop_assert_eq!(new.as_ref(), other.params.pointer(&pointer));
        }
    }

    #[test]
    fn a_preimage_survives_the_store(params in params()) {
        let preimage = source(&params.to_string());
        let text = serde_json::to_string(&preimage.to_json()).unwrap();
        let back = Preimage::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        prop_assert_eq!(back.key(), preimage.key());
        prop_assert_eq!(back, preimage);
    }
}
