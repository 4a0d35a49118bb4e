//! Runs beside a place that has results of others: what is taken from there, what is left, what goes wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fedact_artifact::{Action, ArtifactError, Digest, Store};
use fedact_pipeline::{Exchange, Fetching, RunEvent, Shared, State};
use harness::{Ended, Run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fedact-fake-stage");

const CHAIN: &str = "  a: {stage: source, params: {text: hello}}
  b: {stage: capitals, inputs: {videos: a}}
  c: {stage: join, inputs: {clips: [a, b]}}
  d: {stage: join, inputs: {clips: [b], more: [b]}}
";

/// The store of another machine, as an exchange that writes down what it is asked and told.
struct Other {
    store: Store,
    asked: Mutex<Vec<Digest>>,
    fetched: Mutex<Vec<String>>,
    shared: Mutex<Vec<String>>,
    /// The steps whose files do not come although they are claimed to be there.
    broken: Mutex<BTreeSet<String>>,
    /// The steps that are claimed to have the output of another one.
    lying: Mutex<BTreeSet<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Other {
    fn fetched(&self) -> Vec<String> {
        let mut fetched = std::mem::take(&mut *self.fetched.lock().unwrap());
        fetched.sort();
        fetched
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }

    fn breaks(&self, steps: &[&str]) {
        *self.broken.lock().unwrap() = steps.iter().map(|&step| step.to_owned()).collect();
    }
}

impl Exchange for Other {
    fn find(&self, key: &Digest) -> Option<Action> {
        self.asked.lock().unwrap().push(*key);
        let mut action = self.store.lookup(key).unwrap()?;
        if self.lying.lock().unwrap().contains(&action.provenance.step) {
            action.output = Digest::of("something else");
        }
        Some(action)
    }

    fn fetch(
        &self,
        action: &Action,
        folder: &Path,
        progress: Fetching<'_>,
    ) -> Result<bool, ArtifactError> {
        let step = action.provenance.step.clone();
        let broken = self.broken.lock().unwrap().contains(&step);
        let manifest = self.store.manifest(&action.output)?;
        let (false, Some(manifest)) = (broken, manifest) else {
            self.warnings.lock().unwrap().push(format!("no {step}"));
            return Ok(false);
        };
        let reader = self.store.reader(&manifest);
        for (path, _, digest) in manifest.files() {
            let mut content = Vec::new();
            reader.open(&digest)?.read_to_end(&mut content).unwrap();
            std::fs::write(folder.join(path.as_path()), content).unwrap();
        }
        assert!(progress(action.bytes, action.bytes));
        self.fetched.lock().unwrap().push(step);
        Ok(true)
    }

    fn share(&self, action: &Action) {
        let step = action.provenance.step.clone();
        self.shared.lock().unwrap().push(step);
    }

    fn shared(&self) -> Shared {
        Shared {
            sent: self.shared.lock().unwrap().len(),
            waiting: 0,
        }
    }

    fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap())
    }
}

/// A pipeline in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(steps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("version: 1\nsteps:\n{steps}");
        std::fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
        Self { folder }
    }

    /// Where everything has run, as a place to take it from.
    fn run_elsewhere(steps: &str) -> Arc<Other> {
        let bench = Self::new(steps);
        bench.run(None).go().unwrap();
        let store = Store::open(bench.folder.path().join("artifacts/store")).unwrap();
        // It lasts as long as the test.
        std::mem::forget(bench);
        Arc::new(Other {
            store,
            asked: Mutex::default(),
            fetched: Mutex::default(),
            shared: Mutex::default(),
            broken: Mutex::default(),
            lying: Mutex::default(),
            warnings: Mutex::default(),
        })
    }

    fn run(&self, exchange: Option<&Arc<Other>>) -> Run {
        let file = self.folder.path().join("pipeline.yaml");
        let mut run = Run::new(&file, Path::new(PROGRAM));
        run.exchange = exchange.map(|other| Arc::clone(other) as Arc<dyn Exchange>);
        run
    }

    fn go(&self, exchange: &Arc<Other>) -> Ended {
        self.run(Some(exchange)).go().unwrap()
    }

    fn path(&self, step: &str) -> PathBuf {
        self.folder.path().join("artifacts").join(step)
    }

    fn text_of(&self, step: &str) -> String {
        std::fs::read_to_string(self.path(step).join("text.txt")).unwrap()
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn warnings(ended: &Ended) -> Vec<&str> {
    let events = ended.events.iter();
    events
        .filter_map(|event| match event {
            RunEvent::Warning { text } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_last_steps_are_fetched_and_what_is_before_them_is_not() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    let ended = bench.go(&other);
    assert!(
        ended
            .plan
            .steps
            .iter()
            .all(|step| step.state == State::Remote)
    );
    assert_eq!(ended.outcome.ran, [""; 0]);
    assert_eq!(sorted(&ended.outcome.fetched), ["c", "d"]);
    assert_eq!(ended.outcome.remote, ["a", "b"]);
    assert_eq!(other.fetched(), ["c", "d"]);
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
    assert!(!bench.path("a").exists());
    assert_eq!(other.asked(), 4, "each key is asked for once");
    // What is here is not asked for again; what stayed there is.
    let again = bench.go(&other);
    assert_eq!(sorted(&again.outcome.from_store), ["c", "d"]);
    assert_eq!(again.outcome.remote, ["a", "b"]);
    assert_eq!((other.asked(), other.fetched().len()), (2, 0));
}

#[test]
fn named_steps_are_fetched_and_a_folder_that_is_there_is_kept_up_to_date() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    // An old state of `a` stands there.
    let mut old = bench.run(None).set("a.text=old");
    old.targets = vec!["a".into()];
    old.go().unwrap();
    let mut run = bench.run(Some(&other));
    run.targets = vec!["b".into()];
    let ended = run.go().unwrap();
    assert_eq!(sorted(&ended.outcome.fetched), ["a", "b"]);
    assert_eq!(bench.text_of("a"), "hello");
    assert!(!bench.path("c").exists());
}

#[test]
fn a_step_that_runs_has_its_inputs_fetched_and_nothing_else() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    let mut run = bench.run(Some(&other)).set("c.text=more");
    run.targets = vec!["c".into()];
    let ended = run.go().unwrap();
    assert_eq!(ended.outcome.ran, ["c"]);
    assert_eq!(sorted(&ended.outcome.fetched), ["a", "b"]);
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\nmore");
    assert_eq!(
        *other.shared.lock().unwrap(),
        ["c"],
        "what was made is shared"
    );
    assert_eq!(ended.outcome.shared, 1);
    // `d` needs `b` alone.
    let bench = Bench::new(CHAIN);
    let mut run = bench.run(Some(&other)).set("d.text=more");
    run.targets = vec!["d".into()];
    other.fetched();
    let ended = run.go().unwrap();
    assert_eq!(
        (ended.outcome.ran.as_slice(), other.fetched()),
        (&["d".to_owned()][..], vec!["b".to_owned()])
    );
    assert_eq!(ended.outcome.remote, ["a"]);
}

#[test]
fn the_plan_says_what_the_run_fetches() {
    let other = Bench::run_elsewhere(CHAIN);
    for (set, targets, fetches) in [
        ("c.text=", vec![], vec!["c", "d"]),
        ("c.text=more", vec!["c"], vec!["a", "b"]),
        ("d.text=more", vec![], vec!["b", "c"]),
    ] {
        let bench = Bench::new(CHAIN);
        let mut run = bench.run(Some(&other)).set(set);
        run.targets = targets.into_iter().map(str::to_owned).collect();
        let ended = run.go().unwrap();
        let RunEvent::Planned {
            fetches: planned, ..
        } = &ended.events[0]
        else {
            panic!("{:?}", ended.events);
        };
        assert_eq!(sorted(planned), fetches, "{set}");
        assert_eq!(sorted(&ended.outcome.fetched), fetches, "{set}");
    }
}

#[test]
fn what_does_not_come_is_made_here() {
    let other = Bench::run_elsewhere(CHAIN);
    other.breaks(&["b", "c"]);
    let bench = Bench::new(CHAIN);
    let ended = bench.go(&other);
    // `c` does not come, so it runs, and needs `a`, which comes, and `b`, which does not and runs, too.
    assert_eq!(ended.outcome.ran, ["b", "c"]);
    assert_eq!(sorted(&ended.outcome.fetched), ["a", "d"]);
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
    assert!(ended.outcome.failed.is_empty());
    assert_eq!(warnings(&ended), ["no c", "no b"]);
}

#[test]
fn steps_planned_with_an_output_that_was_a_lie_are_looked_at_again() {
    let other = Bench::run_elsewhere(CHAIN);
    // `b` is claimed to be something else, with which nothing has ever been made.
    other.lying.lock().unwrap().insert("b".to_owned());
    let bench = Bench::new(CHAIN);
    let ended = bench.go(&other);
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
    assert_eq!(bench.text_of("d"), "b=HELLO\nb=HELLO\n");
    assert!(
        ended.outcome.ran.contains(&"b".to_owned()),
        "{:?}",
        ended.outcome
    );
    let store = Store::open(bench.path("store")).unwrap();
    for step in ["b", "c", "d"] {
        let key = store.latest().unwrap()[step];
        assert!(store.lookup(&key).unwrap().is_some(), "{step}");
    }
}

#[test]
fn a_forced_step_runs_whatever_is_there() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    let mut run = bench.run(Some(&other));
    run.forced.insert("b".into());
    run.targets = vec!["b".into()];
    let ended = run.go().unwrap();
    assert_eq!(ended.outcome.ran, ["b"]);
    assert_eq!(ended.outcome.fetched, ["a"]);
}

#[test]
fn a_result_that_was_lost_here_is_fetched_again() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    bench.run(None).go().unwrap();
    std::fs::remove_dir_all(bench.path("store/objects")).unwrap();
    std::fs::remove_dir_all(bench.path("c")).unwrap();
    std::fs::remove_dir_all(bench.path("d")).unwrap();
    let ended = bench.go(&other);
    assert_eq!(ended.outcome.ran, [""; 0], "{:?}", ended.outcome);
    assert!(ended.outcome.fetched.contains(&"c".to_owned()));
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
}

#[test]
fn what_the_store_has_already_is_shared_if_asked_for() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    bench.run(None).set("d.text=more").go().unwrap();
    let mut run = bench.run(Some(&other)).set("d.text=more");
    run.share_all = true;
    run.go().unwrap();
    assert_eq!(sorted(&other.shared.lock().unwrap()), ["a", "b", "c", "d"]);
}

#[test]
fn keys_below_a_step_that_ran_are_asked_for_when_they_are_known() {
    let other = Bench::run_elsewhere(CHAIN);
    let bench = Bench::new(CHAIN);
    // Another key for `a` with the same output: all behind it is there.
    let ended = bench.run(Some(&other)).set("a.count=2").go().unwrap();
    assert_eq!(ended.outcome.ran, ["a"]);
    assert_eq!(sorted(&ended.outcome.fetched), ["c", "d"]);
    assert_eq!(ended.outcome.remote, ["b"]);
}
