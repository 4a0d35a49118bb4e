//! The way up on one machine: what a client learned goes through bytes and comes out as the server has it.

use std::collections::BTreeMap;

use super::codec::Codec;
use super::decode::Decoder;
use super::encode::{Encoder, delta};
use super::error::MessageError;
use super::feedback::Feedback;
use super::header::Header;
use crate::layout::Layout;

/// Clients and server of a simulated run, as far as messages go: the very encoder and decoder of a network, with the feedback of
/// every client. Memory: one model for each client that has sent something by a lossy codec, none for an exact one.
#[derive(Debug, Clone)]
pub struct Channel {
    encoder: Encoder,
    decoder: Decoder,
    seed: u64,
    /// None: what a codec leaves out is lost.
    feedback: Option<BTreeMap<u32, Feedback>>,
}

/// What came out of a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// What training changed, as the server has it.
    pub delta: Vec<f32>,
    /// Bytes of the message.
    pub bytes: u64,
}

impl Channel {
    /// A channel for models of this layout, with or without error feedback; its random rounding derives from the seed.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    ///
    /// # Panics
    /// If the codec has a [`Codec::fault`].
    pub fn new(
        layout: &Layout,
        codec: Codec,
        feedback: bool,
        seed: u64,
    ) -> Result<Self, MessageError> {
        Ok(Self {
            encoder: Encoder::new(layout, codec)?,
            decoder: Decoder::new(layout),
            seed,
            feedback: feedback.then(BTreeMap::new),
        })
    }

    /// Sends what a task made of `base`.
    ///
    /// # Errors
    /// The trained model has another length than the layout.
    pub fn carry(
        &mut self,
        header: &Header,
        base: &[f32],
        trained: &[f32],
    ) -> Result<Delivery, MessageError> {
        if trained.len() != base.len() {
            return Err(MessageError::DeltaLength {
                found: trained.len(),
                expected: base.len(),
            });
        }
        let learned = delta(base, trained);
        let Self {
            encoder, decoder, ..
        } = self;
        let bytes = match &mut self.feedback {
            Some(feedback) => {
                let client = feedback.entry(header.client).or_default();
                client.encode(encoder, decoder, header, learned, self.seed)?
            }
            None => encoder.encode(header, &learned, self.seed)?,
        };
        Ok(Delivery {
            delta: decoder.decode(&bytes)?.delta,
            bytes: bytes.len() as u64,
        })
    }

    /// What each client has not told yet, by its number: what a checkpoint keeps.
    pub fn residuals(&self) -> impl Iterator<Item = (u32, &[f32])> {
        let clients = self.feedback.iter().flatten();
        clients.map(|(client, feedback)| (*client, feedback.residual()))
    }

    /// Goes on with what [`Self::residuals`] gave; without error feedback there is nothing to go on with.
    pub fn restore(&mut self, residuals: impl IntoIterator<Item = (u32, Vec<f32>)>) {
        if let Some(feedback) = &mut self.feedback {
            let clients = residuals.into_iter();
            *feedback = clients
                .map(|(client, residual)| (client, Feedback::resume(residual)))
                .collect();
        }
    }
}
