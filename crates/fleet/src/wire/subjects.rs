//! Names of subjects and streams.

use crate::{Digest, Name};

/// The subjects and streams of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    fleet: Name,
}

impl Subjects {
    /// Those of this fleet.
    pub fn new(fleet: &Name) -> Self {
        Self {
            fleet: fleet.clone(),
        }
    }

    /// Everything of the fleet.
    pub fn all(&self) -> String {
        format!("fleet.{}.>", self.fleet)
    }

    /// Where a device speaks.
    pub fn up(&self, device: &Name) -> String {
        format!("fleet.{}.up.{device}", self.fleet)
    }

    /// Where every device speaks.
    pub fn every_up(&self) -> String {
        format!("fleet.{}.up.*", self.fleet)
    }

    /// The device that speaks on this subject, if it is one.
    pub fn device_of<'subject>(&self, subject: &'subject str) -> Option<&'subject str> {
        subject
            .strip_prefix("fleet.")?
            .strip_prefix(self.fleet.as_str())?
            .strip_prefix(".up.")
    }

    /// Where a device's orders are.
    pub fn down(&self, device: &Name) -> String {
        format!("fleet.{}.down.{device}", self.fleet)
    }

    /// Where all devices' orders are.
    pub fn every_down(&self) -> String {
        format!("fleet.{}.down.*", self.fleet)
    }

    /// Where the run is described.
    pub fn run(&self) -> String {
        format!("fleet.{}.run", self.fleet)
    }

    /// A piece of a model.
    pub fn chunk(&self, run: u64, version: u64, chunk: u64) -> String {
        format!("fleet.{}.model.{run:016x}.{version}.{chunk}", self.fleet)
    }

    /// What a piece of a model changes of the same piece of a base.
    pub fn difference_chunk(&self, run: u64, version: u64, base: Digest, chunk: u64) -> String {
        // Who takes the pieces of another base with these digits for its own finds out by the digest of what it makes of them.
        let base: String = base.to_string().chars().take(16).collect();
        let fleet = &self.fleet;
        format!("fleet.{fleet}.model.{run:016x}.{version}-{base}.{chunk}")
    }

    /// All pieces of all models, and of all differences.
    pub fn every_model(&self) -> String {
        format!("fleet.{}.model.*.*.*", self.fleet)
    }

    /// Run and version of a piece's subject; none of a difference's.
    pub fn model_of(&self, subject: &str) -> Option<(u64, u64)> {
        let rest = subject
            .strip_prefix("fleet.")?
            .strip_prefix(self.fleet.as_str())?
            .strip_prefix(".model.")?;
        let mut tokens = rest.split('.');
        let run = u64::from_str_radix(tokens.next()?, 16).ok()?;
        let version = tokens.next()?.parse().ok()?;
        Some((run, version))
    }

    /// The stream of what devices say.
    pub fn up_stream(&self) -> String {
        format!("FLEET-{}-UP", self.fleet)
    }

    /// The stream of orders and the description.
    pub fn down_stream(&self) -> String {
        format!("FLEET-{}-DOWN", self.fleet)
    }

    /// The stream of models.
    pub fn model_stream(&self) -> String {
        format!("FLEET-{}-MODEL", self.fleet)
    }

    /// Where the server is asked for the last message of a subject in one of these streams.
    pub fn last(stream: &str, subject: &str) -> String {
        format!("$JS.API.DIRECT.GET.{stream}.{subject}")
    }

    /// All that a device may publish to.
    pub fn device_may_publish(&self, device: &Name) -> Vec<String> {
        vec![
            self.up(device),
            Self::last(&self.down_stream(), &self.down(device)),
            Self::last(&self.down_stream(), &self.run()),
            Self::last(&self.model_stream(), &self.every_model()),
        ]
    }

    /// All that a device may subscribe to.
    pub fn device_may_subscribe(&self, device: &Name) -> Vec<String> {
        vec![self.down(device), format!("{}.>", self.inbox(device))]
    }

    /// The prefix of a device's inboxes, where answers to its questions come.
    pub fn inbox(&self, device: &Name) -> String {
        format!("_INBOX.{}.{device}", self.fleet)
    }
}
