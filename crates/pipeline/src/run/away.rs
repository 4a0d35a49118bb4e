//! Results that an exchange has: asked for, left where they are, fetched; and what is told it at the end.

use std::sync::Arc;

use fedact_artifact::{Action, Digest};

use super::{PULSE, Progress, Scheduler, spawn};
use crate::PipelineError;
use crate::event::RunEvent;
use crate::queue::Prepared;
use crate::work::{Ending, Fetch};

/// How many questions and results at most are on their way at once.
const EXCHANGING: usize = 16;

impl Scheduler<'_> {
    /// Whether as much is on its way as may be.
    pub(super) fn exchange_is_busy(&self) -> bool {
        self.exchanging == EXCHANGING
    }

    /// Asks the exchange for a key, on a thread of its own: an answer takes a while, and others have their turn
    /// meanwhile.
    pub(super) fn ask(&mut self, index: usize, key: Digest) -> Result<(), PipelineError> {
        let Some(exchange) = self.records.exchange().cloned() else {
            return Ok(());
        };
        let step = self.graph.nodes()[index].name.clone();
        self.set(index, Progress::Asking);
        spawn(&self.workshop, &step, move || Ending::Answered {
            key,
            claim: exchange.find(&key).map(Box::new),
        })
    }

    /// The answer is there: the step is looked at again.
    pub(super) fn answered(&mut self, index: usize, key: Digest, claim: Option<Action>) {
        self.records.note_claim(key, claim);
        self.set(index, Progress::Waiting);
    }

    /// A step whose result the exchange has: it is fetched if somebody wants it, and otherwise stays there. Says
    /// whether it is over.
    pub(super) fn take_from_exchange(
        &mut self,
        index: usize,
        prepared: &Prepared,
        claim: &Action,
    ) -> Result<bool, PipelineError> {
        let step = self.graph.nodes()[index].name.clone();
        if !self.wanted.contains(&step) {
            self.leave_away(index, step, claim);
            return Ok(true);
        }
        let Some(exchange) = self.records.exchange().cloned() else {
            return Ok(false);
        };
        if self.exchange_is_busy() {
            return Ok(false);
        }
        if let Some(lock) = self.lock(index, &prepared.key)? {
            let key = prepared.key;
            self.set(index, Progress::Fetching { key });
            let fetch = Fetch {
                step: step.clone(),
                action: claim.clone(),
                again: prepared.forced,
            };
            let workshop = self.workshop.clone();
            spawn(&self.workshop, &step, move || {
                workshop.fetch(exchange.as_ref(), &fetch, lock)
            })?;
        }
        Ok(false)
    }

    /// To know what it is, is enough for now.
    fn leave_away(&mut self, index: usize, step: String, claim: &Action) {
        (self.observe)(RunEvent::Remote {
            step: step.clone(),
            key: claim.key,
            output: claim.output,
        });
        self.contents.steps.insert(step.clone(), claim.output);
        self.assumed.insert(index, claim.output);
        self.actions.insert(step, claim.clone().into());
        self.set(index, Progress::Away);
    }

    /// A step is about to run: what it reads and is not here is wanted now. Says whether there was any.
    pub(super) fn call_for_inputs(&mut self, index: usize) -> bool {
        let graph = self.graph;
        let away: Vec<(usize, &str)> = graph.nodes()[index]
            .upstream()
            .filter_map(|step| Some((graph.index(step)?, step)))
            .filter(|(index, _)| self.states[*index] == Progress::Away)
            .collect();
        for (index, step) in &away {
            self.wanted.insert((*step).to_owned());
            self.contents.steps.remove(*step);
            self.set(*index, Progress::Waiting);
        }
        !away.is_empty()
    }

    /// The exchange did not give what it had claimed: as if it had never claimed it.
    pub(super) fn not_to_be_had(&mut self, index: usize, key: Digest) {
        self.records.note_claim(key, None);
        self.set(index, Progress::Waiting);
    }

    /// A step is done that others were planned with before. If its output is not what it was taken for, those
    /// behind it are looked at again.
    pub(super) fn check_assumption(&mut self, index: usize, output: Digest) {
        let assumed = self.assumed.remove(&index);
        if assumed.is_none_or(|assumed| assumed == output) {
            return;
        }
        for next in self.queue.behind(index).to_vec() {
            match self.states[next] {
                Progress::Done | Progress::Away => {}
                Progress::Restoring { .. } | Progress::Fetching { .. } => {
                    self.outdated.insert(next);
                    continue;
                }
                _ => continue,
            }
            let step = &self.graph.nodes()[next].name;
            if let Some(output) = self.contents.steps.remove(step) {
                self.assumed.insert(next, output);
            }
            self.outcome.forget(step);
            self.set(next, Progress::Waiting);
        }
    }

    /// Others may have it, too.
    pub(super) fn share(&self, action: &Action) {
        if let Some(exchange) = self.records.exchange() {
            exchange.share(action);
        }
    }

    /// Passes on what is to be said about the exchange.
    pub(super) fn pass_on_warnings(&mut self) {
        let Some(exchange) = self.records.exchange() else {
            return;
        };
        for text in exchange.take_warnings() {
            (self.observe)(RunEvent::Warning { text });
        }
    }

    /// Waits for the results that are still on their way to the exchange, unless the user wants an end.
    pub(super) fn wait_for_uploads(&mut self) {
        let Some(exchange) = self.records.exchange().map(Arc::clone) else {
            return;
        };
        let mut told = 0;
        let mut shared = exchange.shared();
        while shared.waiting > 0 && !self.settings.stop.asked() {
            if std::mem::replace(&mut told, shared.waiting) != shared.waiting {
                let results = shared.waiting;
                (self.observe)(RunEvent::Sharing { results });
            }
            std::thread::sleep(PULSE);
            shared = exchange.shared();
        }
        self.outcome.shared = shared.sent;
        self.outcome.unshared = shared.waiting;
        self.pass_on_warnings();
    }
}
