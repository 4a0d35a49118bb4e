//! How far something is, and how long it will take.

use std::time::{Duration, Instant};

use super::Change;
use crate::output;

/// A rate taken over less than this says nothing.
const SETTLING: Duration = Duration::from_secs(1);

/// Something that is going on.
#[derive(Debug)]
pub struct Tracked {
    began: Instant,
    task: String,
    task_began: Instant,
    done_at_first: u64,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 where unknown.
    pub total: u64,
    unit: String,
    detail: String,
}

impl Tracked {
    /// Begun now.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            task: "starting".to_owned(),
            task_began: now,
            done_at_first: 0,
            done: 0,
            total: 0,
            unit: String::new(),
            detail: String::new(),
        }
    }

    /// Takes note of how far it is.
    pub fn change(&mut self, change: &Change<'_>) {
        let Change::Advance {
            task,
            done,
            total,
            unit,
            detail,
        } = change
        else {
            return;
        };
        if self.task != *task || *done < self.done {
            (*task).clone_into(&mut self.task);
            self.task_began = Instant::now();
            self.done_at_first = *done;
        }
        self.done = *done;
        self.total = *total;
        (*unit).clone_into(&mut self.unit);
        (*detail).clone_into(&mut self.detail);
    }

    /// All of it in words.
    pub fn words(&self) -> String {
        let mut parts = vec![self.task.clone()];
        if !self.unit.is_empty() {
            let count = match (self.unit.as_str(), self.total) {
                ("bytes", 0) => output::size(self.done),
                ("bytes", total) => {
                    format!("{} of {}", output::size(self.done), output::size(total))
                }
                (unit, 0) => format!("{} {unit}", self.done),
                (unit, total) => format!("{}/{total} {unit}", self.done),
            };
            parts[0] = format!("{} {count}", self.task).trim_start().to_owned();
        }
        if self.total > 0 {
            let share = self.done as f64 / self.total as f64;
            parts.push(format!("{:.0}%", share * 100.0));
        }
        if !self.detail.is_empty() {
            parts.push(self.detail.clone());
        }
        parts.push(match self.left() {
            Some(left) => format!("{} left", output::duration(left.as_secs_f64())),
            None => output::duration(self.began.elapsed().as_secs_f64()),
        });
        parts.join(", ")
    }

    /// How long the present task will take yet at the pace so far.
    fn left(&self) -> Option<Duration> {
        let elapsed = self.task_began.elapsed();
        let done = self.done.checked_sub(self.done_at_first)?;
        if done == 0 || self.total <= self.done || elapsed < SETTLING {
            return None;
        }
        let left = elapsed.as_secs_f64() * (self.total - self.done) as f64 / done as f64;
        Duration::try_from_secs_f64(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(done: u64) -> Change<'static> {
        Change::Advance {
            task: "training",
            done,
            total: 100,
            unit: "clips",
            detail: "epoch 1/2",
        }
    }

    #[test]
    fn the_time_left_follows_the_pace_since_the_task_began() {
        let mut tracked = Tracked::new();
        tracked.change(&advance(20));
        tracked.task_began -= Duration::from_secs(10);
        tracked.change(&advance(40));
        let left = tracked.left().unwrap().as_secs_f64();
        assert!((29.0..32.0).contains(&left), "{left}");
        assert!(
            tracked
                .words()
                .starts_with("training 40/100 clips, 40%, epoch 1/2, 3")
        );
    }

    #[test]
    fn without_a_pace_there_is_no_time_left() {
        let mut tracked = Tracked::new();
        tracked.change(&advance(20));
        assert_eq!(tracked.left(), None);
        assert!(tracked.words().ends_with("0.0 s"), "{}", tracked.words());
    }
}
