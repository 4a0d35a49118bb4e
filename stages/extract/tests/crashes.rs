//! A file over which the decoder crashes, hangs or eats all memory is that file's problem.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::time::{Duration, Instant};

use fedact_clips::Reason;
use fedact_video::fault::{Fault, arm};
use kit::{Outcome, Place, bytes};
use serde_json::json;

/// For all tests of this program, by the names of files.
fn arm_all() {
    arm(&[
        ("abort.avi", Fault::Abort),
        ("fault.avi", Fault::Segfault),
        ("spin.avi", Fault::Spin),
        ("eat.avi", Fault::Eat),
        ("victim.avi", Fault::AbortUnlessFirst),
    ]);
}

/// The folder with one more file in it.
fn run_with(place: &Place, file: &str, params: serde_json::Value) -> Outcome {
    arm_all();
    place.video(file, 99);
    place.run_with(params, 2)
}

/// The problem of a file among others, whose clips are found to be those of a run without it, to the byte.
fn problem_of(file: &str, params: serde_json::Value) -> (Reason, String) {
    let (place, other) = (Place::persons(), Place::persons());
    let with = run_with(&place, file, params.clone());
    let without = other.run_with(params, 2);
    let metrics = with.result.as_ref().unwrap();
    assert_eq!(metrics["bad_files"], 1);
    assert_eq!(metrics["videos"], 12);
    let problems = with.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, file);
    assert!(with.warnings.iter().any(|warning| warning.contains(file)));
    let (without, with) = (bytes(&without.output), bytes(&with.output));
    // The split, which may be another with one file more, is in none of these.
    for name in ["clips-00000.safetensors", "pieces.jsonl"] {
        assert!(with[name] == without[name], "{name}");
    }
    (problems[0].reason, problems[0].message.clone())
}

#[test]
fn a_file_that_crashes_the_decoder_is_named_with_the_signal_and_the_others_are_cut_as_without_it() {
    for (file, signal) in [("sit/abort.avi", "SIGABRT"), ("stand/fault.avi", "SIGSEGV")] {
        let (reason, message) = problem_of(file, json!({}));
        assert_eq!(reason, Reason::Crashed);
        assert!(message.contains(signal), "{message}");
    }
}

#[test]
fn a_file_in_which_the_decoder_never_returns_is_given_up_when_its_time_is_over() {
    let began = Instant::now();
    let params = json!({"time_limit_seconds": 3});
    let (reason, message) = problem_of("sit/spin.avi", params);
    assert_eq!(reason, Reason::TimeLimit);
    assert!(
        message.contains("3 s (`time_limit_seconds`)") && message.contains("killed"),
        "{message}"
    );
    assert!(began.elapsed() > Duration::from_secs(3));
}

#[test]
fn a_decoder_that_eats_memory_gets_no_more_than_its_share() {
    let params = json!({"memory_limit_mib": 64});
    let (reason, message) = problem_of("sit/eat.avi", params);
    assert_eq!(reason, Reason::Crashed, "{message}");
}

#[test]
fn a_file_that_suffers_for_another_is_tried_alone_and_used() {
    let place = Place::persons();
    let outcome = run_with(&place, "stand/victim.avi", json!({}));
    assert_eq!(outcome.metric("bad_files"), 0);
    assert_eq!(outcome.metric("videos"), 13);
}

#[test]
fn a_file_that_crashed_is_tried_again_in_the_next_run() {
    arm_all();
    let place = Place::persons();
    place.video("sit/abort.avi", 99);
    for _ in 0..2 {
        let outcome = place.run(json!({}));
        assert_eq!(outcome.problems()[0].reason, Reason::Crashed);
        assert_eq!(outcome.metric("bad_files"), 1);
    }
}
