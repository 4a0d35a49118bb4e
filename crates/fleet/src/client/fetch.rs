//! The model of a task, piece by piece.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::PAUSE;
use super::session::Session;
use crate::link::{self, Trouble};
use crate::wire::{Assignment, CHUNK_BYTES, Description};
use crate::{Digest, FleetError, files};

/// Pieces that are asked for at a time.
const AT_A_TIME: usize = 8;

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
            let mut broken = false;
            while !broken && (next < pieces || !asking.is_empty()) {
                if next < pieces && asking.len() < AT_A_TIME {
                    asking.push_back(self.piece(description.run, assignment.version, next));
                    next += 1;
                    continue;
                }
                match asking.next().await {
                    Some(Ok(Some(bytes))) => {
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

    async fn piece(&self, run: u64, version: u64, piece: u64) -> Result<Option<Bytes>, Trouble> {
        let subject = self.subjects.chunk(run, version, piece);
        let stream = self.subjects.model_stream();
        let piece = link::last(&self.connection, &stream, &subject).await?;
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(piece)
    }
}
