//! The model of a task, piece by piece: its own bytes, or what makes them of the model that is there.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::PAUSE;
use super::models::Growing;
use super::pace::Pace;
use super::session::Session;
use crate::FleetError;
use crate::difference::Place;
use crate::link::{PATIENCE_FOR_PIECE, Trouble};
use crate::wire::{Assignment, Description, Difference};

/// What became of a transfer.
enum Transfer {
    /// All pieces are there.
    Whole,
    /// Not now: the orders will say what to do.
    Broken,
    /// A piece of a difference fits nothing that is there.
    Unfit,
}

impl Session {
    /// The parameters that a task starts from. What was fetched by an earlier process is not fetched again. Nothing: the
    /// task is over, or the device was told to stop.
    pub(super) async fn fetch(
        &mut self,
        description: &Description,
        assignment: &Assignment,
    ) -> Result<Option<Vec<f32>>, FleetError> {
        let length = description.layout.len() as u64 * 4;
        loop {
            if self.left()?.is_some() || !self.is_open(description.run, assignment.task) {
                return Ok(None);
            }
            let difference = self.difference_for(assignment);
            let result = difference.map_or(assignment.model, |difference| difference.result);
            if let Some(numbers) = self.models.read(result)? {
                return Ok(Some(numbers));
            }
            let base = difference.map(|difference| difference.base);
            let Some(mut growing) = self.models.begin(result, length, base)? else {
                // What the coordinator counts on is not there (any more). Told so, it has the whole model sent.
                let sign = self.signs(description).next();
                let _ = self.say(sign).await;
                self.changed(PAUSE * 4).await;
                continue;
            };
            let place = Place {
                run: description.run,
                version: assignment.version,
                piece: 0,
            };
            match self.transfer(&mut growing, place, difference).await? {
                Transfer::Whole => match self.models.finish(growing)? {
                    Some(numbers) => return Ok(Some(numbers)),
                    // Without what the difference was taken to, the coordinator is told at once.
                    None if difference.is_some() => {}
                    None => self.pause().await,
                },
                Transfer::Broken => self.changed(PAUSE).await,
                Transfer::Unfit => self.models.give_up(&growing)?,
            }
        }
    }

    /// How the latest orders want the model of a task to be made; nothing: it comes whole.
    fn difference_for(&self, assignment: &Assignment) -> Option<Difference> {
        let orders = self.orders.borrow();
        let orders = orders.as_ref()?;
        let open = orders.assignment?;
        orders.difference.filter(|_| open.task == assignment.task)
    }

    /// Fetches the pieces that are missing.
    async fn transfer(
        &self,
        growing: &mut Growing,
        mut place: Place,
        difference: Option<Difference>,
    ) -> Result<Transfer, FleetError> {
        let Some(mut next) = growing.next() else {
            return Ok(Transfer::Whole);
        };
        let pieces = growing.all();
        let mut asking = FuturesOrdered::new();
        let mut pace = Pace::new();
        // Other orders may be about the task, or come with streams that had to be made anew: then nobody answers
        // what was asked before.
        let mut orders = self.orders.clone();
        orders.mark_unchanged();
        loop {
            while next < pieces && asking.len() < pace.at_a_time() {
                let place = Place {
                    piece: next,
                    ..place
                };
                asking.push_back(self.piece(place, difference));
                next += 1;
            }
            let answer = tokio::select! {
                answer = asking.next() => answer,
                _ = orders.changed() => None,
                () = self.stop.stopped() => None,
            };
            // Not there (any more), or the server is away: the orders will say which.
            let Some(Ok(Some((bytes, asked)))) = answer else {
                return Ok(Transfer::Broken);
            };
            pace.took(asked.elapsed());
            match difference {
                None if bytes.len() == growing.next_bytes() => growing.add(&bytes)?,
                None => return Ok(Transfer::Broken),
                Some(difference) => {
                    place.piece = growing.next().unwrap_or(pieces);
                    let there = growing.there()?;
                    let made = there.and_then(|there| {
                        let made = place.apply(difference.exact, &there, &bytes);
                        made.ok()
                    });
                    match made {
                        Some(made) => growing.add(&made)?,
                        None => return Ok(Transfer::Unfit),
                    }
                }
            }
            if growing.next().is_none() {
                return Ok(Transfer::Whole);
            }
        }
    }

    /// A piece, and when it was asked for.
    async fn piece(
        &self,
        place: Place,
        difference: Option<Difference>,
    ) -> Result<Option<(Bytes, Instant)>, Trouble> {
        let (stream, asked) = (self.subjects.model_stream(), Instant::now());
        let Place {
            run,
            version,
            piece,
        } = place;
        let subject = match difference {
            None => self.subjects.chunk(run, version, piece),
            Some(Difference { base, .. }) => {
                self.subjects.difference_chunk(run, version, base, piece)
            }
        };
        let answer = self.line.last_within(PATIENCE_FOR_PIECE, &stream, &subject);
        let piece = answer.await?;
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(piece.map(|bytes| (bytes, asked)))
    }
}
