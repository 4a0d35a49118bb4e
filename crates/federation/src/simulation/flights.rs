//! Tasks between being sent and their end, and which of them are trained side by side.
//!
//! What a task makes of its base follows from the base and the assignment, and both are fixed when it is sent. So every task in
//! flight may be trained at any time before it arrives, and any number of them at once: the results are those of one after the other, bit
//! for bit. When a task arrives that has not been trained yet, it is, and together with it those that will arrive next, one for each of
//! the host's workers. Their results wait until they arrive.
//!
//! Not trained are tasks that their device will lose, and those before whose arrival others in flight will have spent the
//! budget. At the end of a run no more results are left over than there are clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assignment, Host, Training};
use crate::aggregator::TaskId;
use crate::clock::TaskTimes;

/// A task that was sent.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub assignment: Assignment,
    pub times: TaskTimes,
    pub base: Arc<Vec<f32>>,
    /// What it has made of the base, if that is computed already. No snapshot keeps it: it can be computed again.
    pub trained: Option<Vec<f32>>,
}

/// All tasks that were sent and have not ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(BTreeMap<TaskId, Flight>);

impl Flights {
    pub fn insert(&mut self, task: TaskId, flight: Flight) {
        self.0.insert(task, flight);
    }

    pub fn remove(&mut self, task: TaskId) -> Option<Flight> {
        self.0.remove(&task)
    }

    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Flight)> {
        self.0.iter().map(|(task, flight)| (*task, flight))
    }

    /// The task that has arrived, with what it has made of its base. `samples_left` is what the budget has left before it.
    pub fn land<H: Host>(
        &mut self,
        task: TaskId,
        samples_left: u64,
        host: &mut H,
    ) -> Result<Option<(Flight, Vec<f32>)>, H::Error> {
        if self
            .0
            .get(&task)
            .is_some_and(|flight| flight.trained.is_none())
        {
            let chosen = self.next(task, samples_left, host.workers());
            let flights = chosen.iter().filter_map(|task| self.0.get(task));
            let tasks: Vec<Training<'_>> = flights
                .map(|flight| Training {
                    assignment: &flight.assignment,
                    base: &flight.base,
                })
                .collect();
            let results = host.train_together(&tasks)?;
            for (task, result) in chosen.iter().zip(results) {
                if let Some(flight) = self.0.get_mut(task) {
                    flight.trained = Some(result);
                }
            }
        }
        let landed = self.0.remove(&task);
        Ok(landed.and_then(|mut flight| {
            let trained = flight.trained.take()?;
            Some((flight, trained))
        }))
    }

    /// `first`, and those that arrive after it and have not been trained, `most` in all.
    fn next(&self, first: TaskId, samples_left: u64, most: usize) -> Vec<TaskId> {
        let mut chosen = vec![first];
        if most <= 1 {
            return chosen;
        }
        let mut arriving: Vec<(TaskId, &Flight)> = self
            .iter()
            .filter(|(task, flight)| *task != first && flight.times.lost_at.is_none())
            .collect();
        // Stable: of those that arrive at the same time, the one that was sent first.
        arriving.sort_by(|(_, one), (_, other)| {
            one.times.upload_end.total_cmp(&other.times.upload_end)
        });
        let mut arrived = self
            .0
            .get(&first)
            .map_or(0, |flight| flight.assignment.samples);
        for (task, flight) in arriving {
            if chosen.len() == most || arrived >= samples_left {
                break;
            }
            arrived += flight.assignment.samples;
            if flight.trained.is_none() {
                chosen.push(task);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five tasks of ten samples that arrive in the order of `ends`; the fourth gets lost.
    fn flights(ends: [f64; 5]) -> Flights {
        let mut flights = Flights::default();
        for (client, upload_end) in ends.into_iter().enumerate() {
            let flight = Flight {
                assignment: Assignment {
                    client,
                    nth: 0,
                    samples_before: 0,
                    base_version: 0,
                    samples: 10,
                    progress: 0.0,
                },
                times: TaskTimes {
                    start: 0.0,
                    download_end: 0.1,
                    training_end: 0.2,
                    upload_end,
                    lost_at: (client == 3).then_some(0.15),
                },
                base: Arc::new(Vec::new()),
                trained: None,
            };
            flights.insert(client as u64, flight);
        }
        flights
    }

    #[test]
    fn those_that_arrive_next_are_trained_together_and_those_that_get_lost_are_not() {
        let flights = flights([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(flights.next(1, 1000, 1), [1]);
        assert_eq!(flights.next(1, 1000, 3), [1, 4, 2]);
        assert_eq!(flights.next(1, 1000, 9), [1, 4, 2, 0]);
    }

    #[test]
    fn what_will_not_arrive_before_the_budget_is_spent_is_not_trained() {
        let mut flights = flights([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(flights.next(1, 10, 9), [1]);
        assert_eq!(flights.next(1, 11, 9), [1, 4]);
        // What has been trained already takes its part of the budget all the same.
        flights.0.get_mut(&4).unwrap().trained = Some(Vec::new());
        assert_eq!(flights.next(1, 20, 9), [1]);
        assert_eq!(flights.next(1, 21, 9), [1, 2]);
    }
}
