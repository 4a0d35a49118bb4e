//! The documented pipeline format on the real stages: the examples hold, a matrix runs and is shown.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeSet;

use bench::{Bench, TINY};
use serde_json::{Value, json};

/// The YAML blocks of the page.
fn examples() -> Vec<String> {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pipeline.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_example_of_the_page_is_a_pipeline() {
    let bench = Bench::new("");
    let examples = examples();
    assert_eq!(examples.len(), 6);
    for example in &examples {
        bench.write(example);
        bench.fedact(&["graph"]).done();
    }
    let instances = |example: &str, step: &str| {
        bench.write(example);
        let graph: Value =
            serde_json::from_str(&bench.fedact(&["graph", "--json"]).done().stdout).unwrap();
        let steps = graph["steps"].as_array().unwrap().clone();
        steps
            .into_iter()
            .filter(|node| node["of"] == step)
            .collect::<Vec<_>>()
    };
    let thirty = instances(&examples[2], "tuned");
    assert_eq!(thirty.len(), 30);
    assert_eq!(
        thirty[0]["step"],
        "tuned@strategy=fedasync,seed=0,local_epochs=1"
    );
    assert_eq!(instances(&examples[3], "tuned").len(), 6);
    let report = instances(&examples[3], "report");
    assert_eq!(
        report[0]["inputs"][0]["sources"].as_array().unwrap().len(),
        7
    );
    let text = bench.fedact(&["graph"]).done().stdout.clone();
    assert!(
        text.contains("federate (model: quantized; clips: clips) -> federated, 6 instances: seed (0, 1, 2) x strategy (fedasync, fedavg)\n"),
        "{text}"
    );
    let drawn = bench
        .fedact(&["graph", "--format", "mermaid"])
        .done()
        .stdout
        .clone();
    assert!(
        drawn.contains("[\"tuned<br><i>federate</i><br>6 instances: seed x strategy\"]"),
        "{drawn}"
    );
    assert_eq!(drawn.matches("-->|models|").count(), 2, "{drawn}");
}

#[test]
fn a_matrix_runs_and_its_results_are_one_table() {
    let bench = Bench::new(&format!(
        "  videos:\n    stage: synthesize\n    params: {TINY}\n    matrix: {{params.fps: [8, 10], params.seed: [1, 2]}}\n  one: {{stage: synthesize, params: {TINY}}}\n"
    ));
    let none = bench.fedact(&["show", "videos"]);
    none.refused(1, &["no result yet of videos", "fedact run videos"]);
    let some = bench.fedact(&["run", "videos@fps=8"]);
    assert!(some.done().stdout.starts_with("ran 2 steps ("), "{some:#?}");
    assert!(bench.path("artifacts/videos@fps=8,seed=2").is_dir());
    let status = bench.fedact(&["status"]);
    assert!(
        status
            .done()
            .stdout
            .contains("videos@fps=10,seed=1  synthesize  never run"),
        "{status:#?}"
    );

    let dry = bench.fedact(&[
        "run",
        "videos",
        "--dry-run",
        "--jobs",
        "2",
        "--memory",
        "4GiB",
    ]);
    assert!(
        dry.done().stdout.contains("would run 2 of 4; about "),
        "{dry:#?}"
    );
    assert!(dry.stdout.contains(" on 2 cores\n"), "{dry:#?}");
    bench.fedact(&["run"]).done();
    let forced = bench.fedact(&["run", "--force", "videos@seed=2"]);
    assert!(
        forced
            .done()
            .stdout
            .starts_with("ran 2 steps (videos@fps=8,seed=2, videos@fps=10,seed=2)")
            || forced
                .stdout
                .starts_with("ran 2 steps (videos@fps=10,seed=2, videos@fps=8,seed=2)"),
        "{forced:#?}"
    );

    let table: Value =
        serde_json::from_str(&bench.fedact(&["show", "videos", "--json"]).done().stdout).unwrap();
    assert_eq!(table["axes"], json!(["fps", "seed"]));
    assert_eq!(table["over"], "seed");
    assert_eq!(table["rows"].as_array().unwrap().len(), 4);
    assert_eq!(table["rows"][1]["step"], "videos@fps=8,seed=2");
    assert_eq!(table["rows"][1]["labels"], json!({"fps": 8, "seed": 2}));
    assert_eq!(table["rows"][1]["fresh"], true);
    assert_eq!(table["summary"].as_array().unwrap().len(), 2);
    assert_eq!(table["summary"][1]["labels"], json!({"fps": 10}));
    assert_eq!(table["summary"][1]["count"], 2);
    let metrics = table["rows"][1]["metrics"].as_object().unwrap();
    let (name, value) = metrics.iter().find(|(_, value)| value.is_number()).unwrap();
    let summary = &table["summary"][0]["metrics"][name];
    let values =
        [&table["rows"][0], &table["rows"][1]].map(|row| row["metrics"][name].as_f64().unwrap());
    assert!(
        (summary["mean"].as_f64().unwrap() - (values[0] + values[1]) / 2.0).abs() < 1e-9,
        "{value}"
    );

    let text = bench
        .fedact(&["show", "videos", "one"])
        .done()
        .stdout
        .clone();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("step    fps  seed  "), "{text}");
    assert!(lines[1].starts_with("videos    8     1  "), "{text}");
    assert!(
        text.contains("\nmean and standard deviation over seed\nstep    fps  runs  "),
        "{text}"
    );
    // One instance is shown like any step.
    let one = bench.fedact(&["show", "videos@fps=8,seed=1"]);
    assert!(
        one.done()
            .stdout
            .starts_with("videos@fps=8,seed=1 (stage synthesize)\n"),
        "{one:#?}"
    );
    bench.fedact(&["run", "videos@fps=9"]).refused(
        2,
        &[
            "the axis `fps` of step `videos` has no value `9`",
            "its axes are fps (8, 10), seed (1, 2)",
        ],
    );
}

#[test]
fn repeated_runs_are_compared_pair_by_pair() {
    let videos =
        "actions: [Walk, Clap], subjects: 2, clips: 1, seconds: 0.5, width: 64, height: 64";
    let bench = Bench::new(&format!(
        "  slow: {{stage: synthesize, params: {{{videos}, fps: 8}}, matrix: {{params.seed: [1, 2, 3]}}}}\n  fast: {{stage: synthesize, params: {{{videos}}}, matrix: {{params.seed: [1, 2, 3], params.fps: [12, 16]}}}}\n  alone: {{stage: synthesize, params: {{{videos}}}}}\n",
    ));
    bench.fedact(&["run"]).done();
    let shown = |arguments: &[&str]| -> Value {
        let arguments = [&["show"], arguments, &["--json"]].concat();
        serde_json::from_str(&bench.fedact(&arguments).done().stdout).unwrap()
    };
    let table = shown(&["fast", "--against", "slow", "--metric", "frames"]);
    let frames = |step: &str| {
        let rows = shown(&[step, "--metric", "frames"]);
        let rows = rows["rows"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["metrics"]["frames"].as_f64().unwrap())
            .collect::<Vec<f64>>()
    };
    let (slow, fast) = (frames("slow"), frames("fast@fps=16"));
    let differences: Vec<f64> = fast
        .iter()
        .zip(&slow)
        .map(|(fast, slow)| fast - slow)
        .collect();
    let mean = differences.iter().sum::<f64>() / 3.0;
    let squares: f64 = differences.iter().map(|value| (value - mean).powi(2)).sum();
    // Student's t of two degrees of freedom.
    let interval = 4.303 * (squares / 2.0).sqrt() / 3f64.sqrt();
    let summary = &table["summary"][1];
    assert_eq!(summary["labels"], json!({"fps": 16}));
    let names: Vec<&String> = summary["metrics"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["frames"]);
    let gain = &summary["metrics"]["frames"]["gain"];
    assert_eq!(gain["count"], 3);
    assert!(
        (gain["mean"].as_f64().unwrap() - mean).abs() < 1e-6,
        "{gain}"
    );
    assert!(
        (gain["interval"].as_f64().unwrap() - interval).abs() <= 1e-6 * interval,
        "{gain}"
    );

    let text = bench.fedact(&["show", "fast", "--against", "slow", "--metric", "frames"]);
    let heading = "\ngain over slow, pair by pair over seed: mean and its 95% interval\nfps  pairs";
    assert!(text.done().stdout.contains(heading), "{text:#?}");
    for (arguments, words) in [
        (
            ["slow", "--against", "fast"],
            [
                "several results of `fast` to compare `slow@seed=1` with",
                "name one of them but for seed, as in `--against fast@fps=12`",
            ],
        ),
        (
            ["alone", "--against", "slow"],
            [
                "differ in their seed, and these have no such axis",
                "matrix: {params.seed: [0, 1, 2]}",
            ],
        ),
        (
            ["slow", "--metric", "farmes"],
            ["none of these results has a figure `farmes`", "frames"],
        ),
    ] {
        bench
            .fedact(&[&["show"], &arguments[..]].concat())
            .refused(2, &words);
    }
    bench
        .fedact(&["show", "slow", "--against", "fast@fps=12"])
        .done();
    // One value of an axis against another: seeds are paired, and the chosen value is no part of the pair.
    let table = shown(&["fast", "--against", "fast@fps=12", "--metric", "frames"]);
    let gains: Vec<&Value> = (0..2)
        .map(|row| &table["summary"][row]["metrics"]["frames"]["gain"])
        .collect();
    assert_eq!(
        (&gains[0]["count"], &gains[0]["mean"]),
        (&json!(3), &json!(0.0))
    );
    assert_eq!(gains[1]["count"], 3);
    assert!(gains[1]["mean"].as_f64().unwrap() > 0.0, "{table}");
}

#[test]
fn the_study_of_distillation_pairs_every_student_with_the_one_that_learns_alone() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("pipelines/studies/distillation.yaml");
    let bench = Bench::new("");
    let graph = bench.fedact(&["graph", "--json", "-f", file.to_str().unwrap()]);
    let graph: Value = serde_json::from_str(&graph.done().stdout).unwrap();
    let steps = graph["steps"].as_array().unwrap();
    let seeds = |step: &str| -> BTreeSet<u64> {
        let instances = steps.iter().filter(|instance| instance["of"] == step);
        instances
            .map(|instance| instance["labels"]["seed"].as_u64().unwrap())
            .collect()
    };
    let students = [
        "scratch",
        "direct",
        "temperature",
        "share",
        "decoupled",
        "attention",
        "one-assistant",
        "two-assistants",
    ];
    for student in students {
        assert!(seeds(student).len() >= 5, "{student}");
        assert!(seeds(student).is_subset(&seeds("scratch")), "{student}");
    }
    // They differ in whom they listen to and how, and in nothing else.
    let params = |step: &str| {
        let of = |instance: &&Value| instance["of"] == step;
        let mut params = steps.iter().find(of).unwrap()["params"].clone();
        params.as_object_mut().unwrap().remove("distillation");
        params
    };
    for student in students {
        assert_eq!(params(student), params("scratch"), "{student}");
    }
}

#[test]
fn the_studies_of_eight_bits_try_every_improvement_on_every_student() {
    for file in ["quantization.yaml", "quantization-real.yaml"] {
        let bench = Bench::new("");
        let studies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/studies");
        // With videos where the file looks for them, which only a run would open.
        let folder = bench.path("pipelines/studies");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::create_dir_all(bench.path("data/large")).unwrap();
        std::fs::copy(studies.join(file), folder.join(file)).unwrap();
        let graph = bench.fedact(&[
            "graph",
            "--json",
            "-f",
            &format!("pipelines/studies/{file}"),
        ]);
        let graph: Value = serde_json::from_str(&graph.done().stdout).unwrap();
        let steps = graph["steps"].as_array().unwrap();
        let of = |name: &str| {
            steps
                .iter()
                .filter(|step| step["of"] == name)
                .collect::<Vec<_>>()
        };
        let students = of("student").len();
        assert!(students >= 4, "{file}");
        let improve = |name: &str| {
            let instances = of(name);
            assert_eq!(instances.len() % students, 0, "{name}");
            instances[0]["params"]["improve"].clone()
        };
        assert_eq!(improve("calibrated"), json!([]));
        assert_eq!(improve("automatic"), json!("auto"));
        let each = ["equalised", "corrected", "rounded", "tuned"].map(improve);
        assert_eq!(
            json!(each),
            json!([["equalise"], ["bias"], ["round"], ["tune"]])
        );
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let bench = Bench::new(
        "  v:\n    stage: synthesise\n  w: {stage: synthesize, params: &p {fps: 3000}}\n  c: {stage: extract, inputs: {videos: x}, params: {frmes: 3}}\n  d: {stage: synthesize, params: *p}\n",
    );
    let refused = bench.fedact(&["run", "--set", "y.fps=3"]);
    refused.refused(
        3,
        &[
            "error: pipeline.yaml:4:5: `steps.v.stage`: unknown stage `synthesise`",
            "error: pipeline.yaml:5:38: step `w`: `fps` is 3000",
            "error: pipeline.yaml:6:32: `steps.c.inputs.videos`: there is no step `x`",
            "error: pipeline.yaml:6:53: step `c`: unknown key `frmes` (did you mean `frames`?)",
            "error: --set y.fps=3: unknown key `y`",
        ],
    );
    assert_eq!(refused.stderr.matches("error: ").count(), 5, "{refused:#?}");
    assert_eq!(refused.stderr.matches("help: ").count(), 5, "{refused:#?}");
}

#[test]
fn memory_has_a_unit() {
    let bench = Bench::new("  v: {stage: synthesize}\n");
    let refused = bench.fedact(&["run", "--memory", "lots"]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(
        refused.stderr.contains("write an amount as in `8GiB`"),
        "{refused:#?}"
    );
}
