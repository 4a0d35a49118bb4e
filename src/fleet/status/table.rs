//! How a fleet stands, in words and a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use fedact_fleet::coordinator::{DeviceStatus, Status};
use fedact_fleet::identity::Roster;

use crate::fleet::standing::{Coordinator, Standing, state};
use crate::output;

const HEADINGS: [&str; 10] = [
    "device",
    "state",
    "clips",
    "task",
    "staleness",
    "silent",
    "counted",
    "refused",
    "lost",
    "turned",
];

/// Of a run that has begun.
pub fn of_run(standing: &Standing, folder: &str) -> String {
    let status = &standing.status;
    let mut text = format!(
        "fleet {}, run {}, served for {}\n",
        status.fleet,
        status.run,
        output::duration(status.seconds)
    );
    // Writing into a string cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:13}{value}");
    };
    line("coordinator", coordinator(standing));
    if standing.coordinator == Coordinator::NotRunning && status.finished.is_none() {
        let command = format!("fedact fleet serve {folder} -f FILE --step STEP");
        line("", format!("`{command}` goes on with it"));
    }
    line("model", model(status));
    line("work", work(standing));
    let (up, down) = (status.bytes_up, status.bytes_down);
    line(
        "moved",
        format!(
            "{} of updates up, {} of models down",
            output::size(up),
            output::size(down)
        ),
    );
    for (name, counts) in [
        ("refused", &status.refused),
        ("turned away", &status.turned),
    ] {
        if !counts.is_empty() {
            line(name, reasons(counts));
        }
    }
    if !status.next_run.is_empty() {
        let names = status.next_run.iter().map(|name| name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        line(
            "next run",
            format!("{names}, added when this one was under way"),
        );
    }
    if let Some(waits_for) = &status.waits_for {
        line("waits for", waits_for.clone());
    }
    if let Some(trouble) = &status.trouble {
        line("last trouble", on_one_line(trouble));
    }
    text.push('\n');
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(status.devices.iter().map(row));
    text + &aligned(&rows)
}

/// Of a fleet that has served no run.
pub fn without_run(roster: &Roster, folder: &str) -> String {
    let mut text = format!(
        "fleet {} at {}: no run has begun\n\
         `fedact fleet serve {folder} -f FILE --step STEP` begins one\n\n",
        roster.fleet, roster.address,
    );
    let mut rows = vec![["device".to_owned(), "state".to_owned()]];
    rows.extend(roster.devices.iter().map(|device| {
        let state = if device.revoked { "revoked" } else { "away" };
        [device.name.to_string(), state.to_owned()]
    }));
    text.push_str(&aligned(&rows));
    text
}

fn coordinator(standing: &Standing) -> String {
    let ago = output::duration(standing.age_seconds);
    match (standing.coordinator, &standing.status.finished) {
        (_, Some(reason)) => format!("the run is over: {reason}"),
        (Coordinator::Running, None) => "running".to_owned(),
        (Coordinator::Busy, None) => {
            format!("running, and silent for {ago}: it tests or mixes a model, or hangs")
        }
        (Coordinator::NotRunning, None) => format!("not running: all this is {ago} old"),
    }
}

fn model(status: &Status) -> String {
    let mut text = format!("version {}", status.version);
    if let Some(tested) = &status.tested {
        let _ = write!(
            text,
            ", top-1 {:.1} % at version {}",
            tested.top1 * 100.0,
            tested.version
        );
        match tested.loss {
            Some(loss) => {
                let _ = write!(text, " (loss {loss:.3})");
            }
            None => text.push_str(" (it has diverged)"),
        }
    }
    text
}

fn work(standing: &Standing) -> String {
    let status = &standing.status;
    let share = status.samples as f64 / status.budget_samples.max(1) as f64;
    let mut text = format!(
        "{} of {} samples ({:.0} %)",
        status.samples,
        status.budget_samples,
        share * 100.0
    );
    if let Some(staleness) = status.mean_staleness {
        let _ = write!(text, ", mean staleness {staleness:.1}");
    }
    if let Some(seconds) = standing.seconds_left() {
        let _ = write!(
            text,
            ", {:.2} updates a second, about {} left",
            status.updates_per_second,
            output::duration(seconds)
        );
    }
    text
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// What devices say may hold anything.
fn on_one_line(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).collect()
}

fn row(device: &DeviceStatus) -> [String; 10] {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    [
        device.name.to_string(),
        state(device).to_owned(),
        number(device.clips),
        number(device.task),
        number(device.staleness),
        device
            .silent_seconds
            .map_or("-".to_owned(), output::duration),
        device.counted.to_string(),
        device.refused.to_string(),
        device.lost.to_string(),
        device.turned.to_string(),
    ]
}

/// Rows below one another: the first two columns begin at one place, the others end at one.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let cell = |(column, (text, width)): (usize, (&String, &usize))| match column {
        0 | 1 => format!("{text:width$}"),
        _ => format!("{text:>width$}"),
    };
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::standing::tests::standing;

    #[test]
    fn a_run_in_its_midst_in_words_and_a_table() {
        let standing = standing(Coordinator::Running);
        let text = of_run(&standing, "fleet");
        assert_eq!(
            text,
            "\
fleet lab, run 00c0ffee00c0ffee, served for 40 s
coordinator  running
model        version 20, top-1 71.9 % at version 16 (loss 0.830)
work         200 of 1000 samples (20 %), mean staleness 1.5, 2.00 updates a second, about 40 s left
moved        1.5 MiB of updates up, 12.0 MiB of models down
refused      norm-too-large 2
turned away  replayed 1, wrong-signature 4
waits for    updates of nano-1

device  state    clips  task  staleness  silent  counted  refused  lost  turned
nano-1  working     24    57          3   0.5 s       12        0     1       0
pi-3    there        -     -          -       -        8        0     1       0
pi-4    revoked      -     -          -       -        0        0     1       0
"
        );
    }

    #[test]
    fn a_coordinator_that_is_not_there_is_told_from_one_that_is_busy() {
        let mut gone = standing(Coordinator::NotRunning);
        gone.age_seconds = 3725.0;
        let text = of_run(&gone, "fl");
        assert!(
            text.contains("not running: all this is 1 h 2 min old\n"),
            "{text}"
        );
        assert!(text.contains("`fedact fleet serve fl -f FILE"), "{text}");
        assert!(!text.contains(" left"), "{text}");
        let mut busy = standing(Coordinator::Busy);
        busy.age_seconds = 12.0;
        let text = of_run(&busy, "fl");
        assert!(text.contains("running, and silent for 12 s"), "{text}");
        let mut over = standing(Coordinator::NotRunning);
        over.status.finished = Some("target-reached".into());
        let text = of_run(&over, "fl");
        assert!(text.contains("the run is over: target-reached"), "{text}");
    }

    #[test]
    fn what_a_device_says_of_its_trouble_moves_no_cursor() {
        let mut standing = standing(Coordinator::Running);
        standing.status.trouble = Some("pi-3 gave task 1 back: \x1b[2J\nno clips".into());
        let text = of_run(&standing, "fleet");
        assert!(
            text.contains("last trouble pi-3 gave task 1 back:  [2J no clips\n"),
            "{text}"
        );
    }
}
