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

/// What became of the pieces of a parcel that was being published.
#[derive(Default)]
struct Trace {
    /// The numbers in the stream of those that are there.
    sequences: Vec<u64>,
    /// Whether others may be there too: the server did not say.
    any_unanswered: bool,
}

impl Trace {
    fn note(&mut self, answer: &[u8]) {
        match serde_json::from_slice::<Kept>(answer) {
            Ok(kept) => self.sequences.push(kept.seq),
            Err(_) => self.any_unanswered = true,
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
        let mut trace = Trace::default();
        let published = self.publish_pieces(parcel, &mut source, &mut trace);
        let published = match published.await {
            Ok(()) => source
                .finish()
                .map_err(|error| Broken::Source(error.into())),
            Err(broken) => Err(broken),
        };
        match published {
            Ok(result) => {
                let lying = Lying {
                    sequences: trace.sequences,
                    result: Some(result),
                };
                self.published.insert(parcel, lying);
                self.halves.remove(&parcel);
            }
            // Half a model helps nobody, and what it fills of a full disk may be what updates have to pass through.
            Err(_) => {
                let removed = self.remove(trace.sequences).await;
                if removed.is_err() || trace.any_unanswered {
                    self.halves.insert(parcel);
                }
            }
        }
        published
    }

    /// Publishes piece by piece, and notes what became of each of them, also of those that were on their way when one failed.
    async fn publish_pieces(
        &self,
        parcel: Parcel,
        source: &mut Source<'_>,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let mut publishing = FuturesUnordered::new();
        let (mut number, mut ended) = (0, None);
        while ended.is_none() || !publishing.is_empty() {
            if ended.is_none() && publishing.len() < AT_A_TIME {
                match source.next() {
                    Ok(Some(bytes)) => {
                        let subject = self.piece(parcel, number);
                        let line = &self.line;
                        publishing.push(async move {
                            line.command_within(PATIENCE_FOR_PIECE, subject, bytes.into())
                                .await
                        });
                        number += 1;
                    }
                    Ok(None) => ended = Some(Ok(())),
                    Err(unreadable) => ended = Some(Err(Broken::Source(unreadable))),
                }
                continue;
            }
            match publishing.next().await {
                Some(Ok(answer)) => trace.note(&answer),
                Some(Err(trouble)) => {
                    trace.any_unanswered |= matches!(trouble, Trouble::Silent);
                    if !matches!(ended, Some(Err(_))) {
                        ended = Some(Err(Broken::Line(trouble)));
                    }
                }
                None => {}
            }
        }
        ended.unwrap_or(Ok(()))
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

    fn pieces_of(&self, parcel: Parcel) -> Vec<String> {
        let numbers = 0..self.pieces;
        numbers.map(|number| self.piece(parcel, number)).collect()
    }

    /// Takes away what no open task needs, and what is left of parcels whose publication broke off.
    pub(super) async fn remove_all_but(&mut self, needed: &BTreeSet<Parcel>) {
        let published = self.published.keys().copied();
        let old: Vec<Parcel> = published
            .filter(|parcel| !needed.contains(parcel))
            .collect();
        for parcel in old {
            let Some(lying) = self.published.remove(&parcel) else {
                continue;
            };
            if lying.sequences.is_empty() {
                // Published by an earlier process: looked for below.
                self.halves.insert(parcel);
            } else if self.remove(lying.sequences).await.is_err() {
                self.halves.insert(parcel);
                return;
            }
        }
        while let Some(half) = self.halves.first().copied() {
            if self.remove_subjects(self.pieces_of(half)).await.is_err() {
                return;
            }
            self.halves.remove(&half);
        }
    }
}
