//! When a device takes part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a device takes part: at certain times of a period that repeats, as in a night on the charger. A task that has not ended when its
/// device leaves is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Availability {
    /// Virtual seconds after which the windows come again; a day, if left out.
    #[serde(default = "a_day")]
    pub every_seconds: f64,
    /// From when to when in each period, in virtual seconds since its begin: ascending, not overlapping. The run begins with a period.
    pub windows: Vec<[f64; 2]>,
    /// Each client's windows are later by a time of its own between 0 and this many virtual seconds, because not all live alike.
    #[serde(default)]
    pub spread_seconds: f64,
}

fn a_day() -> f64 {
    86_400.0
}

impl Availability {
    /// What is wrong with it, if anything: the key, the value and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let every = self.every_seconds;
        if !(every.is_finite() && every > 0.0) {
            return Some((
                "availability.every_seconds",
                every,
                "a finite number above 0",
            ));
        }
        if !(0.0..=every).contains(&self.spread_seconds) {
            let value = self.spread_seconds;
            return Some((
                "availability.spread_seconds",
                value,
                "between 0 and `every_seconds`",
            ));
        }
        const KEY: &str = "availability.windows";
        if self.windows.is_empty() {
            return Some((KEY, 0.0, "at least one window"));
        }
        let mut last = f64::NEG_INFINITY;
        for [from, to] in &self.windows {
            if !(*from >= 0.0 && *from > last) {
                return Some((
                    KEY,
                    *from,
                    "0 or more, and later than the window before ends",
                ));
            }
            if !(to > from && *to <= every) {
                return Some((
                    KEY,
                    *to,
                    "later than its window begins, and within `every_seconds`",
                ));
            }
            last = *to;
        }
        let [first, _] = self.windows[0];
        (last - first >= every).then_some((
            KEY,
            last,
            "less than always; leave `availability` out for that",
        ))
    }

    /// The window that is open at `time`, or the next one: from when to when, as virtual times. `shift` is the client's own delay.
    pub fn window(&self, time: f64, shift: f64) -> (f64, f64) {
        let period = ((time - shift) / self.every_seconds).floor();
        [period, period + 1.0]
            .into_iter()
            .flat_map(|period| {
                let begin = period * self.every_seconds + shift;
                self.windows
                    .iter()
                    .map(move |[from, to]| (begin + from, begin + to))
            })
            .find(|(_, to)| *to > time)
            .unwrap_or((time, f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Catalogue;

    /// Two windows of a day that begins at noon, in hours: from 22 to 6, and from 9 to 10.
    fn nights() -> Availability {
        let hour = 3600.0;
        Availability {
            every_seconds: 24.0 * hour,
            windows: vec![[10.0 * hour, 18.0 * hour], [21.0 * hour, 22.0 * hour]],
            spread_seconds: 0.0,
        }
    }

    #[test]
    fn the_window_is_the_open_one_or_the_next_in_this_period_or_the_one_after() {
        let hours = |time: f64, shift: f64| {
            let (from, to) = nights().window(time * 3600.0, shift * 3600.0);
            (from / 3600.0, to / 3600.0)
        };
        assert_eq!(hours(0.0, 0.0), (10.0, 18.0));
        assert_eq!(hours(17.9, 0.0), (10.0, 18.0));
        assert_eq!(hours(18.0, 0.0), (21.0, 22.0));
        assert_eq!(hours(22.0, 0.0), (34.0, 42.0));
        assert_eq!(
            hours(24.0 * 9.0 + 11.0, 0.0),
            (24.0 * 9.0 + 10.0, 24.0 * 9.0 + 18.0)
        );
        // Five hours later than the others: the second window of the day before is still to come.
        assert_eq!(hours(1.0, 5.0), (2.0, 3.0));
        assert_eq!(hours(4.0, 5.0), (15.0, 23.0));
    }

    #[test]
    fn impossible_windows_are_found() {
        let fault = |change: fn(&mut Availability)| {
            let mut profile = Catalogue::built_in().profile("phone").unwrap().clone();
            let mut availability = nights();
            change(&mut availability);
            profile.availability = Some(availability);
            profile.fault().map(|(key, ..)| key)
        };
        assert_eq!(fault(|_| {}), None);
        let windows = Some("availability.windows");
        assert_eq!(fault(|nights| nights.windows.clear()), windows);
        assert_eq!(fault(|nights| nights.windows.swap(0, 1)), windows);
        assert_eq!(fault(|nights| nights.windows[1][1] = 90_000.0), windows);
        assert_eq!(
            fault(|nights| nights.windows = vec![[0.0, 86_400.0]]),
            windows
        );
        assert_eq!(fault(|nights| nights.windows[0][0] = f64::NAN), windows);
        assert_eq!(
            fault(|nights| nights.every_seconds = 0.0),
            Some("availability.every_seconds")
        );
        assert_eq!(
            fault(|nights| nights.spread_seconds = -1.0),
            Some("availability.spread_seconds")
        );
    }
}
