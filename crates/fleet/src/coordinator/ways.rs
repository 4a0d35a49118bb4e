//! In which way a device gets the model of its task: whole, or as the difference to one that it has.
//!
//! What a device has it says itself, with every sign of life and offer, and the coordinator takes a difference to that if it has the same
//! file ([`super::held`]). A device that has lost it says so and gets the whole model, for this task for good: nobody can have a
//! coordinator make one difference after the other. Differences are made once for all devices that go the same way. The journal knows
//! nothing of all this: an update is added to the version itself, whatever it was trained from.

use std::collections::BTreeSet;

use fedact_federation::aggregator::ClientId;
use fedact_federation::message::Codec;

use super::Coordinator;
use super::models::Broken;
use super::outlet::Outlet;
use super::parcel::{Parcel, Source, Unreadable};
use crate::link::Trouble;
use crate::wire::{Assignment, Difference};
use crate::{Digest, FleetError};

/// How a device was told to get the model of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    task: u64,
    /// None: whole.
    pub difference: Option<Difference>,
}

impl Way {
    /// Whether it is that of an open task.
    pub fn is_of(&self, open: Option<Assignment>) -> bool {
        open.is_some_and(|open| open.task == self.task)
    }
}

impl Coordinator {
    /// Notes which model a device has. If that is none that its orders count on, it gets others.
    pub(super) fn note_held(&mut self, client: ClientId, holds: Option<Digest>) {
        let device = &mut self.devices[client];
        device.holds = holds;
        let open = self.engine.progress().members[client].assignment;
        let way = device.way.filter(|way| way.is_of(open));
        let difference = way.and_then(|way| way.difference);
        if difference.is_some_and(|way| holds != Some(way.base) && holds != Some(way.result)) {
            self.due.insert(client);
        }
    }

    /// The model that the one of an open task is made of, if the device has one that serves.
    fn base_of(&self, client: ClientId, open: &Assignment) -> Option<Digest> {
        let held = self.held.as_ref()?;
        let device = &self.devices[client];
        match device.way {
            Some(way) if way.is_of(Some(*open)) => {
                let Difference { base, result, .. } = way.difference?;
                let there = device.holds == Some(base) || device.holds == Some(result);
                there.then_some(base)
            }
            _ => device
                .holds
                .filter(|base| *base == open.model || held.has(*base)),
        }
    }

    /// What a device makes the model of its open task of, or that model as a whole.
    fn parcel_of(&self, client: ClientId, open: &Assignment) -> Parcel {
        Parcel {
            version: open.version,
            base: self.base_of(client, open),
        }
    }

    /// All that must lie in the stream for the open tasks.
    pub(super) fn needed(&self) -> BTreeSet<Parcel> {
        let members = self.engine.progress().members.iter().enumerate();
        members
            .filter_map(|(client, member)| {
                let open = member.assignment?;
                Some(self.parcel_of(client, &open))
            })
            .collect()
    }

    /// Whether a device has the model of an open task, or can fetch what makes it from the stream.
    pub(super) fn is_provided(&self, outlet: &Outlet, client: ClientId, open: &Assignment) -> bool {
        let parcel = self.parcel_of(client, open);
        parcel.base == Some(open.model) || outlet.published.contains_key(&parcel)
    }

    /// Sees to it that the model of an open task lies in the stream in some way, and notes for the device's orders in which.
    pub(super) async fn provide(
        &mut self,
        outlet: &mut Outlet,
        client: ClientId,
        open: &Assignment,
    ) -> Result<Result<(), Trouble>, FleetError> {
        let mut base = self.base_of(client, open);
        let result = loop {
            if base == Some(open.model) {
                // It has the very model.
                break open.model;
            }
            let parcel = Parcel {
                version: open.version,
                base,
            };
            if let Some(lying) = outlet.published.get(&parcel) {
                break lying.result.unwrap_or(open.model);
            }
            let published = match self.source(parcel, open) {
                Ok(source) => outlet.publish_parcel(parcel, source).await,
                Err(unreadable) => Err(Broken::Source(unreadable)),
            };
            match published {
                Ok(result) => break result,
                Err(Broken::Line(trouble)) => return Ok(Err(trouble)),
                Err(Broken::Source(Unreadable::File(error))) => return Err(error),
                Err(Broken::Source(Unreadable::Base)) => {
                    if let (Some(held), Some(base)) = (&self.held, base) {
                        held.forget(base)?;
                    }
                    base = None;
                }
            }
        };
        if let Some(held) = &self.held
            && result == open.model
        {
            held.link(result, &self.engine.model_path(open))?;
        }
        let exact = self.settings.differences.as_ref();
        let exact = exact.is_some_and(Codec::is_exact);
        self.devices[client].way = Some(Way {
            task: open.task,
            difference: base.map(|base| Difference {
                base,
                result,
                exact,
            }),
        });
        Ok(Ok(()))
    }

    fn source(&self, parcel: Parcel, open: &Assignment) -> Result<Source<'_>, Unreadable> {
        let whole = Source::whole(open, self.engine.model(open)?);
        let Some(base) = parcel.base else {
            return Ok(whole);
        };
        let (held, codec) = (self.held.as_ref(), self.settings.differences.as_ref());
        let (Some(held), Some(codec)) = (held, codec) else {
            return Err(Unreadable::Base);
        };
        let seed = self.settings.seed;
        Source::between(
            whole,
            (self.engine.run(), open),
            (base, held),
            (codec, seed),
        )
    }

    /// Forgets models that no device has, and none is about to have. Of a device that has not spoken since this process began nothing
    /// is known; one that is there does within a lease.
    pub(super) fn forget_unheld(&self) -> Result<(), FleetError> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        if self.began.elapsed() < self.settings.lease {
            return Ok(());
        }
        let mut needed: BTreeSet<Digest> = BTreeSet::new();
        let members = &self.engine.progress().members;
        for (device, member) in self.devices.iter().zip(members) {
            needed.extend(device.holds);
            let Some(open) = member.assignment else {
                continue;
            };
            let way = device.way.filter(|way| way.is_of(Some(open)));
            match way.and_then(|way| way.difference) {
                Some(way) => needed.extend([way.base, way.result]),
                None => needed.extend([open.model]),
            }
        }
        held.forget_all_but(&needed)
    }
}
