//! Which steps of a graph may start: those with nothing to wait for.
//!
//! Every step knows how many of those before it are not done yet, so that a step that ends concerns the steps
//! behind it and no others: a run of a thousand steps looks at each a few times.

use std::collections::BTreeSet;
use std::rc::Rc;

use fedact_artifact::{Action, Digest};

use crate::{Graph, Preimage};

/// A step whose inputs are known, looked up.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) preimage: Rc<Preimage>,
    pub(crate) key: Digest,
    /// It runs although the store has its result.
    pub(crate) forced: bool,
    /// Its result in the store.
    pub(crate) action: Option<Rc<Action>>,
    /// Its result in the exchange, where the store has none.
    pub(crate) claim: Option<Rc<Action>>,
}

/// The steps by what they wait for. Indices are those of the graph's nodes.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Those that take something from each.
    downstream: Vec<Vec<usize>>,
    /// How many of those before each are not done.
    missing: Vec<usize>,
    waiting: BTreeSet<usize>,
    ready: BTreeSet<usize>,
    /// Those that wait for something that will never be.
    blocked: BTreeSet<usize>,
    prepared: Vec<Option<Prepared>>,
}

impl Queue {
    /// All steps, none of them done.
    pub(crate) fn of(graph: &Graph) -> Self {
        let count = graph.nodes().len();
        let mut downstream = vec![Vec::new(); count];
        let mut missing = vec![0; count];
        for (index, node) in graph.nodes().iter().enumerate() {
            for upstream in node.upstream().filter_map(|step| graph.index(step)) {
                downstream[upstream].push(index);
                missing[index] += 1;
            }
        }
        Self {
            ready: (0..count).filter(|&index| missing[index] == 0).collect(),
            waiting: (0..count).collect(),
            blocked: BTreeSet::new(),
            prepared: vec![None; count],
            downstream,
            missing,
        }
    }

    /// The steps that may start, in the order of the graph.
    pub(crate) fn ready(&self) -> Vec<usize> {
        self.ready.iter().copied().collect()
    }

    pub(crate) fn is_ready(&self, index: usize) -> bool {
        self.ready.contains(&index)
    }

    /// Those that take something from it.
    pub(crate) fn behind(&self, index: usize) -> &[usize] {
        &self.downstream[index]
    }

    /// A waiting step that needs one that will not have an output.
    pub(crate) fn next_blocked(&mut self) -> Option<usize> {
        self.blocked.pop_first()
    }

    pub(crate) fn prepared(&self, index: usize) -> Option<Prepared> {
        self.prepared[index].clone()
    }

    pub(crate) fn remember(&mut self, index: usize, prepared: Prepared) {
        self.prepared[index] = Some(prepared);
    }

    /// It starts.
    pub(crate) fn take(&mut self, index: usize) {
        self.waiting.remove(&index);
        self.ready.remove(&index);
    }

    /// It is done: those behind it wait for one less.
    pub(crate) fn done(&mut self, index: usize) {
        self.take(index);
        for &next in &self.downstream[index] {
            self.missing[next] -= 1;
            if self.missing[next] == 0 && self.waiting.contains(&next) {
                self.ready.insert(next);
            }
        }
    }

    /// It will not have an output: those behind it will not either.
    pub(crate) fn give_up(&mut self, index: usize) {
        self.take(index);
        for &next in &self.downstream[index] {
            if self.waiting.contains(&next) {
                self.blocked.insert(next);
            }
        }
    }

    /// It has to start again; if it was done, those behind it wait for it again.
    pub(crate) fn put_back(&mut self, index: usize, was_done: bool) {
        self.waiting.insert(index);
        self.prepared[index] = None;
        if self.missing[index] == 0 {
            self.ready.insert(index);
        }
        if was_done {
            for &next in &self.downstream[index] {
                self.missing[next] += 1;
                self.ready.remove(&next);
                self.prepared[next] = None;
            }
        }
    }
}
