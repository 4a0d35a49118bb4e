//! What the store costs: nothing to do, publishing, restoring, first hashes.
//!
//! `cargo bench -p fedact-artifact` prints the best and the median of several rounds. Beside each figure
//! stands what the same work costs without the store (the floor), taken in the same round. With `-- FOLDER` it
//! works there: on another disk.
//!
//! ext4 does not give out the inodes of deleted files again for some minutes, and searches for others: making
//! ten thousand files takes ten times as long after ten thousand were deleted. So nothing is deleted between rounds,
//! and a second run within minutes of the first measures that search.

#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fedact_artifact::{Action, Digest, Materialized, Provenance, Store};
use rayon::prelude::*;
use serde_json::json;

const FILES: usize = 10_000;
const SMALL: usize = 4 << 10;
/// The smallest size that is not packed.
const LARGE: usize = (64 << 10) + 1;
const GIBIBYTE: usize = 1 << 30;
const PACKED: &str = "packed";

/// Rounds of one piece of work.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let clock = Instant::now();
        let result = work();
        self.0.push(clock.elapsed());
        result
    }

    fn print(mut self, name: &str) {
        self.0.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{name:<58} {:>9.2} {:>9.2}",
            milliseconds(self.0[0]),
            milliseconds(self.0[self.0.len() / 2])
        );
    }
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("{:<58} {:>9} {:>9}", "milliseconds", "best", "median");
    let room = tempfile::tempdir_in(room()).expect("a folder to work in");
    nothing_to_do(room.path(), 15);
    publish_and_restore(room.path(), 5, PACKED, SMALL);
    publish_and_restore(room.path(), 3, "linked", LARGE);
    first_hash(room.path(), 3);
}

/// The folder that was asked for, or one on a real disk that goes with the build.
fn room() -> PathBuf {
    let asked = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let room = asked.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    fs::create_dir_all(&room).expect("a folder to work in");
    room
}

/// Fills a folder with files that all differ.
fn fill(folder: &Path, files: usize, size: usize) {
    let mut bytes = vec![7; size];
    for index in 0..files {
        let inner = folder.join(format!("{:03}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&inner).expect("a folder");
        }
        bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
        fs::write(inner.join(format!("{index:05}.bin")), &bytes).expect("a file");
    }
}

/// What listing and asking for every stat costs on one core with the standard library.
fn stat_floor(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        bytes += match entry.file_type() {
            Ok(kind) if kind.is_dir() => stat_floor(&entry.path()),
            _ => entry.metadata().expect("a stat").len(),
        };
    }
    bytes
}

fn nothing_to_do(room: &Path, rounds: usize) {
    let videos = room.join("videos");
    fill(&videos, FILES, SMALL);
    std::thread::sleep(Duration::from_millis(100));
    let root = room.join("idle/store");
    let store = Store::open(&root).expect("a store");
    let first = store.digest_folder(&videos, |_, _| {}).expect("a digest");
    let (mut open, mut digest, mut floor) = (Times::default(), Times::default(), Times::default());
    for _ in 0..rounds {
        floor.take(|| stat_floor(&videos));
        let store = open.take(|| Store::open(&root).expect("a store"));
        let again = digest.take(|| store.digest_folder(&videos, |_, _| {}).expect("a digest"));
        assert_eq!(again, first);
    }
    open.print("open the store");
    digest.print("digest 10,000 x 4 KiB, unchanged");
    floor.print("  floor: list and stat them on one core");
    fs::remove_dir_all(videos).expect("gone");
}

fn publish(store: &Store, round: usize, size: usize, times: &mut Times) -> Action {
    let preimage = json!({"round": round, "size": size});
    let lock = store
        .lock(&Digest::of_json(&preimage), |_| {})
        .expect("a lock");
    let workspace = store.workspace(lock).expect("a workspace");
    fill(workspace.output(), FILES, size);
    times.take(|| {
        workspace
            .publish(preimage, Provenance::default())
            .expect("a result")
    })
}

/// What making and filling the files of a step costs on all cores, with a `stat` of each.
fn write_floor(folder: &Path, size: usize) {
    let bytes = vec![7; size];
    (0..FILES)
        .into_par_iter()
        .with_min_len(64)
        .for_each(|index| {
            let path = folder.join(format!("{:03}/{index:05}.bin", index / 100));
            let mut file = fs::File::create_new(path).expect("a file");
            file.write_all(&bytes).expect("room");
            file.metadata().expect("a stat");
        });
}

fn publish_and_restore(room: &Path, rounds: usize, how: &str, size: usize) {
    let (mut published, mut restored, mut looked_up, mut right, mut floor) = (
        Times::default(),
        Times::default(),
        Times::default(),
        Times::default(),
        Times::default(),
    );
    for round in 0..rounds {
        let artifacts = room.join(format!("{how}-{round}"));
        let step = artifacts.join("step");
        let store = Store::open(artifacts.join("store")).expect("a store");
        let action = publish(&store, round, size, &mut published);
        let done = restored.take(|| store.materialize(&action.output, &step).expect("a folder"));
        assert_ne!(done, Materialized::Unchanged);
        let found = looked_up.take(|| store.lookup(&action.key).expect("a store"));
        assert!(found.is_some());
        assert!(right.take(|| store.is_materialized(&action.output, &step)));
        if how == PACKED {
            let folders = artifacts.join("floor");
            for inner in 0..FILES / 100 {
                fs::create_dir_all(folders.join(format!("{inner:03}"))).expect("a folder");
            }
            floor.take(|| write_floor(&folders, size));
        }
    }
    published.print(&format!("publish 10,000 x {size} bytes ({how})"));
    restored.print(&format!("restore them ({how})"));
    if how == PACKED {
        floor.print("  floor: write as many files on all cores");
    }
    looked_up.print(&format!("look the result up ({how})"));
    right.print(&format!("is the folder right? ({how})"));
}

fn first_hash(room: &Path, rounds: usize) {
    for files in [8, 1] {
        let folder = room.join("large");
        fs::create_dir_all(&folder).expect("a folder");
        fill(&folder, files, GIBIBYTE / files);
        std::thread::sleep(Duration::from_millis(100));
        let mut times = Times::default();
        for round in 0..rounds {
            let store = Store::open(room.join(format!("hash-{files}-{round}"))).expect("a store");
            times.take(|| store.digest_folder(&folder, |_, _| {}).expect("a digest"));
        }
        times.print(&format!("first digest of 1 GiB in {files} file(s)"));
        fs::remove_dir_all(folder).expect("gone");
    }
}
