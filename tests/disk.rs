//! The store on a disk that is full, and on one that may not be written to: small disks in memory, in a namespace of
//! their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;

use std::process::Command;

use bench::{Bench, Ended, TINY};

/// Runs a script in a folder of its own on a disk of this size; `$fedact` is the command. `None`, and a word about
/// it, where the system does not let this user mount disks.
fn on_a_disk_of(size: &str, script: &str) -> Option<Ended> {
    let bench = Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    ));
    let disk = bench.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let run = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-euc", script])
            .current_dir(bench.path(""))
            .env("fedact", env!("CARGO_BIN_EXE_fedact"))
            .output()
    };
    let mount = format!("mount -t tmpfs -o size={size} small disk");
    if !run(&mount).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: disks cannot be mounted here");
        return None;
    }
    let script = format!("{mount}; cp pipeline.yaml disk; cd disk\n{script}");
    Some(Ended::of(run(&script).unwrap()))
}

#[test]
fn on_a_full_disk_everything_can_be_looked_at_and_collected_and_then_made() {
    let ended = on_a_disk_of(
        "8m",
        r#"
        $fedact run --set clips.frames=3 2> said
        $fedact run --set clips.frames=4 2> said
        $fedact run 2> said
        cat /dev/zero > fill 2> said || true
        test "$(df --output=avail . | tail -1)" -eq 0
        $fedact status
        $fedact verify
        $fedact show clips > said || true
        code=0; $fedact run --set clips.frames=5 || code=$?
        test $code -eq 1 -o $code -eq 4
        $fedact gc
        test "$(df --output=avail . | tail -1)" -gt 0
        rm fill
        $fedact run --set clips.frames=5
        $fedact verify
        "#,
    );
    let Some(ended) = ended else { return };
    ended.done();
    for words in [
        "clips   extract     fresh\n",
        ": all whole\n",
        "result of step clips (",
        "ran 1 step (clips); 1 step from the store",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {ended:#?}");
    }
    assert!(
        ended.stderr.contains("fedact gc"),
        "what was refused says how to free space: {ended:#?}"
    );
}

#[test]
fn a_store_on_a_disk_that_may_not_be_written_to_is_refused_by_name() {
    let ended = on_a_disk_of(
        "8m",
        r#"
        $fedact run 2> said
        mount -o remount,ro,bind .
        $fedact run
        "#,
    );
    let Some(ended) = ended else { return };
    ended.refused(
        4,
        &["disk/artifacts/store is not writable", "mount it writable"],
    );
}
