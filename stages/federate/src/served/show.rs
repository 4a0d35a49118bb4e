//! How a run stands, for whoever watches the step.

use std::sync::Arc;

use fedact_fleet::coordinator::Status;
use fedact_fleet::engine::Presence;
use fedact_stage::{Reporter, Task};

use super::plan::Plan;

/// Moves the bar, and has a line for every new trouble.
pub fn teller(
    progress: Arc<Task>,
    reporter: Reporter,
    plan: &Plan,
) -> impl FnMut(&Status) + Send + 'static {
    let plan = plan.clone();
    let mut trouble = None;
    move |status| {
        if status.trouble != trouble {
            trouble.clone_from(&status.trouble);
            if let Some(text) = &trouble {
                reporter.info(text);
            }
        }
        progress.detail(detail(status));
        progress.set(plan.client_epochs_of(status.samples).floor() as u64);
    }
}

/// As in `2 of 3 devices, version 12, staleness 1.5, top-1 61.0%, 0.8 updates a second, 12.3 MB up`.
fn detail(status: &Status) -> String {
    let working = |device: &&_| device_is_there(device);
    let there = status.devices.iter().filter(working).count();
    let all = status.devices.iter().filter(|device| !device.revoked);
    let mut parts = vec![
        format!("{there} of {} devices", all.count()),
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
        let reason = status.trouble.as_ref().or(waits);
        parts.extend(reason.map(|reason| format!("waits: {reason}")));
    }
    parts.join(", ")
}

/// Between an answer and the next sign of life a device is `away`, too: who was heard lately is there.
fn device_is_there(device: &fedact_fleet::coordinator::DeviceStatus) -> bool {
    const LATELY: f64 = 10.0;
    let lately = device
        .silent_seconds
        .is_some_and(|seconds| seconds < LATELY);
    !device.revoked && (device.presence != Presence::Away || lately)
}
