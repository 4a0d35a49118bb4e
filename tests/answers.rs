//! Teachers that are asked once for many students.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use bench::Bench;
use serde_json::Value;

const STEPS: &str = r"  videos: {stage: synthesize, params: {actions: [Walk, Clap], subjects: 4, clips: 2, seconds: 0.5, fps: 12, width: 64, height: 64}}
  clips: {stage: extract, inputs: {videos: videos}, params: {frames: 4, size: 16, resize: 16}}
  teacher: {stage: distill, inputs: {clips: clips}, params: {model: {depth: 10, width: 4}, <<: &training {epochs: 2, batch_size: 4, warmup_epochs: 0, threads: 1, augmentation: &views {scale: [0.8, 1.0], shift: 0}}}}
  said: {stage: teach, inputs: {clips: clips, teacher: [teacher]}, params: {views: 3, seed: 4, threads: 1, augmentation: *views}}
  listener: {stage: distill, inputs: {clips: clips, teacher: [said]}, params: &student {model: {depth: 10, width: 2}, <<: *training, epochs: 3, seed: 4}}
  asker: {stage: distill, inputs: {clips: clips, teacher: [teacher]}, params: *student}
";

fn losses(bench: &Bench, step: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(bench.path("artifacts").join(step).join("training.jsonl"));
    let lines = text.unwrap();
    let records = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .map(|record| record["loss"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_student_learns_from_answers_what_it_would_learn_from_the_teacher_and_is_told_what_does_not_fit()
 {
    let bench = Bench::new(STEPS);
    bench.fedact(&["run"]).done();
    let (listener, asker) = (losses(&bench, "listener"), losses(&bench, "asker"));
    assert_eq!(listener.len(), 3);
    for (heard, asked) in listener.iter().zip(&asker) {
        assert!(
            (heard - asked).abs() < 1e-3 * asked,
            "{listener:?} {asker:?}"
        );
    }
    let shown: Value =
        serde_json::from_str(&bench.fedact(&["show", "listener", "--json"]).done().stdout).unwrap();
    assert_eq!(
        shown["provenance"]["metrics"]["teachers"],
        serde_json::json!(["teacher"])
    );

    // More epochs than views: they come again, and the teacher is not asked again.
    let longer = ["run", "listener", "--set", "listener.epochs=5", "--json"];
    let events = bench.fedact(&longer).done().stdout.clone();
    assert!(
        !events.contains(r#""event":"started","step":"said""#),
        "{events}"
    );
    assert_eq!(losses(&bench, "listener").len(), 5);

    for (set, words) in [
        (
            "listener.augmentation={scale: [0.5, 1.0], shift: 0}",
            "`augmentation.scale` is [0.5,1.0], but the answers were given to views with [0.8,1.0]",
        ),
        (
            "listener.distillation={attention: 10}",
            "`distillation.attention` is 10, but answers do not tell",
        ),
    ] {
        let refused = bench.fedact(&["run", "listener", "--set", set]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(refused.stderr.contains(words), "{refused:#?}");
    }
}
