//! Models in their stream: published piece by piece, and taken away when no open task starts from them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;

use super::outlet::Outlet;
use crate::link::{PATIENCE_FOR_PIECE, Trouble};
use crate::wire::CHUNK_BYTES;

/// Pieces of a model that are published at a time.
const AT_A_TIME: usize = 16;

/// What the server answers to a message that is in a stream.
#[derive(Deserialize)]
struct Kept {
    seq: u64,
}

impl Outlet {
    /// Takes messages out of the stream of models, one by one: a purge by subject is a single question, but servers (2.9.10
    /// is one) go on counting what it took away as used, until their disk is full in the books.
    async fn remove(&self, sequences: Vec<u64>) -> Result<(), Trouble> {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", self.subjects.model_stream());
        let removing = sequences.into_iter().map(|sequence| {
            let which = serde_json::json!({"seq": sequence, "no_erase": true});
            self.line.command(subject.clone(), which.to_string().into())
        });
        let mut removing = futures_util::stream::iter(removing).buffer_unordered(AT_A_TIME);
        while let Some(removed) = removing.next().await {
            match removed {
                // A refusal: it is not there any more.
                Ok(_) | Err(Trouble::Refused(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    pub(super) async fn remove_subjects(&self, subjects: Vec<String>) -> Result<(), Trouble> {
        let mut sequences = Vec::new();
        for subject in subjects {
            let stream = self.subjects.model_stream();
            sequences.extend(self.line.last_sequence(&stream, &subject).await?);
        }
        self.remove(sequences).await
    }

    /// Publishes a model, whole or, if that fails, not at all.
    pub(super) async fn publish_model(&mut self, version: u64, model: File) -> Result<(), Broken> {
        let mut sequences = Vec::new();
        let published = self.publish_pieces(version, model, &mut sequences).await;
        if published.is_ok() {
            self.published.insert(version, sequences);
        } else {
            // Half a model helps nobody, and what it fills of a full disk may be what updates have to pass through.
            let _ = self.remove(sequences).await;
        }
        published
    }

    /// Publishes a model piece by piece, and notes the numbers of those that are in the stream.
    async fn publish_pieces(
        &self,
        version: u64,
        model: File,
        sequences: &mut Vec<u64>,
    ) -> Result<(), Broken> {
        let mut publishing = FuturesUnordered::new();
        let mut piece = 0;
        loop {
            let mut bytes = Vec::with_capacity(CHUNK_BYTES);
            let read = (&model).take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
            read.map_err(Broken::File)?;
            let last = bytes.is_empty();
            if !last {
                let subject = self.subjects.chunk(self.run, version, piece);
                let line = &self.line;
                publishing.push(async move {
                    line.command_within(PATIENCE_FOR_PIECE, subject, bytes.into())
                        .await
                });
                piece += 1;
            }
            while publishing.len() >= if last { 1 } else { AT_A_TIME } {
                if let Some(published) = publishing.next().await {
                    let answer = published.map_err(Broken::Line)?;
                    let kept: Option<Kept> = serde_json::from_slice(&answer).ok();
                    sequences.extend(kept.map(|kept| kept.seq));
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Takes away the models that no open task starts from.
    pub(super) async fn remove_all_but(&mut self, needed: &BTreeSet<u64>) {
        let versions = self.published.keys().copied();
        let old: Vec<u64> = versions
            .filter(|version| !needed.contains(version))
            .collect();
        for version in old {
            let Some(sequences) = self.published.remove(&version) else {
                continue;
            };
            let removed = if sequences.is_empty() {
                // Published by an earlier process.
                let pieces =
                    (0..self.pieces).map(|piece| self.subjects.chunk(self.run, version, piece));
                self.remove_subjects(pieces.collect()).await
            } else {
                self.remove(sequences.clone()).await
            };
            if removed.is_err() {
                self.published.insert(version, sequences);
                break;
            }
        }
    }
}

/// Why a model was not published.
pub(super) enum Broken {
    File(std::io::Error),
    Line(Trouble),
}
