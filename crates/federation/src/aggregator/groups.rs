//! The groups of FedCompass.

use std::collections::BTreeSet;

use super::state::{Group, OpenTask};
use super::{Action, Aggregator, ClientId, Update};
use crate::strategy::{Allotment, FedCompass, GroupTimes, Strategy};

/// Where changes wait that came after their group had closed, and the number that a client's first task has
/// in place of a group's.
const LATE: u64 = u64::MAX;

impl Aggregator {
    /// Takes a change into its group. One of a first task makes a version at once, and a late one counts with the next
    /// group that closes.
    pub(super) fn gather_in_group(
        &mut self,
        number: u64,
        update: Update,
        staleness: u64,
        actions: &mut Vec<Action>,
    ) {
        if let Some(group) = self.state.groups.get_mut(&number) {
            group.missing.remove(&update.client);
            group.arrived.insert(update.client);
            self.gather(number, update, staleness);
            return;
        }
        self.gather(LATE, update, staleness);
        if number == LATE {
            self.make_version(LATE, actions);
        }
    }

    /// Notes how long a client took for a sample of its task.
    pub(super) fn learn_pace(&mut self, client: ClientId, task: OpenTask) {
        let Strategy::FedCompass(compass) = &self.config.strategy else {
            return;
        };
        let seconds = self.state.now - task.sent_at;
        if seconds > 0.0 && task.samples > 0 {
            let client = &mut self.state.clients[client];
            client.pace = Some(compass.estimate(client.pace, seconds / task.samples as f64));
        }
    }

    /// The groups no longer wait for a client, nor does it for them.
    pub(super) fn leave_group(&mut self, client: ClientId) {
        for group in self.state.groups.values_mut() {
            group.missing.remove(&client);
            group.arrived.remove(&client);
        }
        self.state.regroup.remove(&client);
    }

    pub(super) fn close_complete_groups(&mut self, actions: &mut Vec<Action>) {
        let groups = self.state.groups.iter();
        let complete: Vec<u64> = groups
            .filter(|(_, group)| group.missing.is_empty())
            .map(|(number, _)| *number)
            .collect();
        for number in complete {
            self.close_group(number, actions);
        }
    }

    /// Makes a version of what a group and the late have brought, and lets its members be allotted anew.
    pub(super) fn close_group(&mut self, number: u64, actions: &mut Vec<Action>) {
        let Some(group) = self.state.groups.remove(&number) else {
            return;
        };
        // Without a change of its own a group leaves the late ones to the next.
        if self.state.gathered.contains_key(&number) {
            self.merge(LATE, number);
            self.make_version(number, actions);
        }
        self.state.regroup.extend(group.arrived);
    }

    /// Allots work to the client that has become ready unless it waits for its group, and to the members of a
    /// closed group, the fastest first, as soon as all of them are ready: the one whose update closed it says
    /// so a moment later.
    pub(super) fn send_in_groups(
        &mut self,
        compass: &FedCompass,
        readied: Option<ClientId>,
        actions: &mut Vec<Action>,
    ) {
        let ready = |client: &ClientId| self.state.clients[*client].ready;
        if self.state.regroup.iter().all(ready) {
            let mut members: Vec<ClientId> = std::mem::take(&mut self.state.regroup)
                .into_iter()
                .collect();
            members.sort_by(|a, b| {
                let pace = |client: &ClientId| self.state.clients[*client].pace.unwrap_or(0.0);
                pace(a).total_cmp(&pace(b))
            });
            for client in members {
                self.allot(compass, client, actions);
            }
        }
        if let Some(client) = readied {
            let mut groups = self.state.groups.values();
            let waits = self.state.regroup.contains(&client)
                || groups.any(|group| group.arrived.contains(&client));
            if !waits && self.state.clients[client].ready {
                self.allot(compass, client, actions);
            }
        }
    }

    fn allot(&mut self, compass: &FedCompass, client: ClientId, actions: &mut Vec<Action>) {
        let Some(pace) = self.state.clients[client].pace else {
            let ordinary = self.config.clients[client].samples_per_task;
            return self.send(client, LATE, ordinary, actions);
        };
        let mean = self.capped_samples / self.config.clients.len().max(1) as u64;
        let groups: Vec<GroupTimes> = self
            .state
            .groups
            .iter()
            .map(|(number, group)| GroupTimes {
                number: *number,
                expected: group.expected,
                latest: group.latest,
                fastest_task: group.fastest_task,
            })
            .collect();
        let longest_task = pace * compass.bounds(mean).1 as f64;
        match compass.allot(self.state.now, pace, mean, &groups) {
            Allotment::Join { group, samples } => {
                if let Some(joined) = self.state.groups.get_mut(&group) {
                    joined.missing.insert(client);
                    joined.fastest_task = joined.fastest_task.min(longest_task);
                }
                self.send(client, group, samples, actions);
            }
            Allotment::Found {
                samples,
                expected,
                latest,
            } => {
                let number = self.state.next_round;
                self.state.next_round += 1;
                let group = Group {
                    expected,
                    latest,
                    fastest_task: longest_task,
                    missing: BTreeSet::from([client]),
                    arrived: BTreeSet::new(),
                };
                self.state.groups.insert(number, group);
                actions.push(Action::GroupOpened {
                    group: number,
                    closes_at: latest,
                });
                self.send(client, number, samples, actions);
            }
        }
    }
}
