//! The store is killed at every step of publishing and materialising, in a process of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

use super::*;
use crate::fault::{self, Fault};

const TASK: &str = "FEDACT_ARTIFACT_TEST_TASK";
const ROOT: &str = "FEDACT_ARTIFACT_TEST_ROOT";
const POINT: &str = "FEDACT_ARTIFACT_TEST_POINT";
const NTH: &str = "FEDACT_ARTIFACT_TEST_NTH";

/// Starts this very test program with `child` as its only test.
fn spawn(task: &str, house: &House, point: &str, nth: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "tests::killed::child",
            "--nocapture",
        ])
        .env(TASK, task)
        .env(ROOT, house.folder.path())
        .env(POINT, point)
        .env(NTH, nth.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// Does a step's work in the child: something to go on from, and an output.
fn work(workspace: &Workspace) {
    write(&workspace.checkpoints().join("epoch-1"), "half way");
    fill_with_everything(workspace.output());
}

#[test]
#[ignore = "started by the other tests here, in a process of its own"]
fn child() {
    let root = PathBuf::from(std::env::var_os(ROOT).expect("only started by other tests"));
    let (point, task) = (std::env::var(POINT).unwrap(), std::env::var(TASK).unwrap());
    let nth = std::env::var(NTH).unwrap().parse().unwrap();
    let store = Store::open(root.join("artifacts/store")).unwrap();
    let step = root.join("artifacts/s");
    let lock = store
        .lock(&key("new"), |owner| {
            println!("waits for {owner}");
            write(&root.join("waits"), "");
        })
        .unwrap();
    match task.as_str() {
        "kill" => {
            let workspace = store.workspace(lock).unwrap();
            work(&workspace);
            fault::arm(&point, nth, Fault::Kill);
            let action = workspace.publish(json!({}), provenance("s")).unwrap();
            store.materialize(&action.output, &step).unwrap();
        }
        "disk full" => {
            let workspace = store.workspace(lock).unwrap();
            work(&workspace);
            fault::arm(&point, nth, Fault::DiskFull);
            let error = workspace
                .publish(json!({}), provenance("s"))
                .and_then(|action| store.materialize(&action.output, &step))
                .unwrap_err();
            assert!(matches!(error, ArtifactError::DiskFull { .. }), "{error}");
        }
        "share" => {
            if store.lookup(&key("new")).unwrap().is_none() {
                let workspace = store.workspace(lock).unwrap();
                fill_with_everything(workspace.output());
                let began = std::time::Instant::now();
                while !root.join("waits").exists() && began.elapsed().as_secs() < 60 {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                workspace.publish(json!({}), provenance("s")).unwrap();
                println!("made it");
            }
        }
        "hold" => {
            let workspace = store.workspace(lock).unwrap();
            work(&workspace);
            let mut pin = store.pin().unwrap();
            pin.add([&key("old")]).unwrap();
            println!("holding");
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        other => panic!("unknown task {other}"),
    }
}

/// A house whose step `s` shows an older result.
fn house_with_old_result() -> (House, Action) {
    let house = House::new();
    let old = house.publish(&key("old"), |output| {
        write(&output.join("plain.txt"), "old");
        write(&output.join("big.bin"), noise(300_000));
    });
    house
        .store
        .materialize(&old.output, &house.step("s"))
        .unwrap();
    (house, old)
}

/// The digest of what a child makes.
fn expected() -> Digest {
    static EXPECTED: std::sync::LazyLock<Digest> = std::sync::LazyLock::new(|| {
        House::new()
            .publish(&key("new"), fill_with_everything)
            .output
    });
    *EXPECTED
}

/// What must hold after the child ended, however it did; `finished`: its result was recorded.
fn check_after(house: &House, old: &Action, finished: bool, point: &str) {
    let store = Store::open(house.store.root()).unwrap();
    assert_eq!(
        fs::read_dir(store.tmp()).unwrap().count(),
        0,
        "{point}: tmp is not swept"
    );
    assert!(
        matches!(store.try_lock(&key("new")).unwrap(), Attempt::Locked(_)),
        "{point}"
    );
    assert!(
        store.lookup(&key("old")).unwrap().is_some(),
        "{point}: a finished result is lost"
    );

    let expected = expected();
    let found = store.lookup(&key("new")).unwrap();
    assert_eq!(found.is_some(), finished, "{point}");
    if let Some(found) = &found {
        assert_eq!(found.output, expected, "{point}");
    } else {
        assert!(
            store.has_checkpoints(&key("new")),
            "{point}: checkpoints are lost"
        );
    }
    let step = house.step("s");
    let is_old = store.is_materialized(&old.output, &step);
    let is_new = store.is_materialized(&expected, &step);
    assert!(
        is_old || (is_new && finished),
        "{point}: the step is a mixture"
    );

    let again = house.workspace(&key("new"));
    if !finished {
        assert!(again.resumed(), "{point}");
    }
    fill_with_everything(again.output());
    let again = again.publish(json!({}), provenance("s")).unwrap();
    assert_eq!(again.output, expected);
    store.materialize(&again.output, &step).unwrap();
    assert!(store.is_materialized(&expected, &step), "{point}");
    let verification = store.verify(|_, _| {}).unwrap();
    assert!(verification.is_whole(), "{point}: {verification:?}");
}

/// Every point; those that are passed once an object also in the middle.
fn points() -> impl Iterator<Item = (&'static str, u32, bool)> {
    let recorded = fault::POINTS
        .iter()
        .position(|point| *point == "action: renamed")
        .unwrap();
    fault::POINTS
        .iter()
        .enumerate()
        .flat_map(move |(index, point)| {
            let middle = matches!(*point, "object: before rename" | "object: after rename");
            let nths: &[u32] = if middle { &[1, 4] } else { &[1] };
            nths.iter()
                .map(move |nth| (*point, *nth, index >= recorded))
        })
}

#[test]
fn killed_at_any_point_there_is_a_whole_result_or_none() {
    for (point, nth, finished) in points() {
        let (house, old) = house_with_old_result();
        let output = spawn("kill", &house, point, nth)
            .wait_with_output()
            .unwrap();
        assert_eq!(
            output.status.signal(),
            Some(9),
            "{point} was not passed: {}",
            text(&output)
        );
        check_after(&house, &old, finished, point);
    }
}

#[test]
fn a_disk_that_is_full_at_any_point_is_named_and_loses_nothing() {
    for (point, nth, finished) in points() {
        let (house, old) = house_with_old_result();
        let output = spawn("disk full", &house, point, nth)
            .wait_with_output()
            .unwrap();
        assert!(output.status.success(), "{point}: {}", text(&output));
        check_after(&house, &old, finished, point);
    }
}

#[test]
fn of_many_processes_with_one_key_one_works_and_the_others_say_for_whom_they_wait() {
    let house = House::new();
    let children: Vec<Child> = (0..3).map(|_| spawn("share", &house, "", 0)).collect();
    let outputs: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            text(&output)
        })
        .collect();
    let made = outputs
        .iter()
        .filter(|output| output.contains("made it"))
        .count();
    assert_eq!(made, 1, "{outputs:?}");
    let waited = outputs
        .iter()
        .filter(|output| output.contains("waits for process"))
        .count();
    assert!(waited >= 1, "{outputs:?}");
    assert!(house.store.lookup(&key("new")).unwrap().is_some());
}

#[test]
fn the_lock_the_pin_and_the_workspace_of_a_killed_process_free_themselves() {
    let (house, _) = house_with_old_result();
    let mut child = spawn("hold", &house, "", 0);
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("holding") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap() > 0);
    }
    let owner = house.store.owner(&key("new")).unwrap();
    assert_eq!(owner.pid, child.id());
    let inventory = house.store.inventory().unwrap();
    assert!(inventory.live.contains_key(&key("new")), "locked");
    assert!(inventory.live.contains_key(&key("old")), "pinned");
    // Opening beside a live owner leaves its work alone.
    Store::open(house.store.root()).unwrap();
    assert_eq!(fs::read_dir(house.store.tmp()).unwrap().count(), 2);

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(house.store.owner(&key("new")), None);
    assert!(house.store.inventory().unwrap().live.is_empty());
    let lock = house
        .store
        .lock(&key("new"), |owner| panic!("still held by {owner}"))
        .unwrap();
    let store = Store::open(house.store.root()).unwrap();
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
    assert!(store.workspace(lock).unwrap().resumed());
}
