//! How long a run may take: the plan played through with the times of past runs.

use std::collections::HashMap;

use serde::Serialize;

use crate::queue::Queue;
use crate::shares::{Capacity, Share};
use crate::{Graph, Plan};

/// How long a run may take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Wall seconds if every step that may have to run does, takes as long as the last time, and runs beside
    /// the others as far as cores and memory reach. Steps without a time of their own count as long as the
    /// instances of the same step do on average.
    pub seconds: f64,
    /// Steps that may have to run and of which no time is known: they are not counted.
    pub unknown: Vec<String>,
}

impl Estimate {
    /// Plays a plan of this graph through.
    pub fn of(graph: &Graph, plan: &Plan, capacity: Capacity) -> Self {
        let mut unknown = Vec::new();
        let averages = averages(graph, plan);
        let durations: Vec<f64> = graph
            .nodes()
            .iter()
            .zip(&plan.steps)
            .map(|(node, planned)| {
                if planned.state.is_made() {
                    return 0.0;
                }
                let average = || averages.get(node.step.as_str()).copied();
                planned.last_seconds.or_else(average).unwrap_or_else(|| {
                    unknown.push(node.name.clone());
                    0.0
                })
            })
            .collect();
        Self {
            seconds: makespan(graph, &durations, capacity),
            unknown,
        }
    }
}

/// The mean time of the instances of each step of the file.
fn averages<'g>(graph: &'g Graph, plan: &Plan) -> HashMap<&'g str, f64> {
    let mut sums: HashMap<&str, (f64, f64)> = HashMap::new();
    for (node, planned) in graph.nodes().iter().zip(&plan.steps) {
        if let Some(seconds) = planned.last_seconds {
            let (sum, count) = sums.entry(&node.step).or_default();
            *sum += seconds;
            *count += 1.0;
        }
    }
    sums.into_iter()
        .map(|(step, (sum, count))| (step, sum / count))
        .collect()
}

/// When the last step ends, if each starts as soon as the scheduler would let it.
fn makespan(graph: &Graph, durations: &[f64], capacity: Capacity) -> f64 {
    let mut queue = Queue::of(graph);
    let mut running: Vec<(f64, usize, Share)> = Vec::new();
    let mut now = 0.0;
    loop {
        let mut at_once = false;
        for index in queue.ready() {
            if durations[index] == 0.0 {
                queue.done(index);
                at_once = true;
                continue;
            }
            let taken: Vec<Share> = running.iter().map(|(.., share)| *share).collect();
            if let Some(share) = capacity.share(graph.nodes()[index].needs, &taken) {
                queue.take(index);
                running.push((now + durations[index], index, share));
            }
        }
        if at_once {
            continue;
        }
        let first = running
            .iter()
            .enumerate()
            .min_by(|(_, one), (_, other)| one.0.total_cmp(&other.0))
            .map(|(at, _)| at);
        let Some(first) = first else {
            return now;
        };
        let (end, index, _) = running.remove(first);
        now = end;
        queue.done(index);
    }
}
