//! The rounds of FedAvg.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;

use super::state::Round;
use super::{Action, Aggregator, ClientId};
use crate::clock::derived_rng;
use crate::purpose;
use crate::strategy::FedAvg;

impl Aggregator {
    pub(super) fn close_round_if_answered(&mut self, actions: &mut Vec<Action>) {
        let complete = self.state.round.as_ref().is_some_and(|round| {
            round.answered >= round.wanted || (round.waiting.is_empty() && round.working.is_empty())
        });
        if complete {
            self.close_round(actions);
        }
    }

    /// Makes what the round has gathered the next version; without any update the version stays.
    pub(super) fn close_round(&mut self, actions: &mut Vec<Action>) {
        if let Some(round) = self.state.round.take() {
            self.make_version(round.number, actions);
        }
    }

    /// Gives work to those that the open round waits for; opens one if there is none.
    pub(super) fn send_in_round(
        &mut self,
        fedavg: &FedAvg,
        readied: Option<ClientId>,
        actions: &mut Vec<Action>,
    ) {
        let (mut round, candidates) = match self.state.round.take() {
            Some(round) => (round, readied.into_iter().collect()),
            None => {
                let round = self.open_round(fedavg);
                actions.push(Action::RoundOpened {
                    round: round.number,
                    asked: round.waiting.len(),
                });
                let asked: Vec<ClientId> = round.waiting.iter().copied().collect();
                (round, asked)
            }
        };
        for client in candidates {
            if round.waiting.contains(&client) && self.state.clients[client].ready {
                round.waiting.remove(&client);
                round.working.insert(client);
                let samples = self.config.clients[client].samples_per_task;
                self.send(client, round.number, samples, actions);
            }
        }
        self.state.round = Some(round);
    }

    fn open_round(&mut self, fedavg: &FedAvg) -> Round {
        let number = self.state.next_round;
        self.state.next_round += 1;
        let mut clients: Vec<ClientId> = (0..self.state.clients.len()).collect();
        let (asked, wanted) = fedavg.round_size(clients.len());
        if asked < clients.len() {
            let mut rng = derived_rng(self.config.seed, &[purpose::ROUND_SELECTION, number]);
            clients.shuffle(&mut rng);
            clients.truncate(asked);
        }
        Round {
            number,
            waiting: clients.into_iter().collect(),
            working: BTreeSet::new(),
            wanted,
            answered: 0,
        }
    }
}
