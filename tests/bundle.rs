//! Results as one file, through the command: out of one folder and into another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::fs;

use bench::{Bench, TINY};
use serde_json::Value;

fn tiny() -> Bench {
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    ))
}

/// A bench where everything has run, with a bundle of it.
fn exported() -> Bench {
    let bench = tiny();
    bench.fedact(&["run"]).done();
    let ended = bench.fedact(&["export", "results.tar.zst"]);
    let words = "exported 2 steps (";
    assert!(ended.done().stdout.starts_with(words), "{ended:#?}");
    bench
}

/// Another folder with the same pipeline, and the bundle of the first.
fn beside(bench: &Bench) -> Bench {
    let other = tiny();
    fs::copy(bench.path("results.tar.zst"), other.path("results.tar.zst")).unwrap();
    other
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn what_is_exported_on_one_machine_is_not_made_again_on_another() {
    let bench = exported();
    let other = beside(&bench);
    let imported = other.fedact(&["import", "results.tar.zst"]);
    assert!(
        imported.done().stdout.starts_with("took 2 results ("),
        "{imported:#?}"
    );
    let run = other.fedact(&["run"]);
    assert!(
        run.done()
            .stdout
            .starts_with("nothing to do: 2 steps from the store"),
        "{run:#?}"
    );
    for file in ["clips/clips.jsonl", "videos/ucfTrainTestlist/classInd.txt"] {
        let read = |bench: &Bench| fs::read(bench.path("artifacts").join(file)).unwrap();
        assert_eq!(read(&bench), read(&other), "{file}");
    }
    let again = other.fedact(&["import", "results.tar.zst"]);
    assert_eq!(
        again.done().stdout,
        "took 0 results; 2 were there already\n"
    );
    // Equal results give equal bytes, so that a cache keeps one copy.
    other.fedact(&["export", "again.tar.zst"]).done();
    assert_eq!(
        fs::read(other.path("again.tar.zst")).unwrap(),
        fs::read(bench.path("results.tar.zst")).unwrap()
    );
}

#[test]
fn machines_get_json() {
    let bench = exported();
    let json = |bench: &Bench, arguments: &[&str]| -> Value {
        serde_json::from_str(&bench.fedact(arguments).done().stdout).unwrap()
    };
    let exported = json(
        &bench,
        &[
            "export",
            "results.tar.zst",
            "--json",
            "--set",
            "clips.frames=3",
        ],
    );
    assert_eq!(
        keys(&exported),
        [
            "file",
            "results",
            "left_out",
            "contents",
            "bytes",
            "file_bytes"
        ]
    );
    assert_eq!(exported["file"], "results.tar.zst");
    assert_eq!(keys(&exported["results"][0]), ["step", "key", "output"]);
    assert_eq!(exported["results"][0]["step"], "videos");
    assert_eq!(exported["left_out"][0]["step"], "clips");
    assert_eq!(exported["left_out"][0]["state"], "stale");
    let size = fs::metadata(bench.path("results.tar.zst")).unwrap().len();
    assert_eq!(exported["file_bytes"], size);

    let other = beside(&bench);
    let imported = json(&other, &["import", "results.tar.zst", "--json"]);
    assert_eq!(keys(&imported), ["file", "taken", "known", "bytes"]);
    assert_eq!(imported["taken"], exported["results"]);
    assert_eq!(imported["known"], serde_json::json!([]));
    assert_eq!(imported["bytes"], exported["bytes"]);
}

#[test]
fn steps_can_be_named() {
    let bench = exported();
    let words = bench.fedact(&["export", "clips.tar.zst", "clips", "--alone"]);
    assert!(
        words.done().stdout.starts_with("exported 1 step ("),
        "{words:#?}"
    );
    let stale = ["--set", "clips.frames=3"];
    let words = bench.fedact(&[&["export", "videos.tar.zst"], &stale[..]].concat());
    assert!(
        words
            .done()
            .stdout
            .contains("left out clips: stale: param `frames` was 2 and is 3\n"),
        "{words:#?}"
    );
    bench
        .fedact(&[&["export", "clips.tar.zst", "clips"], &stale[..]].concat())
        .refused(1, &["step `clips` has no fresh result", "fedact run clips"]);
    bench
        .fedact(&["export", "x.tar.zst", "clip"])
        .refused(2, &["there is no step `clip` (did you mean `clips`?)"]);
    assert!(!bench.path("x.tar.zst").exists());
    tiny()
        .fedact(&["export", "x.tar.zst"])
        .refused(1, &["nothing to export", "fedact run"]);

    let other = beside(&bench);
    other
        .fedact(&["import", "results.tar.zst", "teacher"])
        .refused(2, &["has no result of step `teacher`", "it has those of"]);
    assert!(!other.path("artifacts").exists());
    let taken = other.fedact(&["import", "results.tar.zst", "videos"]);
    assert!(taken.done().stdout.ends_with(": videos\n"), "{taken:#?}");
}

#[test]
fn from_a_damaged_file_nothing_is_taken() {
    let bench = exported();
    let whole = fs::read(bench.path("results.tar.zst")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    let cut = whole[..whole.len() - 9].to_vec();
    for (bytes, words) in [
        (flipped, "damaged"),
        (cut, "damaged"),
        (b"hello".to_vec(), "not a file of `fedact export`"),
        (Vec::new(), "not a file of `fedact export`"),
    ] {
        let other = tiny();
        fs::write(other.path("results.tar.zst"), bytes).unwrap();
        let ended = other.fedact(&["import", "results.tar.zst"]);
        ended.refused(3, &["results.tar.zst", words]);
        for folder in ["actions", "objects", "manifests", "tmp"] {
            let inside = fs::read_dir(other.path("artifacts/store").join(folder)).unwrap();
            assert_eq!(inside.count(), 0, "{folder}: {ended:#?}");
        }
    }
    bench
        .fedact(&["import", "gone.tar.zst"])
        .refused(3, &["cannot read gone.tar.zst"]);
    bench
        .fedact(&["export", "gone/results.tar.zst"])
        .refused(1, &["cannot write gone/results.tar.zst"]);
}
