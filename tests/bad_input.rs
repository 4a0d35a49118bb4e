//! Bad input: each is refused with the place, the value and the way out, and with the right exit code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use bench::{Bench, TINY};

#[test]
fn a_misspelt_key_of_a_step() {
    let bench = Bench::new("  v:\n    stage: synthesize\n    parms: {seed: 3}\n");
    bench.fedact(&["run"]).refused(
        3,
        &[
            "pipeline.yaml:5:5: unknown key `steps.v.parms` (did you mean `params`?)",
            "help: known here: stage, inputs, params",
        ],
    );
    assert!(
        !bench.path("artifacts").exists(),
        "a refused run makes no store"
    );
}

#[test]
fn a_misspelt_key_of_a_stages_params() {
    let bench = Bench::new("  v: {stage: synthesize, params: {seeed: 3}}\n");
    bench.fedact(&["status"]).refused(
        3,
        &[
            "pipeline.yaml:3:35: step `v`: unknown key `seeed` (did you mean `seed`?)",
            "fedact schema synthesize",
        ],
    );
}

#[test]
fn a_key_written_twice() {
    let bench = Bench::new("  v: {stage: synthesize}\n  v: {stage: synthesize}\n");
    bench.fedact(&["run"]).refused(
        3,
        &["pipeline.yaml:4:3: `steps.v` is here for the second time; line 3 has it first"],
    );
}

#[test]
fn a_misspelt_stage() {
    let bench = Bench::new("  v: {stage: synthesise}\n");
    bench.fedact(&["run"]).refused(
        3,
        &[
            "pipeline.yaml:3:7: `steps.v.stage`: unknown stage `synthesise` (did you mean `synthesize`?)",
            "help: the stages are synthesize, extract, teach, distill, quantize, federate, evaluate",
        ],
    );
}

#[test]
fn a_circle() {
    let bench = Bench::new(
        "  v: {stage: synthesize}\n  c: {stage: extract, inputs: {videos: v}}\n  a: {stage: distill, inputs: {clips: c, teacher: b}}\n  b: {stage: distill, inputs: {clips: c, teacher: [a]}}\n",
    );
    bench.fedact(&["run"]).refused(
        3,
        &[
            "pipeline.yaml:5:23: the steps go round in a circle: a -> b -> a",
            "help: take one of these inputs out",
        ],
    );
}

#[test]
fn a_missing_folder_and_an_empty_one() {
    let bench = Bench::new("  c: {stage: extract, inputs: {videos: {path: data/mine}}}\n");
    bench.fedact(&["run"]).refused(
        3,
        &[
            "pipeline.yaml:3:32: `steps.c.inputs.videos`: data/mine does not exist",
            "folder of the pipeline file",
        ],
    );
    std::fs::create_dir_all(bench.path("data/mine/Walk")).unwrap();
    bench
        .fedact(&["run"])
        .refused(3, &["data/mine has no file in it"]);
    std::fs::remove_dir_all(bench.path("data")).unwrap();
    std::fs::create_dir_all(bench.path("data")).unwrap();
    std::fs::write(bench.path("data/mine"), "x").unwrap();
    bench
        .fedact(&["run"])
        .refused(3, &["data/mine is not a folder"]);
}

#[test]
fn a_wrong_kind_of_input() {
    let bench = Bench::new("  v: {stage: synthesize}\n  t: {stage: distill, inputs: {clips: v}}\n");
    bench.fedact(&["run"]).refused(
        3,
        &[
            "pipeline.yaml:4:32: `steps.t.inputs.clips`: step `v` makes videos, but stage distill needs clips",
            "help: name a step that makes clips",
        ],
    );
    let bench = Bench::new("  t: {stage: distill}\n");
    bench.fedact(&["run"]).refused(
        3,
        &["pipeline.yaml:3:3: step `t` lacks the input `clips` of stage distill"],
    );
    let bench = Bench::new("  t: {stage: distill, inputs: {clips: w}}\n");
    bench
        .fedact(&["run"])
        .refused(3, &["there is no step `w`", "{path: FOLDER}"]);
}

#[test]
fn an_override_of_something_unknown() {
    let bench = Bench::new("  video: {stage: synthesize}\n");
    bench.fedact(&["run", "--set", "vidoe.seed=3"]).refused(
        2,
        &[
            "--set vidoe.seed=3: unknown key `vidoe` (did you mean `video`?)",
            "help: known here: video",
        ],
    );
    bench.fedact(&["run", "--set", "video.sede=3"]).refused(
        3,
        &["--set video.sede=3: step `video`: unknown key `sede` (did you mean `seed`?)"],
    );
    bench
        .fedact(&["run", "--set", "video"])
        .refused(2, &["--set video: has no `=`", "STEP.key=value"]);
}

#[test]
fn a_value_out_of_range_or_of_the_wrong_type() {
    let bench = Bench::new("  v:\n    stage: synthesize\n    params:\n      fps: 3000\n");
    bench.fedact(&["run"]).refused(
        3,
        &["pipeline.yaml:6:7: step `v`: `fps` is 3000, but must be"],
    );
    bench
        .fedact(&["run", "--set", "v.fps=many"])
        .refused(3, &["--set v.fps=many: step `v`: `fps`", "many"]);
}

#[test]
fn a_missing_or_broken_pipeline_file() {
    let bench = Bench::new("");
    bench
        .fedact(&["run"])
        .refused(3, &["pipeline.yaml:2:1: `steps` is empty"]);
    bench.write("version: 1\nsteps: {a: [\n");
    bench.fedact(&["run"]).refused(3, &["pipeline.yaml:3:"]);
    bench.write("version: 7\nsteps: {a: {stage: synthesize}}\n");
    bench
        .fedact(&["run"])
        .refused(3, &["pipeline.yaml:1:1: `version` is 7, but must be 1"]);
    bench
        .fedact(&["run", "-f", "other.yaml"])
        .refused(3, &["cannot read the pipeline file other.yaml", "-f FILE"]);
}

#[test]
fn wrong_usage() {
    let bench = Bench::new("  v: {stage: synthesize}\n");
    bench.fedact(&["run", "w"]).refused(
        2,
        &["pipeline.yaml: there is no step `w`", "its steps are v"],
    );
    bench
        .fedact(&["run", "--force", "w"])
        .refused(2, &["there is no step `w`"]);
    assert_eq!(bench.fedact(&["run", "--jobs", "0"]).code, 2);
    assert_eq!(bench.fedact(&["rum"]).code, 2);
    assert_eq!(bench.fedact(&[]).code, 2);
    bench
        .fedact(&["schema", "sythesize"])
        .refused(2, &["there is no stage `sythesize`"]);
    bench
        .fedact(&["show", "v"])
        .refused(1, &["step `v` has no result yet", "fedact run v"]);
}

#[test]
fn a_store_of_another_version_is_left_alone() {
    let bench = Bench::new("  v: {stage: synthesize}\n");
    let store = bench.path("artifacts/store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("version"), "99\n").unwrap();
    bench
        .fedact(&["run"])
        .refused(4, &["has format version 99", "use the fedact that made it"]);
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 1);
    std::fs::remove_file(store.join("version")).unwrap();
    std::fs::write(store.join("letter.txt"), "dear").unwrap();
    bench
        .fedact(&["run"])
        .refused(4, &["is not a store", "letter.txt"]);
}

#[test]
fn a_store_that_cannot_be_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new("  v: {stage: synthesize}\n");
    let artifacts = bench.path("artifacts");
    std::fs::create_dir(&artifacts).unwrap();
    std::fs::set_permissions(&artifacts, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::create_dir(artifacts.join("probe")).is_ok() {
        // The superuser writes anywhere: a file in the way has to do.
        std::fs::remove_dir(artifacts.join("probe")).unwrap();
        std::fs::remove_dir(&artifacts).unwrap();
        std::fs::write(&artifacts, "in the way").unwrap();
        bench.fedact(&["run"]).refused(4, &["artifacts/store"]);
        return;
    }
    bench
        .fedact(&["run"])
        .refused(4, &["artifacts", "is not writable", "chown"]);
}

#[test]
fn a_stage_alone_refuses_bad_inputs_and_keeps_what_is_there() {
    let bench = Bench::new("");
    bench
        .fedact(&["extract", "--output", "out"])
        .refused(2, &["input `videos` is missing", "--input NAME=PATH"]);
    bench
        .fedact(&["extract", "--input", "vidoes=x", "--output", "out"])
        .refused(2, &["there is no input `vidoes`"]);
    bench
        .fedact(&["extract", "--input", "videos=nowhere", "--output", "out"])
        .refused(3, &["input `videos`: nowhere does not exist"]);
    bench
        .fedact(&["synthesize", "--set", "fps=3000", "--output", "out"])
        .refused(3, &["`fps` is 3000"]);
    bench
        .fedact(&["synthesize", "--set", "fps", "--output", "out"])
        .refused(2, &["--set fps: has no `=`"]);
    std::fs::create_dir(bench.path("out")).unwrap();
    std::fs::write(bench.path("out/mine.txt"), "precious").unwrap();
    bench
        .fedact(&["synthesize", "--output", "out"])
        .refused(2, &["out is not empty", "--force"]);
    for output in ["out", "out/within", "."] {
        bench
            .fedact(&[
                "extract",
                "--input",
                "videos=out",
                "--output",
                output,
                "--force",
            ])
            .refused(2, &["overlap", "beside the inputs"]);
    }
    assert_eq!(
        std::fs::read_to_string(bench.path("out/mine.txt")).unwrap(),
        "precious"
    );
}

#[test]
fn files_that_are_no_videos_are_that_steps_failure_and_the_users_to_mend() {
    let bench = Bench::new("  c: {stage: extract, inputs: {videos: {path: mine}}}\n");
    for class in ["Walk", "Bend"] {
        std::fs::create_dir_all(bench.path("mine").join(class)).unwrap();
        for number in 0..3 {
            let file = bench.path("mine").join(class).join(format!("{number}.mp4"));
            std::fs::write(file, "this is no video").unwrap();
        }
    }
    let ended = bench.fedact(&["run"]);
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(
        ended.stderr.contains("error: step `c` failed: "),
        "{ended:#?}"
    );
    assert!(ended.stdout.contains("failed in 1 step (c)"), "{ended:#?}");
    assert!(!bench.path("artifacts/c").exists());
}

#[test]
fn a_failed_step_leaves_the_finished_ones() {
    // Too few persons for a split that the stage can make is found when it runs.
    let bench = Bench::new(&format!(
        "  v: {{stage: synthesize, params: {TINY}}}\n  c: {{stage: extract, inputs: {{videos: v}}, params: {{include: ['nothing/*']}}}}\n"
    ));
    let ended = bench.fedact(&["run"]);
    assert_eq!(ended.code, 3, "{ended:#?}");
    let status = bench.fedact(&["status"]);
    let lines: Vec<&str> = status.done().stdout.lines().collect();
    assert_eq!(lines, ["v  synthesize  fresh", "c  extract     never run"]);
}

#[test]
fn an_improvement_that_does_not_exist_and_a_teacher_in_eight_bits() {
    let quantize = |more: &str| {
        Bench::new(&format!(
            "  v: {{stage: synthesize, params: {TINY}}}\n  c: {{stage: extract, inputs: {{videos: v}}}}\n  \
             m: {{stage: distill, inputs: {{clips: c}}}}\n  q: {{stage: quantize, inputs: {{model: m, calibration: c}}}}\n  \
             z: {{stage: quantize, {more}}}\n"
        ))
    };
    quantize("inputs: {model: m, calibration: c}, params: {improve: [adaround]}")
        .fedact(&["run"])
        .refused(
            3,
            &[
                "pipeline.yaml:7:",
                "`z`",
                "`adaround`",
                "`equalise`, `bias`, `round`, `tune`",
            ],
        );
    quantize("inputs: {model: m, calibration: c}, params: {improve: always}")
        .fedact(&["run"])
        .refused(
            3,
            &["pipeline.yaml:7:", "`z`", "always", "`auto` or a list"],
        );
    quantize("inputs: {model: m, calibration: c}, params: {tune: {labels: 2}}")
        .fedact(&["run"])
        .refused(3, &["pipeline.yaml:7:", "`tune.labels`", "between 0 and 1"]);
    quantize("inputs: {model: m, calibration: c, teacher: q}, params: {improve: [tune]}")
        .fedact(&["run"])
        .refused(3, &["pipeline.yaml:7:", "teacher", "quantized-model"]);
}
