//! How a run stands, for whoever watches the step.

use std::sync::Arc;

use fedact_fleet::coordinator::{DeviceStatus, Status};
use fedact_fleet::engine::Presence;
use fedact_stage::{Reporter, Task};

use super::plan::Plan;

/// A device that was heard within so many seconds is there, whatever it is at.
const LATELY: f64 = 10.0;

/// Moves the bar, and has a line for every new trouble and every device that is added.
pub fn teller(
    progress: Arc<Task>,
    reporter: Reporter,
    plan: &Plan,
) -> impl FnMut(&Status) + Send + 'static {
    let mut plan = plan.clone();
    let mut trouble = None;
    let mut before: Option<Status> = None;
    move |status| {
        if let Some(before) = before.replace(status.clone()) {
            newcomers(&before, status).for_each(|line| reporter.info(line));
        }
        if status.trouble != trouble {
            trouble.clone_from(&status.trouble);
            if let Some(text) = &trouble {
                reporter.info(text);
            }
        }
        progress.detail(detail(status));
        plan.budget_samples = status.budget_samples;
        progress.set(plan.client_epochs_of(status.samples).floor() as u64);
    }
}

/// A line for every device that was added between two looks.
fn newcomers<'a>(before: &'a Status, now: &'a Status) -> impl Iterator<Item = String> + 'a {
    now.added_since(before).map(|(name, this)| match this {
        true => format!("{name} was added and takes part"),
        false => format!(
            "{name} was added and takes part from the next run on: this one counts on the devices that it began with"
        ),
    })
}

/// As in `2 of 3 devices, version 12, staleness 1.5, top-1 61.0%, 0.8 updates a second, 12.3 MB up`.
fn detail(status: &Status) -> String {
    let devices = status.devices.iter().filter(|device| !device.revoked);
    let all = devices.clone().count();
    let there = devices.filter(|device| is_there(device)).count();
    let mut parts = vec![
        format!("{there} of {all} devices"),
        format!("version {}", status.version),
    ];
    parts.extend(
        status
            .mean_staleness
            .map(|mean| format!("staleness {mean:.1}")),
    );
    parts.extend(
        status
            .tested
            .map(|tested| format!("top-1 {:.1}%", 100.0 * tested.top1)),
    );
    if status.bytes_up > 0 {
        parts.push(format!(
            "{:.1} updates a second, {:.1} MB up",
            status.updates_per_second,
            status.bytes_up as f64 / 1e6
        ));
    }
    if there == 0 && status.finished.is_none() {
        let waits = status.waits_for.as_ref();
        let waits = waits.map(|what| format!("waits for {what}"));
        parts.extend(status.trouble.clone().or(waits));
    }
    parts.join(", ")
}

/// Between an answer and the next sign of life a device is `away`, too.
fn is_there(device: &DeviceStatus) -> bool {
    let silent = device.silent_seconds;
    device.presence != Presence::Away || silent.is_some_and(|seconds| seconds < LATELY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(silent_seconds: [f64; 2]) -> Status {
        let device = |name: &str, silent: f64| {
            json!({
                "name": name, "presence": "away", "revoked": name == "pi-4", "task": null, "staleness": null,
                "silent_seconds": silent, "counted": 6, "refused": 0, "lost": 0, "turned": 0,
            })
        };
        let devices = [
            device("nano-1", silent_seconds[0]),
            device("pi-3", silent_seconds[1]),
            device("pi-4", 0.0),
        ];
        serde_json::from_value(json!({
            "fleet": "lab", "run": "00c0ffee00c0ffee", "seconds": 40.0, "version": 12, "samples": 200,
            "budget_samples": 1000, "tested": {"version": 8, "samples": 160, "top1": 0.61, "loss": 0.83},
            "finished": null, "waits_for": "a device: none of 3 is there", "trouble": null, "bytes_up": 12_340_000,
            "bytes_down": 0, "updates_per_second": 0.8, "mean_staleness": 1.5, "refused": {}, "turned": {},
            "devices": devices,
        }))
        .unwrap()
    }

    #[test]
    fn a_device_that_is_added_has_its_line_once() {
        let before = status([0.5, 30.0]);
        let mut now = before.clone();
        let mut device = now.devices[0].clone();
        device.name = fedact_fleet::Name::new("pi-5").unwrap();
        now.devices.push(device);
        let lines: Vec<String> = newcomers(&before, &now).collect();
        assert_eq!(lines, ["pi-5 was added and takes part"]);
        now.next_run.push(fedact_fleet::Name::new("pi-6").unwrap());
        let lines: Vec<String> = newcomers(&before, &now).collect();
        assert!(lines[1].starts_with("pi-6 was added and takes part from the next run on"));
        assert_eq!(newcomers(&now, &now).count(), 0);
    }

    #[test]
    fn the_bar_says_who_is_there_and_how_far_the_model_is() {
        assert_eq!(
            detail(&status([0.5, 30.0])),
            "1 of 2 devices, version 12, staleness 1.5, top-1 61.0%, 0.8 updates a second, 12.3 MB up"
        );
        let alone = detail(&status([60.0, 60.0]));
        assert!(alone.starts_with("0 of 2 devices"), "{alone}");
        assert!(
            alone.ends_with("waits for a device: none of 3 is there"),
            "{alone}"
        );
    }
}
