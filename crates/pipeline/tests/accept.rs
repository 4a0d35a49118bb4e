//! Old outputs declared good after an edit of the code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fedact_artifact::{Action, Store};
use fedact_pipeline::{
    Candidate, Change, Concern, Graph, Override, Pipeline, Plan, State, StoreRecords, Unacceptable,
    digest_folders,
};
use harness::{Ended, Run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fedact-fake-stage");

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let steps = "  a: {stage: source, params: {text: hello}}
  b: {stage: capitals, inputs: {videos: a}}
  c: {stage: join, inputs: {clips: [a, b]}}
";
        std::fs::write(
            folder.path().join("pipeline.yaml"),
            format!("version: 1\nsteps:\n{steps}"),
        )
        .unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipeline.yaml")
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path().join("artifacts/store")).unwrap()
    }

    fn run(&self, code: &str) -> Ended {
        let mut run = Run::new(&self.file(), Path::new(PROGRAM));
        run.code = code.into();
        run.go().unwrap()
    }

    /// Accepts the latest result of a step under another code.
    fn accept(
        &self,
        step: &str,
        code: &str,
        set: &[&str],
        allowed: &[Concern],
    ) -> Result<Action, Unacceptable> {
        let store = self.store();
        let set = set.iter().map(|text| Override::parse(text).unwrap());
        let pipeline = Pipeline::load(&self.file(), set.collect()).unwrap();
        let graph = Graph::build(&pipeline, &stages::catalogue(code)).unwrap();
        let records = StoreRecords::new(&store);
        let mut contents = digest_folders(&graph, &pipeline, &store, |_, _, _| {}).unwrap();
        let plan = Plan::make(&graph, &mut contents, &records, &BTreeSet::new()).unwrap();
        let planned = plan.steps.iter().find(|one| one.step == step).unwrap();
        let allowed = allowed.iter().copied().collect();
        let node = graph.get(step).unwrap();
        Candidate::find(node, planned, &contents, &records, &allowed)
            .unwrap()?
            .accept(&store, "test")
            .unwrap()
    }
}

#[test]
fn an_accepted_output_is_fresh_and_so_is_everything_behind_it() {
    let bench = Bench::new();
    bench.run("one");
    for step in ["a", "b", "c"] {
        bench.accept(step, "two", &[], &[]).unwrap();
    }
    let after = bench.run("two");
    assert!(after.plan.nothing_to_do(), "{:?}", after.plan);
    assert!(after.outcome.ran.is_empty());
    assert_eq!(
        bench.accept("a", "two", &[], &[]),
        Err(Unacceptable::Fresh { step: "a".into() })
    );
}

#[test]
fn the_provenance_tells_every_acceptance_for_ever() {
    let bench = Bench::new();
    bench.run("one");
    let store = bench.store();
    let old = store.actions().unwrap().map(Result::unwrap);
    let old: Vec<Action> = old.filter(|action| action.provenance.step == "a").collect();
    let second = bench.accept("a", "two", &[], &[]).unwrap();
    let third = bench.accept("a", "three", &[], &[]).unwrap();
    assert_eq!(third.output, old[0].output);
    assert_eq!(third.provenance.started, old[0].provenance.started);
    let told: Vec<_> = third
        .provenance
        .accepted
        .iter()
        .map(|accepted| (accepted.from, accepted.version.as_str()))
        .collect();
    assert_eq!(told, [(old[0].key, "test"), (second.key, "test")]);
    let change: Change =
        serde_json::from_value(third.provenance.accepted[1].changes[0].clone()).unwrap();
    let expected = Change::Code {
        stage: "source".into(),
        old: "two of source".into(),
        new: "three of source".into(),
    };
    assert_eq!(change, expected);

    // Kept with the record: the older ones may be collected.
    bench.store().forget(&old[0].key).unwrap();
    bench.store().forget(&second.key).unwrap();
    let kept = bench.store().lookup(&third.key).unwrap().unwrap();
    assert_eq!(kept.provenance, third.provenance);
}

#[test]
fn what_is_meant_to_change_a_result_is_accepted_only_on_request() {
    let bench = Bench::new();
    bench.run("one");
    let set = ["a.count=2"];
    let Err(refused) = bench.accept("a", "one", &set, &[Concern::Libraries]) else {
        panic!("other params were accepted");
    };
    assert_eq!(
        refused.to_string(),
        "step `a`: param `count` was 1 and is 2"
    );
    assert!(refused.remedy().contains("--even-if params"));
    bench.accept("a", "one", &set, &[Concern::Params]).unwrap();
    // The content of what `b` reads is the same: it is fresh, whatever made it.
    assert_eq!(
        bench.accept("b", "one", &set, &[]),
        Err(Unacceptable::Fresh { step: "b".into() })
    );
}

#[test]
fn what_cannot_be_accepted_is_refused_with_the_way_out() {
    let bench = Bench::new();
    let never = bench.accept("a", "one", &[], &[]).unwrap_err();
    assert_eq!(never, Unacceptable::NeverRun { step: "a".into() });
    bench.run("one");
    let waiting = bench.accept("b", "two", &[], &[]).unwrap_err();
    assert_eq!(
        waiting,
        Unacceptable::Waiting {
            step: "b".into(),
            on: vec!["a".into()]
        }
    );
    assert!(waiting.remedy().contains("`fedact accept a`"));

    // Somebody else makes the new result.
    let key = bench.accept("a", "two", &[], &[]).unwrap().key;
    bench.store().forget(&key).unwrap();
    std::fs::remove_file(bench.store().root().join("stats/latest")).unwrap();
    let lock = bench.store().lock(&key, |_| {}).unwrap();
    let busy = bench.accept("a", "two", &[], &[]).unwrap_err();
    assert!(matches!(busy, Unacceptable::Busy { .. }), "{busy}");
    drop(lock);

    // The old output is lost.
    std::fs::remove_dir_all(bench.store().root().join("objects")).unwrap();
    let gone = bench.accept("a", "two", &[], &[]).unwrap_err();
    assert_eq!(gone, Unacceptable::Gone { step: "a".into() });
}

#[test]
fn the_latest_result_is_the_one_that_was_used_last_with_or_without_the_index() {
    let bench = Bench::new();
    let store = bench.store();
    bench.run("one");
    bench.run("two");
    // Out of the store.
    bench.run("one");
    let code = |store: &Store| {
        let latest = StoreRecords::new(store)
            .latest_action("a")
            .unwrap()
            .unwrap();
        latest.preimage["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&store), "one of source");
    // Without the index, only the records tell: the last one made.
    std::fs::remove_file(store.root().join("stats/latest")).unwrap();
    assert_eq!(code(&store), "two of source");
    // A line of a killed process, and a record that is gone.
    let file = store.root().join("stats/latest");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"step\":\"a\",\"ke");
    std::fs::write(&file, text).unwrap();
    let key = StoreRecords::new(&store)
        .latest_action("a")
        .unwrap()
        .unwrap()
        .key;
    store.forget(&key).unwrap();
    assert_eq!(code(&store), "one of source");
    let again = bench.run("three");
    assert!(matches!(again.plan.steps[0].state, State::Stale { .. }));
}
