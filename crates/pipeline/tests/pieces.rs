//! Steps that are made of pieces: what is there is not made again, and machines share the work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fedact_artifact::{Digest, Item, Store, collection};
use fedact_pipeline::{Graph, NotRun, Pipeline, RunEvent, shard_of};
use fedact_stage::Shard;
use harness::{Ended, Run};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fedact-fake-stage");

const WORDS: &str =
    "  a: {stage: source, params: {text: the quick brown fox jumps over a lazy dog}}
  b: {stage: words, inputs: {videos: a}}
  c: {stage: join, inputs: {clips: [b]}}
";

const LINES: &str = "THE\nQUICK\nBROWN\nFOX\nJUMPS\nOVER\nA\nLAZY\nDOG\n";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(steps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("pipeline.yaml"),
            format!("version: 1\nsteps:\n{steps}"),
        )
        .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Run {
        Run::new(&self.path("pipeline.yaml"), Path::new(PROGRAM))
    }

    /// The run of one shard of `b`.
    fn shard(&self, text: &str) -> Run {
        let mut run = self.run();
        run.targets = vec!["b".into()];
        run.shard = Some(text.parse().unwrap());
        run
    }

    /// Makes the text, so that the keys of what is made of it are known.
    fn text_alone(&self) {
        let mut run = self.run();
        run.targets = vec!["a".into()];
        run.go().unwrap();
    }

    fn store(&self) -> Store {
        Store::open(self.path("artifacts/store")).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path("artifacts/b/text.txt")).unwrap()
    }

    /// The pieces that are in no result.
    fn loose(&self) -> Vec<String> {
        let mut names = Vec::new();
        for space in std::fs::read_dir(self.path("artifacts/store/pieces")).unwrap() {
            for piece in std::fs::read_dir(space.unwrap().path()).unwrap() {
                names.push(piece.unwrap().file_name().into_string().unwrap());
            }
        }
        names.sort();
        names
    }

    fn pieces_of_b(&self) -> Digest {
        let pipeline = Pipeline::load(&self.path("pipeline.yaml"), Vec::new()).unwrap();
        let graph = Graph::build(&pipeline, &stages::catalogue("code")).unwrap();
        graph.get("b").unwrap().pieces().unwrap()
    }
}

/// How many words a step made, found and reused.
fn counts(ended: &Ended, name: &str) -> [u64; 3] {
    let metrics = ended.events.iter().find_map(|event| match event {
        RunEvent::Finished { step, metrics, .. } | RunEvent::ShardDone { step, metrics, .. }
            if step == name =>
        {
            Some(metrics)
        }
        _ => None,
    });
    let metrics = metrics.unwrap_or_else(|| panic!("{:#?}", ended.events));
    ["made", "found", "reused"].map(|count| metrics[count].as_u64().unwrap())
}

#[test]
fn a_longer_text_makes_the_new_word_alone() {
    let bench = Bench::new(WORDS);
    let first = bench.run().go().unwrap();
    assert_eq!(counts(&first, "b"), [9, 0, 0]);
    assert_eq!(bench.text(), LINES);
    let again = bench
        .run()
        .set("a.text=the quick brown fox jumps over a lazy cat")
        .go()
        .unwrap();
    assert_eq!(counts(&again, "b"), [1, 0, 8]);
    assert!(bench.text().ends_with("LAZY\nCAT\n"));
    // A param that decides no piece; one that does; other code.
    let again = bench.run().set("b.count=2").go().unwrap();
    assert_eq!(counts(&again, "b"), [0, 0, 9]);
    let again = bench.run().set("b.rate=0.25").go().unwrap();
    assert_eq!(counts(&again, "b"), [9, 0, 0]);
    let mut run = bench.run();
    run.code = "other".into();
    assert_eq!(counts(&run.go().unwrap(), "b"), [9, 0, 0]);
}

#[test]
fn a_forced_step_does_all_its_work() {
    let bench = Bench::new(WORDS);
    bench.run().go().unwrap();
    let mut run = bench.run();
    run.forced = BTreeSet::from(["b".to_owned()]);
    assert_eq!(counts(&run.go().unwrap(), "b"), [9, 0, 0]);
}

#[test]
fn another_step_with_the_same_settings_lends_its_pieces_and_a_damaged_result_does_not() {
    let bench = Bench::new(WORDS);
    bench.run().go().unwrap();
    let twice = format!(
        "{WORDS}  x: {{stage: source, params: {{text: the lazy fox}}}}\n  y: {{stage: words, inputs: {{videos: x}}}}\n"
    );
    std::fs::write(
        bench.path("pipeline.yaml"),
        format!("version: 1\nsteps:\n{twice}"),
    )
    .unwrap();
    assert_eq!(counts(&bench.run().go().unwrap(), "y"), [0, 0, 3]);

    let store = bench.store();
    let before = store.latest().unwrap();
    let output = store.lookup(&before["b"]).unwrap().unwrap().output;
    let manifest = store.manifest(&output).unwrap().unwrap();
    let (.., object) = manifest.files().next().unwrap();
    let hex = object.to_string();
    let path = bench.path(&format!(
        "artifacts/store/objects/{}/{}",
        &hex[..2],
        &hex[2..]
    ));
    std::fs::remove_file(&path).unwrap();
    let mut run = bench.run().set("x.text=the lazy dog");
    run.targets = vec!["y".into()];
    let again = run.go().unwrap();
    assert_eq!(
        counts(&again, "y"),
        [1, 0, 2],
        "only from y's own result before"
    );
}

#[test]
fn shards_leave_pieces_and_a_run_without_one_joins_them() {
    let bench = Bench::new(WORDS);
    let mut made = 0;
    for shard in ["1/3", "2/3", "3/3"] {
        let ended = bench.shard(shard).go().unwrap();
        assert_eq!(ended.outcome.shards, ["b"]);
        assert!(!bench.path("artifacts/b").exists());
        made += counts(&ended, "b")[0];
        // A second time it has nothing to do.
        let again = bench.shard(shard).go().unwrap();
        assert_eq!(counts(&again, "b")[0], 0);
    }
    assert_eq!((made, bench.loose().len()), (9, 9));
    let key = bench.shard("1/3").go().unwrap().plan.steps[1].key.unwrap();
    let notes = bench.store().shards(&key).unwrap();
    let done: Vec<(u32, u32, bool)> = notes
        .iter()
        .map(|note| (note.number, note.of, note.seconds.is_some()))
        .collect();
    assert_eq!(done, [(1, 3, true), (2, 3, true), (3, 3, true)]);

    let joined = bench.run().go().unwrap();
    assert_eq!(joined.outcome.ran, ["b", "c"]);
    assert_eq!(counts(&joined, "b"), [0, 9, 0]);
    assert_eq!(bench.text(), LINES);
    assert_eq!(bench.loose(), [""; 0]);
    assert!(bench.store().shards(&key).unwrap().is_empty());
    // What is finished needs no shard.
    let late = bench.shard("1/3").go().unwrap();
    assert!(late.outcome.shards.is_empty());
    assert!(late.outcome.from_store.contains(&"b".to_owned()));
}

#[test]
fn a_shard_that_died_is_done_by_the_joining_run() {
    let bench = Bench::new(WORDS);
    let shard_of_dog = (1..=2)
        .map(|number| Shard { number, of: 2 })
        .find(|shard| shard.holds("dog"))
        .unwrap();
    bench.text_alone();
    let died = bench
        .shard(&shard_of_dog.to_string())
        .set("b.text=dog")
        .go()
        .unwrap();
    assert_eq!(died.outcome.failed, ["b"]);
    let kept = bench.loose();
    assert!(
        !kept.is_empty() && !kept.contains(&"dog".to_owned()),
        "{kept:?}"
    );
    let key = died.plan.steps[1].key.unwrap();
    let store = bench.store();
    assert_eq!(store.shards(&key).unwrap()[0].seconds, None);
    assert_eq!(store.owner(&shard_of(&key, shard_of_dog)), None);
    drop(store);
    let joined = bench.run().go().unwrap();
    assert_eq!(
        counts(&joined, "b"),
        [9 - kept.len() as u64, kept.len() as u64, 0]
    );
    assert_eq!(bench.text(), LINES);
}

#[test]
fn what_needs_the_whole_result_does_not_run_with_a_shard() {
    let bench = Bench::new(WORDS);
    let mut run = bench.run();
    run.shard = Some("1/2".parse().unwrap());
    let ended = run.go().unwrap();
    assert_eq!(ended.outcome.ran, ["a"]);
    assert_eq!(ended.outcome.shards, ["b"]);
    assert_eq!(ended.outcome.not_run, ["c"]);
    let why = ended.events.iter().find_map(|event| match event {
        RunEvent::NotRun { step, reason } if step == "c" => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(why, Some(NotRun::Needs { step: "b".into() }));
}

#[test]
fn two_processes_never_do_the_same_shard_at_once_and_do_others_side_by_side() {
    let bench = Bench::new(WORDS);
    bench.text_alone();
    let file = bench.path("pipeline.yaml");
    let run = |shard: &str| {
        let mut run = Run::new(&file, Path::new(PROGRAM)).set("b.sleep_ms=40");
        run.targets = vec!["b".into()];
        run.shard = Some(shard.parse().unwrap());
        run.go().unwrap()
    };
    let runs: Vec<Ended> = std::thread::scope(|scope| {
        let threads = ["1/2", "1/2", "2/2"].map(|shard| scope.spawn(move || run(shard)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    let made: u64 = runs.iter().map(|ended| counts(ended, "b")[0]).sum();
    assert_eq!(made, 9, "no word was made twice");
    let waits = |ended: &Ended| {
        let waiting = |event: &RunEvent| matches!(event, RunEvent::Waiting { .. });
        ended.events.iter().any(waiting)
    };
    assert!(!waits(&runs[2]));
}

#[test]
fn pieces_stay_as_long_as_an_unfinished_step_of_a_kept_pipeline_is_made_of_them() {
    let bench = Bench::new(WORDS);
    bench.shard("1/2").go().unwrap();
    let store = bench.store();
    let space = bench.pieces_of_b();
    let inventory = store.inventory().unwrap();
    let doomed = |keep: &[Digest]| {
        let plan = collection(&inventory, &keep.iter().copied().collect());
        plan.doomed
            .iter()
            .any(|doomed| doomed.item == Item::Pieces(space))
    };
    assert!(!doomed(&[space]));
    assert!(doomed(&[]));
    // A run that begins after the plan was made keeps them, too.
    let plan = collection(&inventory, &BTreeSet::new());
    let mut pin = store.pin().unwrap();
    pin.add([&space]).unwrap();
    store.collect(&plan).unwrap();
    assert!(!bench.loose().is_empty());
    drop(pin);
    store.collect(&plan).unwrap();
    assert!(bench.loose().is_empty());
}

#[test]
fn events_of_a_shard_as_json() {
    let bench = Bench::new(WORDS);
    let ended = bench.shard("1/1").go().unwrap();
    let json: Vec<Value> = ended
        .events
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .collect();
    let done = json
        .iter()
        .find(|event| event["event"] == "shard-done")
        .unwrap();
    assert_eq!(done["shard"], serde_json::json!({"number": 1, "of": 1}));
    assert_eq!(done["metrics"]["made"], 9);
    let started = json
        .iter()
        .find(|event| event["event"] == "started" && event["step"] == "b")
        .unwrap();
    assert_eq!(started["shard"]["of"], 1);
    assert_eq!(json.last().unwrap()["shards"], serde_json::json!(["b"]));
}
