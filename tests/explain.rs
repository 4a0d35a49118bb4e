//! What the command says about results, as words and as the JSON that docs/json.md promises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeSet;

use bench::{Bench, TINY};
use serde_json::Value;

const PIPELINE: &str = "  clips: {stage: extract, inputs: {videos: {path: mine}}, params: {frames: 2, size: 16, resize: 16}}\n";

/// Clips of videos in a folder of the user's, run once.
fn own_videos() -> Bench {
    let bench = Bench::new(&format!("  made: {{stage: synthesize, params: {TINY}}}\n"));
    bench.fedact(&["run"]).done();
    std::fs::create_dir(bench.path("mine")).unwrap();
    for class in ["Walk", "Squat"] {
        std::fs::create_dir(bench.path("mine").join(class)).unwrap();
        for video in std::fs::read_dir(bench.path("artifacts/made").join(class)).unwrap() {
            let video = video.unwrap();
            let copy = bench.path("mine").join(class).join(video.file_name());
            std::fs::write(copy, std::fs::read(video.path()).unwrap()).unwrap();
        }
    }
    bench.write(&format!("version: 1\nsteps:\n{PIPELINE}"));
    bench.fedact(&["run"]).done();
    bench
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&bench.fedact(&arguments).done().stdout).unwrap()
}

/// The names in the first column of the table below a heading of docs/json.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = include_str!("../docs/json.md");
    let start = format!("\n### {heading}\n\n| field | |\n| --- | --- |\n");
    let table = text.split_once(&start).unwrap().1;
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_documented_field_is_there_and_every_field_is_documented() {
    let bench = own_videos();
    let step = documented("A step");
    let fresh = &json(&bench, &["status"])["steps"][0];
    assert_eq!(names(fresh), &step - &set(&["on", "reason"]));
    let other = ["--set", "clips.frames=3"];
    let stale = &json(&bench, &[&["status"], &other[..]].concat())["steps"][0];
    assert_eq!(names(stale), &step - &set(&["on"]));

    let video = bench.path("mine/Walk").read_dir().unwrap().next().unwrap();
    let video = video.unwrap().path();
    std::fs::copy(&video, bench.path("mine/Walk/v_Walk_g09_c01.mp4")).unwrap();
    let why = json(&bench, &["why", "clips"]);
    let planned = &step - &set(&["on", "running", "owner", "shards"]);
    assert_eq!(names(&why), &planned | &documented("Why"));
    let file = &why["changes"][0]["files"][0];
    assert_eq!(names(file), documented("A file that differs"));

    let accepted = json(&bench, &["accept", "clips", "--even-if", "inputs"]);
    assert_eq!(names(&accepted), documented("Accept"));
    assert_eq!(
        names(&accepted["accepted"][0]),
        set(&["step", "from", "key", "output", "changes"])
    );
    let shown = json(&bench, &["show", "clips"]);
    assert_eq!(names(&shown), documented("Show"));
    assert_eq!(names(&shown["provenance"]), documented("Provenance"));
    assert_eq!(shown["model"], Value::Null);
    let acceptance = &shown["provenance"]["accepted"][0];
    assert_eq!(names(acceptance), documented("An acceptance"));
    assert_eq!(acceptance["changes"][0]["what"], "content");

    let diff = json(&bench, &["diff", "clips"]);
    assert_eq!(names(&diff), documented("Diff"));
    assert_eq!(names(&diff["params"][0]), documented("A param or figure"));
    assert_eq!(names(&diff["metrics"][0]), documented("A param or figure"));
    for side in ["left", "right"] {
        assert_eq!(
            names(&diff[side]),
            set(&["step", "key", "output", "provenance"])
        );
    }
}

/// What stands in backticks in the last table of docs/json.md without being the name of a field.
const VALUES: [&str; 5] = ["manifest", "pack", "file in a pack", "show", "gc"];

/// All names of fields in a value; those below are the user's or a stage's own, or have a table of theirs.
fn names_within(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                found.insert(name.clone());
                match (name.as_str(), value) {
                    ("labels" | "params", _) => {}
                    ("metrics", Value::Object(own)) => {
                        own.values().for_each(|value| names_within(value, found));
                    }
                    (_, value) => names_within(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names_within(item, found)),
        _ => {}
    }
}

#[test]
fn the_objects_of_the_other_commands_have_the_documented_fields_and_no_others() {
    let bench = Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}, matrix: {{params.seed: [1, 2]}}}}\n  clips: {{stage: extract, inputs: {{videos: videos@seed=1}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    ));
    bench.fedact(&["run", "--set", "clips.frames=3"]).done();
    bench.fedact(&["run"]).done();
    let page = include_str!("../docs/json.md");
    let check = |command: &str, object: &Value| {
        let start = format!("| `{command}` ");
        let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
        let words = row[start.len()..].split('`').skip(1).step_by(2);
        // A source is written as an object of its own.
        let words = words
            .map(|word| word.trim_matches(['{', '}', '"']))
            .filter(|word| !word.starts_with('-'));
        let documented: BTreeSet<String> = words.map(str::to_owned).collect();
        let mut found = BTreeSet::new();
        names_within(object, &mut found);
        assert_eq!(&found - &documented, set(&[]), "{command}: not documented");
        assert_eq!(
            &(&documented - &set(&VALUES)) - &found,
            set(&[]),
            "{command}: not there"
        );
    };
    check(
        "show",
        &json(&bench, &["show", "videos", "--against", "videos"]),
    );
    check("gc", &json(&bench, &["gc", "--dry-run"]));
    check("pin", &json(&bench, &["pin", "clips"]));
    check("unpin", &json(&bench, &["unpin", "clips"]));
    check("gc", &json(&bench, &["gc"]));

    let store = bench.path("artifacts/store");
    let key = json(&bench, &["status"])["steps"][0]["key"].clone();
    let record = format!("actions/{}.json", key.as_str().unwrap());
    std::fs::write(store.join(record), "damaged").unwrap();
    std::fs::remove_dir_all(store.join("objects")).unwrap();
    let verified = bench.fedact(&["verify", "--json"]);
    assert_eq!(verified.code, 4, "{verified:#?}");
    check("verify", &serde_json::from_str(&verified.stdout).unwrap());

    std::fs::create_dir(bench.path("mine")).unwrap();
    bench.write(&format!("version: 1\nsteps:\n{PIPELINE}  made: {{stage: synthesize}}\n  again: {{stage: extract, inputs: {{videos: made}}}}\n"));
    check("graph", &json(&bench, &["graph"]));
}

#[test]
fn why_names_the_files_of_an_input() {
    let bench = own_videos();
    let mut videos: Vec<_> = bench
        .path("mine/Walk")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    videos.sort();
    let bytes = std::fs::read(&videos[0]).unwrap();
    std::fs::write(&videos[0], std::fs::read(&videos[1]).unwrap()).unwrap();
    std::fs::remove_file(&videos[1]).unwrap();
    for number in 10..16 {
        let path = bench.path(format!("mine/Walk/v_Walk_g{number}_c01.mp4"));
        std::fs::write(path, &bytes).unwrap();
    }
    let why = bench.fedact(&["why", "clips"]);
    let name = videos[0].file_name().unwrap().to_string_lossy();
    for words in [
        "clips: stale\n  the content of input `videos` has changed (",
        "): 1 file changed, 6 added, 1 removed\n",
        &format!("    changed  Walk/{name}  "),
        "    added    Walk/v_Walk_g10_c01.mp4  ",
        "    and 3 more (--json lists all)\n",
    ] {
        assert!(
            why.done().stdout.contains(words),
            "no {words:?} in {why:#?}"
        );
    }
    let files = &json(&bench, &["why", "clips"])["changes"][0]["files"];
    assert_eq!(files.as_array().unwrap().len(), 8);
}

/// How many values there are in nested mappings.
fn leaves(value: &Value) -> usize {
    match value.as_object() {
        Some(entries) => entries.values().map(leaves).sum(),
        None => 1,
    }
}

#[test]
fn diff_puts_params_metrics_and_files_side_by_side() {
    let bench = own_videos();
    let only = bench.fedact(&["diff", "clips"]);
    only.refused(1, &["step `clips` has only one result"]);
    bench.fedact(&["run", "--set", "clips.frames=3"]).done();
    let diff = bench.fedact(&["diff", "clips", "--set", "clips.frames=3"]);
    let params = leaves(&json(&bench, &["show", "clips"])["preimage"]["params"]);
    for words in [
        "left   clips ",
        &format!(
            "params\n  frames  2  3  +1\n  {} are the same\n",
            params - 1
        ),
        "metrics\n  bad_files ",
        "output\n  5 files changed\n    changed  clips-00000.safetensors  ",
    ] {
        assert!(
            diff.done().stdout.contains(words),
            "no {words:?} in {diff:#?}"
        );
    }
    // The other way round by their keys, abbreviated.
    let both = json(&bench, &["diff", "clips", "--set", "clips.frames=3"]);
    let [left, right] =
        ["left", "right"].map(|side| both[side]["key"].as_str().unwrap()[..10].to_owned());
    let swapped = json(&bench, &["diff", "clips", &right, &left]);
    assert_eq!(swapped["left"], both["right"]);
    let params = swapped["params"].as_array().unwrap();
    let frames = params.iter().find(|param| param["name"] == "frames");
    assert_eq!(frames.unwrap()["difference"], -1.0);
    assert_eq!(swapped["same_output"], false);
    let unknown = bench.fedact(&["diff", "clips", "abc"]);
    unknown.refused(2, &["`abc` is neither a step nor the beginning of a key"]);
}

#[test]
fn accept_says_what_differs_and_show_never_forgets() {
    let bench = own_videos();
    let other = ["--set", "clips.frames=3"];
    let with = |arguments: &[&'static str]| [arguments, &other[..]].concat();
    let refused = bench.fedact(&with(&["accept", "clips"]));
    refused.refused(
        1,
        &[
            "param `frames` was 2 and is 3",
            "--even-if params",
            "`fedact run clips`",
        ],
    );
    let dry = bench.fedact(&with(&[
        "accept",
        "clips",
        "--even-if",
        "params",
        "--dry-run",
    ]));
    assert!(
        dry.done()
            .stdout
            .starts_with("clips: would accept the result of key ")
    );
    assert!(
        bench
            .fedact(&with(&["status"]))
            .stdout
            .contains("stale: param `frames`")
    );
    let accepted = bench.fedact(&with(&["accept", "clips", "--even-if", "params"]));
    assert!(
        accepted
            .done()
            .stdout
            .ends_with(", although\n  param `frames` was 2 and is 3\n"),
        "{accepted:#?}"
    );
    let run = bench.fedact(&with(&["run"]));
    assert!(run.done().stdout.starts_with("nothing to do"), "{run:#?}");
    let shown = bench.fedact(&with(&["show", "clips"]));
    assert!(
        shown
            .done()
            .stdout
            .contains(", although\n  param `frames` was 2 and is 3\n"),
        "{shown:#?}"
    );
    let again = bench.fedact(&with(&["accept", "clips"]));
    again.refused(1, &["step `clips` is fresh: there is nothing to accept"]);
}

/// The names of the values in an object, those of objects in it with dots.
fn dotted(object: &Value, before: &str) -> BTreeSet<String> {
    let fields = object.as_object().unwrap().iter();
    fields
        .flat_map(|(name, value)| match value {
            Value::Object(_) => dotted(value, &format!("{before}{name}.")),
            _ => BTreeSet::from([format!("{before}{name}")]),
        })
        .collect()
}

#[test]
fn doctor_has_the_documented_fields_and_says_what_is_wrong_and_how_to_mend_it() {
    let bench = own_videos();
    let well = json(&bench, &["doctor"]);
    assert_eq!(dotted(&well, ""), documented("Doctor"));
    assert!(well["processor"]["cores"].as_u64().unwrap() > 0);
    assert!(well["memory"]["total_bytes"].as_u64() > well["memory"]["available_bytes"].as_u64());
    assert_eq!(well["disk"]["writable"], true);

    // Nobody can make a folder there.
    let ill = bench.fedact(&["doctor", "--json", "--artifacts", "/proc/artifacts"]);
    assert_eq!(ill.code, 1, "{ill:#?}");
    let ill: Value = serde_json::from_str(&ill.stdout).unwrap();
    assert_eq!(ill["disk"]["folder"], "/proc");
    let problems = ill["problems"].as_array().unwrap();
    let unwritable = problems
        .iter()
        .find(|problem| problem["what"] == "/proc cannot be written to")
        .unwrap();
    assert_eq!(names(unwritable), set(&["what", "remedy"]));
    assert!(
        unwritable["remedy"]
            .as_str()
            .unwrap()
            .contains("--artifacts")
    );
}

#[test]
fn a_schema_describes_every_param_and_its_defaults_are_what_a_step_gets() {
    let bench = Bench::new(
        "  videos: {stage: synthesize}\n  clips: {stage: extract, inputs: {videos: videos}}\n  model: {stage: distill, inputs: {clips: clips}}\n  said: {stage: teach, inputs: {clips: clips, teacher: [model]}}\n  int8: {stage: quantize, inputs: {model: model, calibration: clips}}\n  tuned: {stage: federate, inputs: {model: int8, clips: clips}}\n  report: {stage: evaluate, inputs: {clips: clips, models: [tuned]}}\n",
    );
    let parsed = |arguments: &[&str]| -> Value {
        serde_json::from_str(&bench.fedact(arguments).done().stdout).unwrap()
    };
    let all = parsed(&["schema"]);
    let graph = json(&bench, &["graph"]);
    let steps = graph["steps"].as_array().unwrap();
    let stages: BTreeSet<String> = steps
        .iter()
        .map(|step| step["stage"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names(&all), stages);
    for step in steps {
        let stage = step["stage"].as_str().unwrap();
        let schema = &all[stage];
        assert_eq!(*schema, parsed(&["schema", stage]));
        assert_eq!(
            names(&schema["properties"]),
            names(&step["params"]),
            "{stage}"
        );
        for (name, property) in schema["properties"].as_object().unwrap() {
            let described = property["description"].as_str().unwrap_or_default();
            assert!(!described.is_empty(), "{stage}.{name} is not described");
            // A default that depends on other params is left open, and told in words.
            let open = [Value::Null, Value::Array(Vec::new())].contains(&property["default"]);
            if !(open && described.contains("Default: ")) {
                assert_eq!(property["default"], step["params"][name], "{stage}.{name}");
            }
        }
    }
}

#[test]
fn doctor_measures_this_machine_and_prints_a_profile_that_federate_takes() {
    let bench = Bench::new(&format!("  made: {{stage: synthesize, params: {TINY}}}\n"));
    let said = bench.fedact(&["doctor", "--profile", "my-board"]);
    let yaml = said.done().stdout.clone();
    assert!(
        yaml.contains("my-board:") && yaml.contains("measured by `fedact doctor --profile`"),
        "{yaml}"
    );
    let printed = json(&bench, &["doctor", "--profile"]);
    let profile = &printed["profiles"]["this-machine"];
    for figure in ["training_clips_per_second", "inference_clips_per_second"] {
        assert!(
            profile[figure]["value"].as_f64().unwrap() > 0.0,
            "{profile}"
        );
        assert_eq!(profile[figure]["estimate"], false);
    }
}
