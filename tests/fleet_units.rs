//! The units that docs/fleet.md prints, as they are printed: systemd takes them, and the command what they call it with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;

use std::path::Path;
use std::process::{Command, Stdio};

use bench::Bench;
use serde_yaml::Value;

const PAGE: &str = include_str!("../docs/fleet.md");
const FOLDER: &str = "/etc/systemd/system/";
/// Where the page has the command installed.
const INSTALLED: &str = "/usr/local/bin/fedact";

/// The printed units: the name of the file, which is the last one named before the block, and what is in it.
fn units() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = PAGE.split("\n```ini\n").collect();
    let units = parts.windows(2).map(|pair| {
        let name = pair[0].rsplit_once(FOLDER).unwrap().1;
        let text = pair[1].split_once("```").unwrap().0;
        (name.split_once('`').unwrap().0, text)
    });
    units.collect()
}

/// The calls of the command in a unit, each as its words.
fn calls(unit: &str) -> impl Iterator<Item = Vec<&str>> {
    let starts = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let calls = starts.filter_map(|start| start.strip_prefix(INSTALLED));
    calls.map(|call| call.split_whitespace().collect())
}

#[test]
fn systemd_has_nothing_against_the_printed_units() {
    let tried = Command::new("systemd-analyze")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no systemd-analyze; install Debian's package systemd");
        return;
    }
    let bench = Bench::new("");
    let names = ["server", "coordinator", "device"].map(|name| format!("fleet-{name}.service"));
    assert!(units().iter().map(|(name, _)| *name).eq(&names));
    for (name, text) in units() {
        // systemd looks whether programs are there. So the command is the one under test, and where there is no NATS server
        // another program stands for it; nothing else is changed.
        let mut text = text.replace(INSTALLED, env!("CARGO_BIN_EXE_fedact"));
        if !Path::new("/usr/sbin/nats-server").exists() {
            text = text.replace("/usr/sbin/nats-server", "/bin/true");
        }
        std::fs::write(bench.path(name), text).unwrap();
    }
    for name in &names {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(bench.path(name))
            .output()
            .unwrap();
        // An unknown key is a warning, and no failure. What it says of this machine's own units is not meant.
        let said = String::from_utf8(output.stderr).unwrap();
        let against: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("fleet-"))
            .collect();
        assert!(output.status.success() && against.is_empty(), "{said}");
    }
}

#[test]
fn the_command_takes_what_the_printed_units_call_it_with() {
    let bench = Bench::new("");
    let mut seen = Vec::new();
    for (name, unit) in units() {
        for call in calls(unit) {
            let help = bench.fedact(&[&call[..2], &["--help"]].concat());
            for option in call.iter().filter(|word| word.starts_with('-')) {
                let stdout = &help.done().stdout;
                assert!(stdout.contains(*option), "{name}: {option}: {stdout}");
            }
            seen.push(call);
        }
    }
    let said: Vec<&[&str]> = seen.iter().map(|call| &call[..2]).collect();
    assert_eq!(said, [["fleet", "serve"], ["fleet", "join"]]);

    // A step whose clients are simulated would be refused each time that systemd starts the coordinator.
    let value = |option| {
        let place = seen[0].iter().position(|word| *word == option).unwrap();
        seen[0][place + 1]
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("pipelines")
        .join(value("-f"));
    let pipeline: Value = serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let step = &pipeline["steps"][value("--step")];
    assert_eq!(step["stage"], "federate");
    assert_eq!(step["params"]["transport"], "nats");
}
