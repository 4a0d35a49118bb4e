//! Runs with real processes on a real store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fake/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "fake/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fedact_artifact::Store;
use fedact_pipeline::{Failure, NotRun, RunEvent, State, Stop};
use harness::{Ended, Run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fedact-fake-stage");

const CHAIN: &str = "  a: {stage: source, params: {text: hello}}
  b: {stage: capitals, inputs: {videos: a}}
  c: {stage: join, inputs: {clips: [a, b]}}
";

/// A pipeline in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(steps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        bench.write(steps);
        bench
    }

    fn write(&self, steps: &str) {
        std::fs::write(self.file(), format!("version: 1\nsteps:\n{steps}")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipeline.yaml")
    }

    fn run(&self) -> Run {
        Run::new(&self.file(), Path::new(PROGRAM))
    }

    fn go(&self) -> Ended {
        self.run().go().unwrap()
    }

    fn text_of(&self, step: &str) -> String {
        std::fs::read_to_string(
            self.folder
                .path()
                .join("artifacts")
                .join(step)
                .join("text.txt"),
        )
        .unwrap()
    }

    fn file_named(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn marks(&self) -> PathBuf {
        self.file_named("marks")
    }

    /// A file that nobody makes: who waits for it has to be stopped.
    fn never(&self) -> PathBuf {
        self.file_named("never")
    }

    /// The steps that were executed so far, in order, and whether they resumed.
    fn executed(&self) -> Vec<(String, bool)> {
        let text = std::fs::read_to_string(self.marks()).unwrap_or_default();
        text.lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                (words[0].to_owned(), words[2] == "true")
            })
            .collect()
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn failure_of(ended: &Ended, name: &str) -> Failure {
    let find = |event: &RunEvent| match event {
        RunEvent::Failed { step, failure } if step == name => Some(failure.clone()),
        _ => None,
    };
    ended.events.iter().find_map(find).unwrap()
}

#[test]
fn a_pipeline_runs_once_and_then_has_nothing_to_do() {
    let bench = Bench::new(CHAIN);
    let first = bench.go();
    assert_eq!(first.outcome.ran, ["a", "b", "c"]);
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
    assert!(matches!(
        first.events.first(),
        Some(RunEvent::Planned { .. })
    ));
    assert!(matches!(first.events.last(), Some(RunEvent::Ended { .. })));

    let second = bench.go();
    assert!(second.plan.nothing_to_do());
    assert_eq!(second.outcome.ran, Vec::<String>::new());
    assert_eq!(sorted(&second.outcome.from_store), ["a", "b", "c"]);
}

#[test]
fn only_what_depends_on_a_change_runs_again() {
    let bench = Bench::new(
        "  a: {stage: source, params: {text: hello}}\n  x: {stage: source, params: {text: other}}\n  b: {stage: capitals, inputs: {videos: a}}\n  y: {stage: capitals, inputs: {videos: x}}\n",
    );
    bench.go();
    let again = bench.run().set("a.text=changed").go().unwrap();
    assert_eq!(again.outcome.ran, ["a", "b"]);
    assert_eq!(sorted(&again.outcome.from_store), ["x", "y"]);
    assert_eq!(bench.text_of("b"), "CHANGED");
    // Back again, everything is in the store, and the folders follow.
    let back = bench.go();
    assert!(back.outcome.ran.is_empty());
    assert_eq!(bench.text_of("b"), "HELLO");
}

#[test]
fn an_equal_output_cuts_off_what_is_downstream() {
    let bench = Bench::new(CHAIN);
    bench.go();
    // `count` enters the key of `a` and does not change what it writes.
    let again = bench.run().set("a.count=2").go().unwrap();
    assert!(matches!(again.plan.steps[1].state, State::Waiting { .. }));
    assert_eq!(again.outcome.ran, ["a"]);
    assert_eq!(sorted(&again.outcome.from_store), ["b", "c"]);
    let unchanged = again.events.iter().any(
        |event| matches!(event, RunEvent::Finished { step, unchanged: true, .. } if step == "a"),
    );
    assert!(unchanged);
}

#[test]
fn equal_work_under_two_names_is_done_once() {
    let bench = Bench::new(
        "  a: {stage: source, params: {text: t}}\n  b: {stage: source, params: {text: t}}\n",
    );
    let ended = bench.go();
    assert_eq!(ended.outcome.ran.len(), 1, "{:?}", ended.outcome);
    assert_eq!(ended.outcome.from_store.len(), 1);
    assert_eq!(bench.text_of("a"), bench.text_of("b"));
}

#[test]
fn named_steps_run_with_what_they_need_and_forced_ones_run_again() {
    let bench = Bench::new(CHAIN);
    let mut run = bench.run();
    run.targets = vec!["b".into()];
    assert_eq!(run.go().unwrap().outcome.ran, ["a", "b"]);
    let mut run = bench.run();
    run.forced.insert("b".into());
    let forced = run.go().unwrap();
    assert_eq!(forced.outcome.ran, ["b", "c"]);
}

#[test]
fn folders_of_the_user_count_by_their_content() {
    let bench = Bench::new("  b: {stage: capitals, inputs: {videos: {path: data/mine}}}\n");
    let data = bench.folder.path().join("data/mine");
    std::fs::create_dir_all(&data).unwrap();
    let error = bench.run().go().unwrap_err().to_string();
    assert!(error.ends_with("data/mine has no file in it"), "{error}");
    std::fs::write(data.join("text.txt"), "one").unwrap();
    assert_eq!(bench.go().outcome.ran, ["b"]);
    assert_eq!(bench.text_of("b"), "ONE");
    // The same content written anew is no change, other content is.
    std::fs::write(data.join("text.txt"), "one").unwrap();
    assert!(bench.go().outcome.ran.is_empty());
    std::fs::write(data.join("text.txt"), "two").unwrap();
    let changed = bench.go();
    let State::Stale { reason } = &changed.plan.steps[0].state else {
        panic!("{:?}", changed.plan);
    };
    assert!(
        reason
            .to_string()
            .starts_with("the content of input `videos` has changed")
    );
    assert_eq!(bench.text_of("b"), "TWO");
}

#[test]
fn a_folder_that_changes_while_it_is_read_gives_no_result() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  b: {{stage: capitals, inputs: {{videos: {{path: mine}}}}, params: {{until: {:?}, marks: {:?}}}}}\n",
        bench.file_named("go on"),
        bench.marks()
    ));
    let data = bench.folder.path().join("mine");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("text.txt"), "one").unwrap();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("b runs", || bench.marks().exists());
            std::fs::write(data.join("another.txt"), "two").unwrap();
            std::fs::write(bench.file_named("go on"), "").unwrap();
        });
        bench.go()
    });
    let failure = failure_of(&ended, "b");
    assert!(
        failure.message.ends_with("mine changed while the step ran"),
        "{failure:?}"
    );
    assert!(failure.invalid_input);

    // With the folder as it was planned, there is no result to be found under its key.
    std::fs::remove_file(data.join("another.txt")).unwrap();
    assert_eq!(bench.go().outcome.ran, ["b"]);
}

#[test]
fn an_output_that_is_changed_while_it_is_read_gives_no_result() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: one}}}}\n  b: {{stage: capitals, inputs: {{videos: a}}, params: {{until: {:?}, marks: {:?}}}}}\n",
        bench.file_named("go on"),
        bench.marks()
    ));
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("b runs", || bench.marks().exists());
            let file = bench.file_named("artifacts/a/text.txt");
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, "two").unwrap();
            std::fs::write(bench.file_named("go on"), "").unwrap();
        });
        bench.go()
    });
    let failure = failure_of(&ended, "b");
    assert!(
        failure
            .message
            .ends_with("artifacts/a changed while the step ran"),
        "{failure:?}"
    );
    assert!(failure.remedy.unwrap().contains("{path: FOLDER}"));
    // The output is put right, and the step begins anew.
    let again = bench.go();
    assert_eq!(again.outcome.ran, ["b"]);
    assert_eq!(bench.text_of("a"), "one");
    assert_eq!(bench.text_of("b"), "ONE");
    assert!(bench.executed().iter().all(|(_, resumed)| !resumed));
}

#[test]
fn what_a_run_has_made_is_pinned_to_its_end_forced_or_not() {
    let bench = Bench::new(CHAIN);
    bench.go();
    let mut run = bench.run().set("a.text=other");
    // The key of `b` is not known before `a` has run.
    run.forced.insert("b".into());
    let root = bench.file_named("artifacts/store");
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let pinned = std::rc::Rc::clone(&seen);
    run.watch = Box::new(move |event| {
        if let RunEvent::Finished { step, key, .. } = event {
            let live = Store::open(&root).unwrap().inventory().unwrap().live;
            pinned
                .borrow_mut()
                .push((step.clone(), live.contains_key(key)));
        }
    });
    run.go().unwrap();
    let all = ["a", "b", "c"].map(|step| (step.to_owned(), true));
    assert_eq!(*seen.borrow(), all);
    let store = Store::open(bench.file_named("artifacts/store")).unwrap();
    assert!(store.inventory().unwrap().live.is_empty());
}

#[test]
fn a_failure_stops_the_run_and_says_what_the_stage_said() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  bad: {{stage: source, params: {{behaviour: fail}}}}\n  slow: {{stage: source, params: {{until: {:?}}}}}\n  after: {{stage: capitals, inputs: {{videos: bad}}}}\n",
        bench.never()
    ));
    let ended = bench.go();
    assert_eq!(ended.outcome.failed, ["bad"]);
    assert_eq!(sorted(&ended.outcome.not_run), ["after", "slow"]);
    assert!(!ended.outcome.invalid_input);
    let failure = failure_of(&ended, "bad");
    assert_eq!(failure.message, "it went wrong");
    assert_eq!(failure.remedy.as_deref(), Some("make it right"));
    assert_eq!(failure.log_tail, ["first", "last words"]);
    assert!(failure.log.unwrap().is_file());
}

#[test]
fn going_on_after_a_failure_leaves_out_only_what_needs_it() {
    let bench = Bench::new(
        "  bad: {stage: source, params: {behaviour: invalid}}\n  good: {stage: source}\n  after: {stage: capitals, inputs: {videos: bad}}\n  beside: {stage: capitals, inputs: {videos: good}}\n",
    );
    let mut run = bench.run();
    run.keep_going = true;
    let ended = run.go().unwrap();
    assert_eq!(ended.outcome.failed, ["bad"]);
    assert_eq!(sorted(&ended.outcome.ran), ["beside", "good"]);
    assert!(ended.outcome.invalid_input);
    let reason = NotRun::Needs { step: "bad".into() };
    assert!(ended.events.contains(&RunEvent::NotRun {
        step: "after".into(),
        reason
    }));
    // The good ones are kept; the failed one is tried again.
    assert_eq!(bench.go().outcome.failed, ["bad"]);
}

#[test]
fn crashes_and_panics_are_that_steps_failure() {
    let bench = Bench::new("  a: {stage: source, params: {behaviour: abort}}\n");
    let ended = bench.go();
    let failure = failure_of(&ended, "a");
    assert!(
        failure.message.contains("signal 6 (SIGABRT)"),
        "{failure:?}"
    );
    let ended = bench.run().set("a.behaviour=panic").go().unwrap();
    let failure = failure_of(&ended, "a");
    assert!(
        failure.message.contains("broke off: no luck"),
        "{failure:?}"
    );
    let log = std::fs::read_to_string(failure.log.as_ref().unwrap()).unwrap();
    assert!(log.contains("no luck"), "{log}");
}

#[test]
fn stray_prints_do_not_get_between_the_events() {
    let bench = Bench::new("  a: {stage: source, params: {behaviour: print, text: x}}\n");
    let ended = bench.go();
    let Some(RunEvent::Finished { metrics, .. }) = ended
        .events
        .iter()
        .find(|event| matches!(event, RunEvent::Finished { .. }))
    else {
        panic!("{:?}", ended.events);
    };
    assert_eq!(
        metrics["length"], 1,
        "the printed closing event was believed"
    );
}

#[test]
fn warnings_are_kept_with_the_result() {
    let bench = Bench::new("  a: {stage: source, params: {behaviour: warn}}\n");
    bench.go();
    let store = Store::open(bench.folder.path().join("artifacts/store")).unwrap();
    let action = store.actions().unwrap().next().unwrap().unwrap();
    assert_eq!(action.provenance.warnings, ["one thing was odd"]);
    assert_eq!(action.provenance.step, "a");
    assert_eq!(
        action.key,
        fedact_pipeline::Preimage::from_json(&action.preimage)
            .unwrap()
            .key()
    );
}

#[test]
fn cores_are_shared_out_and_never_exceeded() {
    let steps: String = (0..6)
        .map(|index| {
            format!("  s{index}: {{stage: source, params: {{text: t{index}, sleep_ms: 100, cores: {}}}}}\n", index % 3)
        })
        .collect();
    let bench = Bench::new(&steps);
    let (mut used, mut most) = (std::collections::HashMap::new(), 0);
    for event in bench.go().events {
        match event {
            RunEvent::Started { step, cores, .. } => {
                used.insert(step, cores);
            }
            RunEvent::Finished { step, .. } => {
                used.remove(&step);
            }
            _ => {}
        }
        most = most.max(used.values().sum());
    }
    assert_eq!(most, 2, "two cores were to be used, and no more");
    // What wants more than there is runs alone.
    let bench = Bench::new("  a: {stage: source, params: {cores: 8}}\n");
    assert_eq!(bench.go().outcome.ran, ["a"]);
}

#[test]
fn memory_is_shared_out_and_what_wants_more_than_there_is_runs_alone() {
    let bench = Bench::new("");
    let both = bench.file_named("both run");
    let steps: String = [(0, "3GiB"), (1, "2GiB"), (2, "9GiB"), (3, "1GiB"), (4, "2GiB")]
        .map(|(index, memory)| {
            let until = if memory == "3GiB" || memory == "1GiB" {
                format!(", until: {both:?}")
            } else {
                String::new()
            };
            format!(
                "  s{index}: {{stage: source, params: {{text: t{index}{until}}}, resources: {{memory: {memory}}}}}\n"
            )
        })
        .concat();
    bench.write(&steps);
    let mut run = bench.run();
    run.cores = 8;
    run.memory = Some(4 << 30);
    let mut waiting = 2;
    run.watch = Box::new(move |event| {
        if matches!(event, RunEvent::Started { step, .. } if step == "s0" || step == "s3") {
            waiting -= 1;
            if waiting == 0 {
                std::fs::write(&both, "").unwrap();
            }
        }
    });
    let mut running: Vec<String> = Vec::new();
    let (mut most, mut beside_the_large) = (0, 0);
    let ended = run.go().unwrap();
    for event in &ended.events {
        match event {
            RunEvent::Started { step, .. } => running.push(step.clone()),
            RunEvent::Finished { step, .. } => running.retain(|name| name != step),
            _ => {}
        }
        let gibibytes = |step: &String| match step.as_str() {
            "s0" => 3,
            "s1" | "s4" => 2,
            "s3" => 1,
            _ => 0,
        };
        most = most.max(running.iter().map(gibibytes).sum());
        if running.iter().any(|step| step == "s2") {
            beside_the_large = beside_the_large.max(running.len() - 1);
        }
    }
    assert_eq!(ended.outcome.ran.len(), 5);
    assert_eq!(most, 4, "four gibibytes were to be used, and no more");
    assert_eq!(beside_the_large, 0);
}

#[test]
fn a_matrix_runs_its_instances_and_a_list_takes_them_all() {
    let bench = Bench::new(
        "  a: {stage: source, matrix: {params.text: [x, y, z]}}\n  b: {stage: capitals, inputs: {videos: a}}\n  all: {stage: join, inputs: {clips: [b]}}\n",
    );
    let first = bench.go();
    assert_eq!(first.outcome.ran.len(), 7);
    assert_eq!(bench.text_of("all"), "b@text=x=X\nb@text=y=Y\nb@text=z=Z\n");
    // One more value runs that one and what lists it; a plain step with the params of an instance runs nothing.
    bench.write(
        "  a: {stage: source, matrix: {params.text: [w, x, y, z]}}\n  b: {stage: capitals, inputs: {videos: a}}\n  all: {stage: join, inputs: {clips: [b]}}\n  same: {stage: source, params: {text: y}}\n",
    );
    let second = bench.go();
    assert_eq!(sorted(&second.outcome.ran), ["a@text=w", "all", "b@text=w"]);
    assert!(bench.text_of("all").starts_with("b@text=w=W\n"));
    let mut run = bench.run();
    run.targets = vec!["b@text=y".into()];
    assert_eq!(
        sorted(&run.go().unwrap().outcome.from_store),
        ["a@text=y", "b@text=y"]
    );
}

#[test]
fn an_estimate_plays_the_plan_through_on_the_cores_there_are() {
    let bench = Bench::new(
        "  a: {stage: source, params: {sleep_ms: 300}, matrix: {params.text: [t, u, v, w]}}\n  b: {stage: capitals, inputs: {videos: a}}\n",
    );
    let estimate = |ended: &Ended| match &ended.events[0] {
        RunEvent::Planned { estimate, .. } => estimate.clone(),
        other => panic!("{other:?}"),
    };
    let ended = bench.go();
    let first = estimate(&ended);
    assert_eq!((first.seconds, first.unknown.len()), (0.0, 8));
    let nothing = estimate(&bench.go());
    assert_eq!((nothing.seconds, nothing.unknown.len()), (0.0, 0));
    // The new instance counts as long as the others do on average.
    let taken = |instances: &str| -> Vec<f64> {
        let seconds = |event: &RunEvent| match event {
            RunEvent::Finished { step, seconds, .. }
                if step.starts_with(instances) && !step.ends_with("=w") =>
            {
                Some(*seconds)
            }
            _ => None,
        };
        let mut taken: Vec<f64> = ended.events.iter().filter_map(seconds).collect();
        assert_eq!(taken.len(), 3);
        taken.push(taken.iter().sum::<f64>() / 3.0);
        taken
    };
    let (first, second) = (taken("a@"), taken("b@"));
    let longest = |taken: &[f64]| taken.iter().copied().fold(0.0, f64::max);
    let chain = longest(&first) + longest(&second);
    let all = [first, second].concat();
    let work: f64 = all.iter().sum();
    let again = estimate(
        &bench
            .run()
            .set("a.count=2")
            .set("a.text=[t, u, v, x]")
            .go()
            .unwrap(),
    );
    assert_eq!(again.unknown, Vec::<String>::new());
    // What any order of these steps takes on two cores that are never both idle (Graham 1966).
    let possible = work / 2.0 - 1e-6..=(work + chain) / 2.0 + 1e-6;
    assert!(
        again.seconds >= 0.6 && possible.contains(&again.seconds),
        "{again:?} of {all:?}"
    );
}

/// Two steps, the second of which never ends by itself.
fn interruptible(behaviour: &str) -> Bench {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: t, marks: {marks:?}}}}}\n  b: {{stage: capitals, inputs: {{videos: a}}, params: {{until: {never:?}, behaviour: {behaviour}, marks: {marks:?}}}}}\n",
        never = bench.never(),
        marks = bench.marks()
    ));
    bench
}

/// A run that asks itself to stop as soon as `b` says something.
fn interrupted(bench: &Bench, ask: impl Fn(&Stop) + 'static) -> Ended {
    let mut run = bench.run();
    let stop = run.stop.clone();
    run.watch = Box::new(move |event| {
        if matches!(event, RunEvent::Reported { step, .. } if step == "b") {
            ask(&stop);
        }
    });
    let ended = run.go().unwrap();
    assert!(ended.outcome.interrupted);
    assert_eq!(ended.outcome.ran, ["a"]);
    assert_eq!(ended.outcome.not_run, ["b"]);
    assert!(ended.events.contains(&RunEvent::NotRun {
        step: "b".into(),
        reason: NotRun::Interrupted
    }));
    ended
}

#[test]
fn an_interrupted_step_stops_at_its_checkpoint_and_goes_on_from_there() {
    let bench = interruptible("good");
    let ended = interrupted(&bench, |stop| stop.ask(Duration::from_secs(60)));
    let Some(RunEvent::Stopping {
        steps,
        within_seconds,
    }) = ended
        .events
        .iter()
        .find(|event| matches!(event, RunEvent::Stopping { .. }))
    else {
        panic!("{:?}", ended.events);
    };
    assert_eq!(steps, &["b"]);
    assert!((50.0..=60.0).contains(within_seconds), "{within_seconds}");

    let again = bench.go();
    assert_eq!(again.outcome.ran, ["b"]);
    let resumed = |event: &RunEvent| matches!(event, RunEvent::Started { resumed: true, .. });
    assert!(again.events.iter().any(resumed));
    assert_eq!(bench.executed().last(), Some(&("b".to_owned(), true)));
}

#[test]
fn a_step_that_does_not_listen_is_killed_when_its_grace_is_over() {
    let bench = interruptible("deaf");
    interrupted(&bench, |stop| stop.ask(Duration::from_millis(300)));
    interrupted(&interruptible("deaf"), Stop::now);
    assert_eq!(bench.go().outcome.ran, ["b"]);
}

#[test]
fn a_step_that_fails_while_it_should_stop_has_failed() {
    let bench = interruptible("deaf-fail");
    let mut run = bench.run().set("b.sleep_ms=300").set("b.until=''");
    let stop = run.stop.clone();
    run.watch = Box::new(move |event| {
        if matches!(event, RunEvent::Reported { step, .. } if step == "b") {
            stop.ask(Duration::from_secs(60));
        }
    });
    let ended = run.go().unwrap();
    assert!(ended.outcome.interrupted);
    assert_eq!(ended.outcome.failed, ["b"]);
    assert_eq!(failure_of(&ended, "b").message, "it went wrong");
}

#[test]
fn a_damaged_object_is_made_again_and_never_delivered() {
    let bench = Bench::new(CHAIN);
    bench.go();
    // Through the hard link, as a careless editor would.
    let file = bench.folder.path().join("artifacts/a/text.txt");
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    std::fs::set_permissions(&file, permissions).unwrap();
    std::fs::write(&file, "jello").unwrap();
    let again = bench.go();
    assert_eq!(again.outcome.ran, ["a"]);
    assert_eq!(bench.text_of("a"), "hello");
    assert_eq!(bench.text_of("c"), "a=hello\nb=HELLO\n");
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: t, sleep_ms: 600, marks: {marks:?}}}}}\n  b: {{stage: capitals, inputs: {{videos: a}}, params: {{sleep_ms: 300, marks: {marks:?}}}}}\n",
        marks = bench.marks()
    ));
    let mut other = Command::new(PROGRAM)
        .arg("run")
        .arg(bench.file())
        .spawn()
        .unwrap();
    let ended = bench.go();
    assert!(other.wait().unwrap().success());
    assert_eq!(bench.executed().len(), 2, "{:?}", bench.executed());
    assert!(ended.outcome.failed.is_empty());
    assert_eq!(bench.text_of("b"), "T");
}

#[test]
fn a_step_that_is_made_elsewhere_leaves_its_cores_to_others_and_says_for_whom_it_waits() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: t, until: {until:?}, marks: {marks:?}}}}}\n  other: {{stage: source, params: {{text: o, marks: {marks:?}}}}}\n",
        until = bench.file_named("other is done"),
        marks = bench.marks()
    ));
    let step = |name: &str| {
        let mut run = bench.run();
        run.targets = vec![name.into()];
        run
    };
    let mut first = Command::new(PROGRAM)
        .arg("run")
        .arg(bench.file())
        .arg("a")
        .spawn()
        .unwrap();
    wait_until("a runs", || bench.executed().len() == 1);
    let mut run = bench.run();
    run.cores = 1;
    let done = bench.file_named("other is done");
    run.watch = Box::new(move |event| {
        if matches!(event, RunEvent::Finished { step, .. } if step == "other") {
            std::fs::write(&done, "").unwrap();
        }
    });
    let ended = run.go().unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(ended.outcome.ran, ["other"]);
    assert_eq!(ended.outcome.from_store, ["a"]);
    let at = |wanted: &dyn Fn(&RunEvent) -> bool| ended.events.iter().position(wanted).unwrap();
    let waits = at(&|event| {
        matches!(event, RunEvent::Waiting { step, reason }
            if step == "a" && reason.contains(&format!("process {} on ", first.id())))
    });
    let done = at(&|event| matches!(event, RunEvent::Finished { step, .. } if step == "other"));
    let came = at(&|event| matches!(event, RunEvent::FromStore { step, .. } if step == "a"));
    assert!(waits < done && done < came, "{:?}", ended.events);
    assert!(step("a").go().unwrap().outcome.ran.is_empty());
}

#[test]
fn the_death_of_a_run_frees_what_another_waits_for() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: t, until: {:?}, marks: {:?}}}}}\n",
        bench.never(),
        bench.marks()
    ));
    let mut first = Command::new(PROGRAM)
        .arg("run")
        .arg(bench.file())
        .spawn()
        .unwrap();
    wait_until("a runs", || bench.executed().len() == 1);
    let mut run = bench.run();
    let victim = first.id().to_string();
    let mut killed = false;
    run.watch = Box::new(move |event| {
        if matches!(event, RunEvent::Waiting { .. }) && !std::mem::replace(&mut killed, true) {
            let sent = Command::new("kill").args(["-KILL", &victim]).status();
            assert!(sent.unwrap().success());
        }
    });
    let ended = run.go().unwrap();
    assert!(!first.wait().unwrap().success());
    assert_eq!(ended.outcome.ran, ["a"]);
    assert_eq!(bench.text_of("a"), "t");
}

#[test]
fn two_runs_with_different_params_never_mix_their_folders() {
    let bench = Bench::new(
        "  a: {stage: source, params: {text: one}}\n  b: {stage: capitals, inputs: {videos: a}, params: {sleep_ms: 400}}\n",
    );
    let other = {
        let (file, program) = (bench.file(), PROGRAM.to_owned());
        std::thread::spawn(move || {
            Run::new(&file, Path::new(&program))
                .set("a.text=two")
                .go()
                .unwrap()
        })
    };
    let ended = bench.go();
    let other = other.join().unwrap();
    let output = |ended: &Ended| {
        let find = |event: &RunEvent| match event {
            RunEvent::Finished { step, output, .. } if step == "b" => Some(*output),
            _ => None,
        };
        ended.events.iter().find_map(find).unwrap()
    };
    let (one, two) = (output(&ended), output(&other));
    bench.go();
    assert_eq!(bench.text_of("b"), "ONE");
    let store = Store::open(bench.folder.path().join("artifacts/store")).unwrap();
    for action in store.actions().unwrap() {
        let action = action.unwrap();
        let place = bench.folder.path().join("out");
        store.materialize(&action.output, &place).unwrap();
        let text = std::fs::read_to_string(place.join("text.txt")).unwrap();
        if action.output == one {
            assert_eq!(text, "ONE");
        } else if action.output == two {
            assert_eq!(text, "TWO");
        }
    }
}

#[test]
fn killing_the_runner_leaves_no_orphan_and_keeps_what_was_finished() {
    let bench = Bench::new("");
    bench.write(&format!(
        "  a: {{stage: source, params: {{text: t, marks: {marks:?}}}}}\n  b: {{stage: capitals, inputs: {{videos: a}}, params: {{until: {never:?}, marks: {marks:?}}}}}\n  c: {{stage: join, inputs: {{clips: b}}, params: {{marks: {marks:?}}}}}\n",
        never = bench.never(),
        marks = bench.marks()
    ));
    let mut runner = Command::new(PROGRAM)
        .arg("run")
        .arg(bench.file())
        .spawn()
        .unwrap();
    wait_until("b runs", || bench.executed().len() == 2);
    // SIGKILL: the runner has no chance to clean up.
    runner.kill().unwrap();
    runner.wait().unwrap();
    let marks = std::fs::read_to_string(bench.marks()).unwrap();
    let child = marks
        .lines()
        .last()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    wait_until("the step's process is gone", || is_gone(&child));
    let there = bench.folder.path().join("artifacts/b");
    assert!(!there.exists(), "a half output was delivered");

    let ended = bench.go();
    assert_eq!(ended.outcome.from_store, ["a"]);
    assert_eq!(ended.outcome.ran, ["b", "c"]);
    assert_eq!(
        bench.executed(),
        [("a", false), ("b", false), ("b", true), ("c", false)]
            .map(|(step, resumed)| (step.to_owned(), resumed))
    );
    let left: Vec<_> = std::fs::read_dir(bench.folder.path().join("artifacts/store/tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is gone, or a zombie that only waits to be noticed.
fn is_gone(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with('Z')
    })
}
