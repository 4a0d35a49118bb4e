//! Models and differences in their stream: published piece by piece, and taken away when no open task needs them.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;

use super::outlet::Outlet;
use super::parcel::{Parcel, Source, Unreadable};
use crate::Digest;
use crate::link::{PATIENCE_FOR_PIECE, Trouble};

/// Pieces that are published at a time.
const AT_A_TIME: usize = 16;

/// What the server answers to a message that is in a stream.
#[derive(Deserialize)]
struct Kept {
    seq: u64,
}

/// A parcel that lies in the stream as a whole.
pub(super) struct Lying {
    /// The numbers of its pieces there, as far as this process has published them.
    sequences: Vec<u64>,
    /// What a device has that fetched it; known of differences, which are always this process's.
    pub result: Option<Digest>,
}

impl Lying {
    /// A whole model that an earlier process published.
    pub fn found() -> Self {
        Self {
            sequences: Vec::new(),
            result: None,
        }
    }
}

/// Why a parcel was not published.
pub(super) enum Broken {
    Source(Unreadable),
    Line(Trouble),
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

    /// Publishes a parcel, whole or, if that fails, not at all. Says what a device has that fetched it.
    pub(super) async fn publish_parcel(
        &mut self,
        parcel: Parcel,
        mut source: Source<'_>,
    ) -> Result<Digest, Broken> {
        let mut sequences = Vec::new();
        let published = self.publish_pieces(parcel, &mut source, &mut sequences);
        let published = match published.await {
            Ok(()) => source
                .finish()
                .map_err(|error| Broken::Source(error.into())),
            Err(broken) => Err(broken),
        };
        match published {
            Ok(result) => {
                let lying = Lying {
                    sequences,
                    result: Some(result),
                };
                self.published.insert(parcel, lying);
            }
            // Half a model helps nobody, and what it fills of a full disk may be what updates have to pass through.
            Err(_) => {
                let _ = self.remove(sequences).await;
            }
        }
        published
    }

    /// Publishes piece by piece, and notes the numbers of those that are in the stream.
    async fn publish_pieces(
        &self,
        parcel: Parcel,
        source: &mut Source<'_>,
        sequences: &mut Vec<u64>,
    ) -> Result<(), Broken> {
        let mut publishing = FuturesUnordered::new();
        let mut number = 0;
        loop {
            let piece = source.next().map_err(Broken::Source)?;
            let last = piece.is_none();
            if let Some(bytes) = piece {
                let subject = self.piece(parcel, number);
                let line = &self.line;
                publishing.push(async move {
                    line.command_within(PATIENCE_FOR_PIECE, subject, bytes.into())
                        .await
                });
                number += 1;
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

    fn piece(&self, parcel: Parcel, number: u64) -> String {
        let Parcel { version, base } = parcel;
        match base {
            None => self.subjects.chunk(self.run, version, number),
            Some(base) => {
                let subjects = &self.subjects;
                subjects.difference_chunk(self.run, version, base, number)
            }
        }
    }

    /// Takes away what no open task needs.
    pub(super) async fn remove_all_but(&mut self, needed: &BTreeSet<Parcel>) {
        let published = self.published.keys().copied();
        let old: Vec<Parcel> = published
            .filter(|parcel| !needed.contains(parcel))
            .collect();
        for parcel in old {
            let Some(lying) = self.published.remove(&parcel) else {
                continue;
            };
            let removed = if lying.sequences.is_empty() {
                // Published by an earlier process.
                let pieces = (0..self.pieces).map(|number| self.piece(parcel, number));
                self.remove_subjects(pieces.collect()).await
            } else {
                self.remove(lying.sequences.clone()).await
            };
            if removed.is_err() {
                self.published.insert(parcel, lying);
                break;
            }
        }
    }
}
