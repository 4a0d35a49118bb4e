//! The command on steps that are made of pieces: shards that join, folders that grow.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeMap;
use std::path::Path;

use bench::{Bench, Ended};
use serde_json::Value;

/// Two classes of six videos.
const VIDEOS: &str =
    "{actions: [Walk, Squat], subjects: 3, clips: 2, seconds: 0.5, fps: 8, width: 64, height: 64}";

fn bench() -> Bench {
    Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {VIDEOS}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    ))
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// The figures with which the step `clips` ended in a run with `--json`.
fn metrics(run: &Ended, event: &str) -> Value {
    run.done()
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["event"] == event && line["step"] == "clips")
        .unwrap_or_else(|| panic!("{run:#?}"))["metrics"]
        .clone()
}

#[test]
fn shards_join_into_what_one_machine_makes() {
    let bench = bench();
    bench.fedact(&["run", "videos"]).done();
    // Side by side over one store, as machines would.
    let runs: Vec<Ended> = std::thread::scope(|scope| {
        let threads = ["1/3", "2/3"].map(|shard| {
            let bench = &bench;
            scope.spawn(move || bench.fedact(&["run", "clips", "--shard", shard]))
        });
        threads.map(|thread| thread.join().unwrap()).into()
    });
    for (run, shard) in runs.iter().zip(["1/3", "2/3"]) {
        let first = format!("made shard {shard} of 1 step (clips); 1 step from the store, in ");
        assert!(run.done().stdout.starts_with(&first), "{run:#?}");
        assert!(
            run.stdout.contains("run without --shard to join them"),
            "{run:#?}"
        );
        assert!(
            run.stderr
                .contains(&format!("clips: shard {shard} done in ")),
            "{run:#?}"
        );
    }
    assert!(!bench.path("artifacts/clips").exists());

    let status = bench.fedact(&["status"]);
    assert!(
        status
            .done()
            .stdout
            .contains("clips   extract     never run; shards: 1/3 done, 2/3 done\n"),
        "{status:#?}"
    );
    let status = bench.fedact(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.done().stdout).unwrap();
    let shards = status["steps"][1]["shards"].as_array().unwrap();
    assert_eq!(
        (shards.len(), &shards[1]["number"], &shards[1]["of"]),
        (2, &2.into(), &3.into())
    );
    assert!(shards[0]["seconds"].is_number() && shards[0]["running"].is_null());
    // They are needed, so nobody collects them.
    let listed = bench.fedact(&["gc"]);
    assert!(listed.done().stdout.starts_with("removed 0"), "{listed:#?}");

    let run = bench.fedact(&["run", "--shard", "3/3", "--json"]);
    assert_eq!(metrics(&run, "shard-done")["videos"], 12);
    let joined = bench.fedact(&["run", "--json"]);
    let figures = metrics(&joined, "finished");
    assert_eq!(
        (&figures["decoded_videos"], &figures["resumed_videos"]),
        (&0.into(), &12.into())
    );

    let alone = self::bench();
    alone.fedact(&["run"]).done();
    let (one, many) = (alone.path("artifacts/clips"), bench.path("artifacts/clips"));
    assert!(files(&one) == files(&many));
    let after = bench.fedact(&["gc", "--dry-run", "--json"]);
    let after: Value = serde_json::from_str(&after.done().stdout).unwrap();
    assert_eq!(after["doomed"], serde_json::json!([]));
}

#[test]
fn a_folder_with_one_video_more_decodes_one_video() {
    let bench = bench();
    bench.fedact(&["run", "videos"]).done();
    let mine = bench.path("mine");
    for class in ["Walk", "Squat"] {
        std::fs::create_dir_all(mine.join(class)).unwrap();
        for (name, bytes) in files(&bench.path("artifacts/videos").join(class)) {
            std::fs::write(mine.join(class).join(name), bytes).unwrap();
        }
    }
    bench.write(
        "version: 1\nsteps:\n  clips: {stage: extract, inputs: {videos: {path: mine}}, params: {frames: 2, size: 16, resize: 16}}\n",
    );
    let first = metrics(&bench.fedact(&["run", "--json"]), "finished");
    assert_eq!(first["decoded_videos"], 12);
    let (name, mut bytes) = files(&mine.join("Walk")).pop_first().unwrap();
    // Other content, the same pictures: what follows the last frame is passed over.
    bytes.extend_from_slice(&[0; 64]);
    std::fs::write(mine.join("Walk").join(format!("more_{name}")), bytes).unwrap();
    let grown = metrics(&bench.fedact(&["run", "--json"]), "finished");
    assert_eq!(
        (&grown["decoded_videos"], &grown["reused_videos"]),
        (&1.into(), &12.into())
    );
    let before = files(&bench.path("artifacts/clips"));
    bench.fedact(&["run", "--force", "clips"]).done();
    assert!(files(&bench.path("artifacts/clips")) == before);
}

#[test]
fn what_is_no_shard_or_cannot_be_parted_is_refused() {
    let bench = bench();
    let run = |arguments: &[&str]| bench.fedact(&[&["run"], arguments].concat());
    run(&["clips", "--shard", "3/2"]).refused(2, &["`3/2` is no shard", "2/4"]);
    run(&["videos", "--shard", "1/2"]).refused(
        2,
        &[
            "step `videos` (stage synthesize) cannot be made in shards",
            "name only steps out of: clips",
        ],
    );
    let both = run(&["clips", "--shard", "1/2", "--force", "clips"]);
    assert_eq!(both.code, 2, "{both:#?}");
}
