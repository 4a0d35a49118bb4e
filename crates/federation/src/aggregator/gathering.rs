//! Changes gathered in a round, a buffer or a group, and the version that they make.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::Contribution;
use super::{Action, Aggregator, BUFFER, ClientId, Contents, Update};
use crate::clock::derived_rng;
use crate::purpose;
use crate::strategy::{Combined, Strategy, Work};
use crate::validation::Refusal;
use crate::vector;

impl Aggregator {
    /// Takes a change into what is gathered under a number.
    pub(super) fn gather(&mut self, gathering: u64, update: Update, staleness: u64) {
        let client = &mut self.state.clients[update.client];
        self.state.counted_samples += self.config.capped_samples(update.samples);
        let since = self.state.counted_samples - client.counted_until;
        client.counted_until = self.state.counted_samples;
        let weight = self.weight(&update, staleness, since);
        let (Contents::Change(mut change) | Contents::Parameters(mut change)) = update.contents;
        if let Strategy::Cached(_) = self.config.strategy {
            change = self.memory.replace(update.client, change);
        }
        if self.config.strategy.combination().is_sum() {
            self.memory.add(gathering, change, weight);
        } else {
            if weight != 1.0 {
                vector::scale(&mut change, weight);
            }
            let held = self.memory.held.entry(gathering).or_default();
            held.push(Arc::new(change));
        }
        let contributions = self.state.gathered.entry(gathering).or_default();
        contributions.push(Contribution {
            client: update.client,
            task: update.task,
            base_version: update.base_version,
            staleness,
            weight,
        });
    }

    /// What a change is multiplied by before it is combined with others; `since` are the samples that have counted since
    /// its client's last.
    fn weight(&self, update: &Update, staleness: u64, since: u64) -> f64 {
        let capped = |samples: u64| self.config.capped_samples(samples) as f64;
        match &self.config.strategy {
            Strategy::FedAsync(_) | Strategy::Cached(_) => 1.0,
            // A bound on what one client does to the sum, and a rule that counts heads, leave no room for
            // samples.
            Strategy::FedAvg(fedavg) if fedavg.step.privacy.is_some() => 1.0,
            Strategy::FedAvg(fedavg) if !fedavg.step.combination.is_sum() => 1.0,
            Strategy::FedAvg(_) => capped(update.samples),
            Strategy::FedBuff(fedbuff) => {
                let step = &fedbuff.step;
                let of_staleness = fedbuff.weight(staleness);
                if step.privacy.is_some() || !step.combination.is_sum() {
                    return of_staleness;
                }
                let work = Work {
                    own: self.config.capped_samples(update.samples),
                    all: self.capped_samples,
                    clients: self.config.clients.len(),
                    since,
                };
                of_staleness * fedbuff.update_weights.weight(&work, fedbuff.size)
            }
            Strategy::FedCompass(compass) => {
                let ordinary = self.config.clients[update.client].samples_per_task;
                let share = capped(ordinary) / self.capped_samples.max(1) as f64;
                share * compass.weight(staleness)
            }
        }
    }

    /// What the weighted sum is divided by.
    fn divisor(&self, contributions: &[Contribution]) -> f64 {
        match &self.config.strategy {
            Strategy::FedAsync(_) | Strategy::FedCompass(_) | Strategy::Cached(_) => 1.0,
            // Fixed beforehand, so that it tells nothing of who was there.
            Strategy::FedAvg(fedavg) if fedavg.step.privacy.is_some() => {
                fedavg.round_size(self.config.clients.len()).1 as f64
            }
            Strategy::FedAvg(_) => contributions.iter().map(|one| one.weight).sum(),
            Strategy::FedBuff(fedbuff) => fedbuff.size as f64,
        }
    }

    /// Makes the next version of what was gathered under a number; of nothing, none.
    pub(super) fn make_version(&mut self, gathering: u64, actions: &mut Vec<Action>) {
        let Some(contributions) = self.state.gathered.remove(&gathering) else {
            return;
        };
        let divisor = self.divisor(&contributions);
        let Some(combined) = self.combine(gathering, &contributions, divisor) else {
            return;
        };
        let stalest = contributions.iter().map(|one| one.staleness).max();
        self.config.strategy.optimizer().step(
            Arc::make_mut(&mut self.parameters).as_mut_slice(),
            &combined.change,
            stalest.unwrap_or(0),
            &mut self.memory.optimizer,
        );
        self.next_version();
        self.account(&contributions);
        let is_sum = self.config.strategy.combination().is_sum();
        let kept = combined.kept.len().max(1) as f64;
        for (place, one) in contributions.into_iter().enumerate() {
            if combined.kept.binary_search(&place).is_err() {
                *self.state.refusals.entry(Refusal::Outlier).or_default() += 1;
                actions.push(Action::Refused {
                    client: one.client,
                    task: one.task,
                    base_version: one.base_version,
                    reason: Refusal::Outlier,
                });
                continue;
            }
            actions.push(Action::Mixed {
                client: one.client,
                task: one.task,
                base_version: one.base_version,
                version: self.state.version,
                staleness: one.staleness,
                weight: one.weight / if is_sum { divisor } else { kept },
            });
        }
    }

    /// The one change that gathered ones become. Nothing if they weigh nothing.
    fn combine(
        &mut self,
        gathering: u64,
        contributions: &[Contribution],
        divisor: f64,
    ) -> Option<Combined> {
        let rule = self.config.strategy.combination();
        if !rule.is_sum() {
            return rule.of(&self.memory.held.remove(&gathering)?);
        }
        let mut sum = Arc::unwrap_or_clone(self.memory.sums.remove(&gathering)?);
        let kept = (0..contributions.len()).collect();
        if let Strategy::Cached(cached) = &self.config.strategy {
            let length = sum.len();
            let total = self
                .memory
                .total
                .get_or_insert_with(|| Arc::new(vec![0.0; length]));
            let clients = self.config.clients.len();
            let (arrived, heard) = (contributions.len(), self.memory.last.len());
            let change = cached.calibrate(total, &sum, arrived, clients, heard);
            vector::add_scaled(Arc::make_mut(total).as_mut_slice(), &sum, 1.0);
            return Some(Combined { change, kept });
        }
        if let Some(privacy) = self.config.strategy.privacy() {
            let words = [purpose::PRIVACY_NOISE, self.state.version];
            privacy.add_noise(&mut sum, &mut derived_rng(self.config.seed, &words));
        }
        if divisor <= 0.0 {
            return None;
        }
        if divisor != 1.0 {
            vector::scale(&mut sum, 1.0 / divisor);
        }
        Some(Combined { change: sum, kept })
    }

    /// Books what a version tells of each client.
    fn account(&mut self, contributions: &[Contribution]) {
        if self.config.strategy.privacy().is_none() {
            return;
        }
        let mut counts: BTreeMap<ClientId, u64> = BTreeMap::new();
        for one in contributions {
            *counts.entry(one.client).or_default() += 1;
        }
        for (client, count) in counts {
            self.state.clients[client].squared_contributions += count * count;
        }
    }

    /// Puts everything that was gathered under one number.
    pub(super) fn merge_gathered(&mut self) {
        let all: Vec<u64> = self.state.gathered.keys().copied().collect();
        for gathering in all {
            self.merge(gathering, BUFFER);
        }
        self.state.groups.clear();
    }

    pub(super) fn merge(&mut self, from: u64, into: u64) {
        if from == into {
            return;
        }
        if let Some(contributions) = self.state.gathered.remove(&from) {
            let own = self.state.gathered.entry(into).or_default();
            own.extend(contributions);
            self.memory.merge(from, into);
        }
    }
}
