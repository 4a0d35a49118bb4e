//! What has happened to a fleet between two looks at it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fedact_fleet::Name;
use fedact_fleet::coordinator::Status;
use fedact_fleet::setup::Fleet;
use serde::Serialize;

use super::log::Level;
use super::standing::{Coordinator, Standing, state};

/// How often a fleet is looked at: as often as its coordinator writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Something that happened. Counts are those since the last look.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Change {
    /// A run was begun, or found under way.
    Run {
        /// Which.
        run: String,
        /// Samples that reached the coordinator so far.
        samples: u64,
        /// Samples at which it ends.
        budget_samples: u64,
    },
    /// The coordinator came, went, or is silent.
    Coordinator {
        /// How it is now.
        state: Coordinator,
    },
    /// A device was added to the fleet.
    Added {
        /// Which.
        device: Name,
        /// The run in which it takes part: `this` or `next`.
        run: &'static str,
    },
    /// A device is in another state.
    Device {
        /// Which.
        device: Name,
        /// Before.
        from: &'static str,
        /// Now.
        to: &'static str,
    },
    /// Updates of a device were decided on.
    Updates {
        /// Whose.
        device: Name,
        /// How many counted.
        counted: u64,
        /// How many did not.
        refused: u64,
        /// The model's version after them.
        version: u64,
    },
    /// A device lost tasks.
    Lost {
        /// Which.
        device: Name,
        /// How many.
        tasks: u64,
    },
    /// Messages were turned away.
    TurnedAway {
        /// Why.
        reason: String,
        /// How many.
        messages: u64,
    },
    /// A model was tested.
    Tested {
        /// Its version.
        version: u64,
        /// Share of right answers, 0 to 1.
        top1: f64,
        /// Mean cross-entropy; none for a model that has diverged.
        loss: Option<f64>,
    },
    /// Something went wrong.
    Trouble {
        /// What, in words.
        text: String,
    },
    /// The run is over.
    RunFinished {
        /// Why.
        reason: String,
    },
}

impl Change {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Lost { .. } | Self::TurnedAway { .. } | Self::Trouble { .. } => Level::Warning,
            Self::Coordinator { state } if *state != Coordinator::Running => Level::Warning,
            Self::Device { to, .. } if *to == "revoked" => Level::Warning,
            Self::Updates { refused, .. } if *refused > 0 => Level::Warning,
            _ => Level::Info,
        }
    }
}

/// What lies between two looks; all that is so, for the first one at a run.
pub fn between(before: Option<&Standing>, now: &Standing) -> Vec<Change> {
    let status = &now.status;
    let before = before.filter(|before| before.status.run == status.run);
    let mut changes = Vec::new();
    if before.is_none() {
        changes.push(Change::Run {
            run: status.run.clone(),
            samples: status.samples,
            budget_samples: status.budget_samples,
        });
    }
    if before.is_none_or(|before| before.coordinator != now.coordinator) {
        changes.push(Change::Coordinator {
            state: now.coordinator,
        });
    }
    let before = before.map(|before| &before.status);
    let added = before
        .into_iter()
        .flat_map(|before| status.added_since(before));
    changes.extend(added.map(|(device, this)| Change::Added {
        device: device.clone(),
        run: if this { "this" } else { "next" },
    }));
    for (place, device) in status.devices.iter().enumerate() {
        let earlier = before.and_then(|before| before.devices.get(place));
        let (from, to) = (earlier.map_or("away", state), state(device));
        if from != to {
            changes.push(Change::Device {
                device: device.name.clone(),
                from,
                to,
            });
        }
        // What a run that is found under way has behind it is no news.
        let Some(earlier) = earlier else { continue };
        let counted = device.counted.saturating_sub(earlier.counted);
        let refused = device.refused.saturating_sub(earlier.refused);
        if counted + refused > 0 {
            changes.push(Change::Updates {
                device: device.name.clone(),
                counted,
                refused,
                version: status.version,
            });
        }
        let tasks = device.lost.saturating_sub(earlier.lost);
        if tasks > 0 {
            changes.push(Change::Lost {
                device: device.name.clone(),
                tasks,
            });
        }
    }
    for (reason, count) in &status.turned {
        // A coordinator that was started again counts from 0.
        let earlier = before.and_then(|before| before.turned.get(reason)).copied();
        let messages = count.checked_sub(earlier.unwrap_or(0)).unwrap_or(*count);
        if messages > 0 {
            changes.push(Change::TurnedAway {
                reason: reason.clone(),
                messages,
            });
        }
    }
    let tested_before = before.and_then(|before| before.tested);
    if let Some(tested) = status.tested.filter(|_| status.tested != tested_before) {
        changes.push(Change::Tested {
            version: tested.version,
            top1: tested.top1,
            loss: tested.loss,
        });
    }
    let news = |get: fn(&Status) -> &Option<String>| {
        let text = get(status).clone()?;
        let old = before.and_then(|before| get(before).as_ref());
        (old != Some(&text)).then_some(text)
    };
    changes.extend(news(|status| &status.trouble).map(|text| Change::Trouble { text }));
    changes.extend(news(|status| &status.finished).map(|reason| Change::RunFinished { reason }));
    changes
}

/// Looks at a fleet again and again, until it is dropped.
pub struct Follower {
    end: Option<Sender<()>>,
    looker: Option<JoinHandle<()>>,
}

impl Follower {
    /// Tells what happens to a fleet from now on.
    pub fn of(fleet: Fleet, mut told: impl FnMut(&Change) + Send + 'static) -> Self {
        let (end, ended) = channel::<()>();
        let looker = move || {
            let mut before = None;
            loop {
                let last = ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                // A file that cannot be read now may be there at the next look.
                if let Ok(Some(now)) = Standing::read(&fleet) {
                    between(before.as_ref(), &now).iter().for_each(&mut told);
                    before = Some(now);
                }
                if last {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("fleet".to_owned());
        Self {
            end: Some(end),
            looker: thread.spawn(looker).ok(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(looker) = self.looker.take() {
            let _ = looker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::standing::tests::standing;

    #[test]
    fn the_first_look_tells_how_things_are_and_the_next_one_nothing_new() {
        let now = standing(Coordinator::Running);
        let first = between(None, &now);
        let events = |changes: &[Change]| -> Vec<String> {
            let name = |change| serde_json::to_value(change).unwrap()["event"].to_string();
            changes.iter().map(name).collect()
        };
        assert_eq!(
            events(&first),
            [
                "\"run\"",
                "\"coordinator\"",
                "\"device\"",
                "\"device\"",
                "\"device\"",
                "\"turned-away\"",
                "\"turned-away\"",
                "\"tested\""
            ]
        );
        assert_eq!(between(Some(&now), &now), []);
    }

    #[test]
    fn what_happens_between_two_looks_is_told_with_its_level() {
        let before = standing(Coordinator::Running);
        let mut now = before.clone();
        now.coordinator = Coordinator::Busy;
        now.status.version = 23;
        let devices = &mut now.status.devices;
        devices[0].counted += 2;
        devices[1].refused += 1;
        devices[1].presence = fedact_fleet::engine::Presence::Away;
        devices[1].lost += 1;
        now.status.turned.insert("replayed".into(), 3);
        now.status.trouble = Some("pi-3 gave task 9 back".into());
        now.status.finished = Some("budget-spent".into());
        let told: Vec<_> = between(Some(&before), &now)
            .iter()
            .map(|change| (change.level(), serde_json::to_value(change).unwrap()))
            .collect();
        let (info, warning) = (Level::Info, Level::Warning);
        assert_eq!(
            told,
            [
                (warning, json!({"event": "coordinator", "state": "busy"})),
                (
                    info,
                    json!({"event": "updates", "device": "nano-1", "counted": 2, "refused": 0, "version": 23})
                ),
                (
                    info,
                    json!({"event": "device", "device": "pi-3", "from": "there", "to": "away"})
                ),
                (
                    warning,
                    json!({"event": "updates", "device": "pi-3", "counted": 0, "refused": 1, "version": 23})
                ),
                (
                    warning,
                    json!({"event": "lost", "device": "pi-3", "tasks": 1})
                ),
                (
                    warning,
                    json!({"event": "turned-away", "reason": "replayed", "messages": 2})
                ),
                (
                    warning,
                    json!({"event": "trouble", "text": "pi-3 gave task 9 back"})
                ),
                (
                    info,
                    json!({"event": "run-finished", "reason": "budget-spent"})
                ),
            ]
        );
    }

    #[test]
    fn devices_that_were_added_are_told_once_with_the_run_that_they_take_part_in() {
        let before = standing(Coordinator::Running);
        let mut now = before.clone();
        let mut device = now.status.devices[2].clone();
        device.name = Name::new("pi-5").unwrap();
        device.revoked = false;
        now.status.devices.push(device);
        now.status.next_run = vec![Name::new("pi-6").unwrap()];
        let told = serde_json::to_value(between(Some(&before), &now)).unwrap();
        let expected = json!([
            {"event": "added", "device": "pi-5", "run": "this"},
            {"event": "added", "device": "pi-6", "run": "next"},
        ]);
        assert_eq!(told, expected);
        assert_eq!(between(Some(&now), &now), []);
    }

    #[test]
    fn a_coordinator_that_was_started_again_counts_what_it_turns_away_anew() {
        let before = standing(Coordinator::Running);
        let mut now = before.clone();
        now.status.turned = [("wrong-signature".to_owned(), 1)].into();
        let again = Change::TurnedAway {
            reason: "wrong-signature".into(),
            messages: 1,
        };
        assert_eq!(between(Some(&before), &now), [again]);
    }
}
