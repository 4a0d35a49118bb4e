//! What happens without a message: leases and rounds run out, devices are revoked and added.

use std::time::Instant;

use fedact_federation::aggregator::{ClientId, EndReason};

use super::Coordinator;
use crate::engine::Presence;
use crate::journal::Happened;
use crate::{FleetError, identity::Roster};

impl Coordinator {
    /// Lets happen what is due.
    pub(super) fn watch(&mut self) -> Result<(), FleetError> {
        self.reload_roster()?;
        if self.engine.progress().finished.is_some() {
            return Ok(());
        }
        for client in 0..self.devices.len() {
            if self.is_gone(client) {
                self.commit(Happened::Lost { client }, None)?;
            }
        }
        while let Some(round) = self.due_round() {
            self.commit(Happened::Deadline { round }, None)?;
        }
        if self.engine.progress().finished.is_some() {
            return Ok(());
        }
        if self.engine.progress().lost_in_a_row >= self.settings.max_losses_in_a_row {
            let reason = EndReason::AllTasksLost;
            return self.commit(Happened::Stop { reason }, None);
        }
        let last = self.devices.iter().map(|device| device.heard).max();
        let patience = self.settings.patience;
        if let (Some(last), Some(patience)) = (last, patience)
            && last.elapsed() > patience
        {
            let reason = EndReason::NoClientsLeft;
            return self.commit(Happened::Stop { reason }, None);
        }
        Ok(())
    }

    fn is_gone(&self, client: ClientId) -> bool {
        let there = self.engine.progress().members[client].presence != Presence::Away;
        let silent = self.devices[client].heard.elapsed() > self.settings.lease;
        there && (silent || self.roster.devices[client].revoked)
    }

    fn due_round(&self) -> Option<u64> {
        let (progress, now) = (self.engine.progress(), self.now());
        let mut groups = progress.deadlines.iter();
        let group = groups.find(|(closes_at, _)| *closes_at <= now);
        let limit = self
            .settings
            .round_deadline
            .map(|limit| limit.as_secs_f64());
        let round = progress.open_round.filter(|(opened_at, round)| {
            let over = limit.is_some_and(|limit| opened_at + limit <= now);
            over && progress.closed_round != Some(*round)
        });
        group.copied().or(round).map(|(_, round)| round)
    }

    fn reload_roster(&mut self) -> Result<(), FleetError> {
        let Some(path) = &self.settings.roster else {
            return Ok(());
        };
        let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let changed = changed.map_err(FleetError::file(path))?;
        if self.roster_seen == Some(changed) {
            return Ok(());
        }
        let read = Roster::read(path)?;
        self.roster_seen = Some(changed);
        for device in &mut self.roster.devices {
            let known = read.devices.iter().find(|known| known.name == device.name);
            device.revoked = known.is_none_or(|known| known.revoked);
        }
        self.admit(&read)
    }

    /// How long ago a device was heard, in seconds, if it was at all.
    pub(super) fn silence(&self, client: ClientId) -> Option<f64> {
        let device = &self.devices[client];
        device
            .ever
            .then(|| Instant::now().duration_since(device.heard).as_secs_f64())
    }
}
