//! The model of a task, piece by piece.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::PAUSE;
use super::pace::Pace;
use super::session::Session;
use crate::link::{PATIENCE_FOR_PIECE, Trouble};
use crate::wire::{Assignment, CHUNK_BYTES, Description};
use crate::{Digest, FleetError, files};

impl Session {
    /// The parameters that a task starts from. What was fetched by an earlier process is not fetched again. Nothing: the
    /// task is over, or the device was told to stop.
    pub(super) async fn fetch(
        &mut self,
        description: &Description,
        assignment: &Assignment,
    ) -> Result<Option<Vec<f32>>, FleetError> {
        let length = description.layout.len() as u64 * 4;
        let path = self.keep.model_path(description.run, assignment.version)?;
        loop {
            if self.left()?.is_some() || !self.is_open(description.run, assignment.task) {
                return Ok(None);
            }
            let there = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            // Whole pieces alone: the last one may have been cut within by a loss of power.
            let whole = there - there % CHUNK_BYTES as u64;
            if there >= length {
                let bytes = std::fs::read(&path).map_err(FleetError::file(&path))?;
                if Digest::of(&bytes) == assignment.model {
                    return Ok(Some(files::numbers_of(&bytes)));
                }
                files::remove(&path)?;
                self.pause().await;
                continue;
            }
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(FleetError::file(&path))?;
            file.set_len(whole).map_err(FleetError::file(&path))?;
            let pieces = length.div_ceil(CHUNK_BYTES as u64);
            let mut next = whole / CHUNK_BYTES as u64;
            let mut asking = FuturesOrdered::new();
            let mut pace = Pace::new();
            let mut broken = false;
            // Other orders may be about the task, or come with streams that had to be made anew: then nobody answers
            // what was asked before.
            let mut orders = self.orders.clone();
            orders.mark_unchanged();
            while !broken && (next < pieces || !asking.is_empty()) {
                if next < pieces && asking.len() < pace.at_a_time() {
                    asking.push_back(self.piece(description.run, assignment.version, next));
                    next += 1;
                    continue;
                }
                let answer = tokio::select! {
                    answer = asking.next() => answer,
                    _ = orders.changed() => None,
                    () = self.stop.stopped() => None,
                };
                match answer {
                    Some(Ok(Some((bytes, asked)))) => {
                        pace.took(asked.elapsed());
                        file.write_all(&bytes).map_err(FleetError::file(&path))?;
                    }
                    // Not there (any more), or the server is away: the orders will say which.
                    Some(Ok(None) | Err(_)) | None => broken = true,
                }
            }
            drop(asking);
            if broken {
                self.changed(PAUSE).await;
            }
        }
    }

    /// A piece, and when it was asked for.
    async fn piece(
        &self,
        run: u64,
        version: u64,
        piece: u64,
    ) -> Result<Option<(Bytes, Instant)>, Trouble> {
        let (stream, asked) = (self.subjects.model_stream(), Instant::now());
        let subject = self.subjects.chunk(run, version, piece);
        let answer = self.line.last_within(PATIENCE_FOR_PIECE, &stream, &subject);
        let piece = answer.await?;
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(piece.map(|bytes| (bytes, asked)))
    }
}
