//! Whose turn it is where fewer clients work at a time than could.
//!
//! FedBuff (arXiv 2106.06639) calls that number the concurrency: the more clients work at a time, the more versions are
//! made while each of them works, and the staler is what it brings. Turns go to the clients that have worked the shortest
//! time so far. Each then works the same share of the time as with all at once, a fast one on more tasks than a slow
//! one, and none is left out.

use serde::{Deserialize, Serialize};

use super::state::OpenTask;
use super::{Action, Aggregator, BUFFER, ClientId, TaskId};

/// A client's place in the line of those that wait for work; the least is the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Turn {
    worked_microseconds: u64,
    /// Where nobody has a clock, whoever worked last comes last.
    last_closed: Option<TaskId>,
    client: ClientId,
}

impl Aggregator {
    /// Closes a client's task, if it has one, and books the time that it took.
    pub(super) fn close_task(&mut self, client: ClientId) -> Option<OpenTask> {
        let now = self.state.now;
        let state = &mut self.state.clients[client];
        let task = state.task.take()?;
        state.worked_microseconds += ((now - task.sent_at).max(0.0) * 1e6) as u64;
        self.state.working -= 1;
        Some(task)
    }

    /// Puts a client that is ready into the line.
    pub(super) fn join_the_line(&mut self, client: ClientId) {
        if self.config.concurrency.is_some() {
            let turn = self.turn(client);
            self.state.line.insert(turn);
        }
    }

    /// Takes a client out of the line, before anything about it changes.
    pub(super) fn leave_the_line(&mut self, client: ClientId) {
        let turn = self.turn(client);
        self.state.line.remove(&turn);
    }

    /// Gives ordinary tasks to the first in the line, until so many clients work.
    pub(super) fn send_in_turn(&mut self, concurrency: usize, actions: &mut Vec<Action>) {
        while self.state.working < concurrency
            && let Some(turn) = self.state.line.pop_first()
        {
            let samples = self.config.clients[turn.client].samples_per_task;
            self.send(turn.client, BUFFER, samples, actions);
        }
    }

    fn turn(&self, client: ClientId) -> Turn {
        let state = &self.state.clients[client];
        Turn {
            worked_microseconds: state.worked_microseconds,
            last_closed: state.last_closed,
            client,
        }
    }
}
