//! Bars, for a terminal: one a step, with lines for what is over above them.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Change, Tracked};

/// How often the spinners turn.
const TICK: Duration = Duration::from_millis(120);
const KNOWN: &str = "{spinner} {prefix:14} {bar:24} {wide_msg}";
const UNKNOWN: &str = "{spinner} {prefix:14} {wide_msg}";

/// Draws bars until dropped.
pub struct Bars {
    multi: MultiProgress,
    going: BTreeMap<String, (ProgressBar, Tracked)>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            multi: MultiProgress::new(),
            going: BTreeMap::new(),
        }
    }

    pub(super) fn change(&mut self, name: &str, change: Change<'_>) {
        match change {
            Change::Begin | Change::Advance { .. } => {
                let multi = &self.multi;
                let (bar, tracked) = self.going.entry(name.to_owned()).or_insert_with(|| {
                    let bar = multi.add(ProgressBar::no_length());
                    bar.set_prefix(name.to_owned());
                    bar.set_style(style(UNKNOWN));
                    bar.enable_steady_tick(TICK);
                    (bar, Tracked::new())
                });
                let known = tracked.total > 0;
                tracked.change(&change);
                if known != (tracked.total > 0) {
                    bar.set_style(style(if known { UNKNOWN } else { KNOWN }));
                }
                if tracked.total > 0 {
                    bar.set_length(tracked.total);
                    bar.set_position(tracked.done);
                }
                bar.set_message(tracked.words());
            }
            Change::End => {
                if let Some((bar, _)) = self.going.remove(name) {
                    bar.finish_and_clear();
                    self.multi.remove(&bar);
                }
            }
            Change::EndAll => self.clear(),
        }
    }

    pub(super) fn say(&self, text: &str) {
        for line in text.lines() {
            // A terminal that has gone away needs no lines.
            let _ = self.multi.println(line);
        }
    }

    fn clear(&mut self) {
        for (bar, _) in std::mem::take(&mut self.going).into_values() {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
