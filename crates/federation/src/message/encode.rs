//! From a delta to bytes.

use super::codec::Codec;
use super::error::MessageError;
use super::header::{Frame, Header};
use super::{numbers, sparse};
use crate::clock::derived_rng;
use crate::layout::Layout;
use crate::purpose;

/// Where the body's length would leave its four bytes: 9 bytes a number, and what stands before them.
const MOST_NUMBERS: usize = 400_000_000;

/// `trained - base`, number by number.
///
/// # Panics
/// If the slices differ in length.
pub fn delta(base: &[f32], trained: &[f32]) -> Vec<f32> {
    let mut delta = trained.to_vec();
    delta_in_place(base, &mut delta);
    delta
}

/// The same in the trained numbers' own place, where there is little memory.
///
/// # Panics
/// As [`delta`].
pub fn delta_in_place(base: &[f32], trained: &mut [f32]) {
    assert_eq!(base.len(), trained.len(), "a model of another length");
    for (number, base) in trained.iter_mut().zip(base) {
        *number -= base;
    }
}

/// Makes messages of one model in one way.
#[derive(Debug, Clone)]
pub struct Encoder {
    codec: Codec,
    layout: u64,
    numbers: usize,
}

impl Encoder {
    /// An encoder for models of this layout.
    ///
    /// # Errors
    /// The model is too large for the format.
    ///
    /// # Panics
    /// If the codec has a [`Codec::fault`].
    pub fn new(layout: &Layout, codec: Codec) -> Result<Self, MessageError> {
        assert_eq!(codec.fault(), None, "a codec that cannot be");
        let numbers = layout.len();
        if numbers > MOST_NUMBERS {
            return Err(MessageError::ModelTooLarge { numbers });
        }
        Ok(Self {
            codec,
            layout: layout.fingerprint(),
            numbers,
        })
    }

    /// How it encodes.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The message. What is random about it derives from the seed, the client and the task.
    ///
    /// # Errors
    /// The delta has another length than the model, or zstd fails.
    pub fn encode(
        &self,
        header: &Header,
        delta: &[f32],
        seed: u64,
    ) -> Result<Vec<u8>, MessageError> {
        if delta.len() != self.numbers {
            return Err(MessageError::DeltaLength {
                found: delta.len(),
                expected: self.numbers,
            });
        }
        let Codec {
            numbers,
            keep,
            block,
            zstd,
        } = self.codec;
        let mut rng = derived_rng(
            seed,
            &[purpose::ROUNDING, header.client.into(), header.task],
        );
        let kept = self.codec.kept(self.numbers);
        let mut body = Vec::with_capacity(self.codec.nominal_bytes(self.numbers) as usize);
        if keep.is_some() {
            let places = sparse::largest(delta, kept);
            sparse::write(&mut body, &places);
            let values: Vec<f32> = places.iter().map(|place| delta[*place as usize]).collect();
            numbers::write(&mut body, &values, numbers, block as usize, &mut rng);
        } else {
            numbers::write(&mut body, delta, numbers, block as usize, &mut rng);
        }
        let mut frame = Frame {
            header: *header,
            layout: self.layout,
            model_numbers: self.numbers as u32,
            numbers,
            sparse: keep.is_some(),
            compressed: false,
            body_bytes: body.len() as u32,
        };
        if let Some(level) = zstd {
            let packed = zstd::bulk::compress(&body, level).map_err(MessageError::Compression)?;
            if packed.len() < body.len() {
                frame.compressed = true;
                body = packed;
            }
        }
        Ok(frame.seal(&body))
    }
}
