//! What the command says a model costs, and weights to begin with in a pipeline.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeSet;

use bench::{Bench, TINY};
use serde_json::Value;

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&bench.fedact(&arguments).done().stdout).unwrap()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// The fields of a model in docs/json.md.
fn documented_of_a_model() -> BTreeSet<String> {
    let text = include_str!("../docs/json.md");
    let table = text.split_once("\n### A model\n").unwrap().1;
    let rows = table
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

/// A step that trains for a moment.
fn training(name: &str, inputs: &str, model: &str) -> String {
    format!(
        "  {name}: {{stage: distill, inputs: {{clips: clips{inputs}}}, params: {{model: {model}, epochs: 1, \
         warmup_epochs: 0, batch_size: 2, threads: 1}}}}\n"
    )
}

fn clips() -> String {
    format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, \
         params: {{frames: 4, size: 16, resize: 16}}}}\n"
    )
}

#[test]
fn show_says_what_a_model_costs() {
    let networks = [
        ("small", "{depth: 10, width: 4}"),
        ("thin", "{arch: x3d, width: 8}"),
        ("planar", "{arch: tsm, width: 8}"),
    ];
    let steps = networks.map(|(name, model)| training(name, "", model));
    let bench = Bench::new(&format!("{}{}", clips(), steps.concat()));
    bench.fedact(&["run"]).done();
    for (name, _) in networks {
        let shown = json(&bench, &["show", name]);
        let model = &shown["model"];
        assert_eq!(names(model), documented_of_a_model());
        assert_eq!(
            model["parameters"],
            shown["provenance"]["metrics"]["parameters"]
        );
        assert!(model["multiply_adds"].as_u64().unwrap() > 10_000, "{model}");
        assert!(
            model["pace"]["milliseconds"].as_f64().unwrap() > 0.0,
            "{model}"
        );
        assert_eq!(model["input"], serde_json::json!([4, 16, 16]));
        assert_eq!(
            (&model["classes"], &model["quantized"]),
            (&2.into(), &false.into())
        );
    }
    let text = bench.fedact(&["show", "thin"]).done().stdout.clone();
    for words in [
        "X3D width 8, 2 classes",
        "  parameters: ",
        "multiply-adds a clip: ",
        " here, on ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert_eq!(json(&bench, &["show", "clips"])["model"], Value::Null);
}

#[test]
fn pretrained_weights_count_by_their_content() {
    let model = "{depth: 10, width: 2}";
    let first = training("first", "", model);
    let tuned = training("tuned", ", pretrained: first", model);
    let own = training("own", ", pretrained: {path: weights}", model);
    let bench = Bench::new(&format!("{}{first}{tuned}", clips()));
    bench.fedact(&["run"]).done();

    std::fs::create_dir(bench.path("weights")).unwrap();
    let copy = |step: &str, name: &str| {
        let weights = bench.path("artifacts").join(step).join("model.safetensors");
        let copy = bench.path("weights").join(name);
        std::fs::write(copy, std::fs::read(weights).unwrap()).unwrap();
    };
    copy("first", "weights.safetensors");
    bench.write(&format!(
        "version: 1\nsteps:\n{}{first}{tuned}{own}",
        clips()
    ));
    bench.fedact(&["run", "own"]).done();
    // The same weights, the same normalisation: the same result.
    let [tuned, own] = ["tuned", "own"].map(|step| {
        std::fs::read(bench.path("artifacts").join(step).join("model.safetensors")).unwrap()
    });
    assert!(tuned == own);

    copy("tuned", "weights.safetensors");
    let why = json(&bench, &["why", "own"]);
    assert_eq!(why["changes"][0]["what"], "content", "{why}");
    assert_eq!(why["changes"][0]["name"], "pretrained", "{why}");

    copy("first", "other.safetensors");
    let refused = bench.fedact(&["run", "own"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let words = "several checkpoints: other.safetensors, weights.safetensors";
    assert!(refused.stderr.contains(words), "{refused:#?}");
}
