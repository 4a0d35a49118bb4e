//! From bytes to a delta, whoever sent them.

use std::borrow::Cow;

use super::error::MessageError;
use super::header::{Frame, Header};
use super::{numbers, sparse};
use crate::layout::Layout;

/// A message as it was taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is of.
    pub header: Header,
    /// The difference that training made, flat: as many numbers as the model has, zero where none was sent.
    pub delta: Vec<f32>,
}

/// Takes in messages of one model.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    layout: u64,
    numbers: usize,
}

impl Decoder {
    /// A decoder for models of this layout, whatever their codec.
    pub fn new(layout: &Layout) -> Self {
        Self {
            layout: layout.fingerprint(),
            numbers: layout.len(),
        }
    }

    /// What a message is of, its checksum and layout verified and its numbers left alone: enough to know one that came
    /// twice or too late.
    ///
    /// # Errors
    /// The bytes are no message of this model.
    pub fn header(&self, bytes: &[u8]) -> Result<Header, MessageError> {
        Ok(self.open(bytes)?.0.header)
    }

    /// The message.
    ///
    /// # Errors
    /// The bytes are no message of this model: why.
    pub fn decode(&self, bytes: &[u8]) -> Result<Message, MessageError> {
        let (frame, body) = self.open(bytes)?;
        let body = unpacked(&frame, body)?;
        let delta = if frame.sparse {
            let (places, rest) = sparse::read(&body, self.numbers)?;
            let values = numbers::read(rest, frame.numbers, places.len())?;
            let mut delta = vec![0.0; self.numbers];
            for (place, value) in places.iter().zip(values) {
                delta[*place as usize] = value;
            }
            delta
        } else {
            numbers::read(&body, frame.numbers, self.numbers)?
        };
        Ok(Message {
            header: frame.header,
            delta,
        })
    }

    /// The frame and the body as it travelled, of a message that is of this model and whose body can be no larger than
    /// one of it is.
    fn open<'bytes>(&self, bytes: &'bytes [u8]) -> Result<(Frame, &'bytes [u8]), MessageError> {
        let (frame, body) = Frame::open(bytes)?;
        if frame.layout != self.layout {
            return Err(MessageError::Layout {
                found: frame.layout,
                expected: self.layout,
            });
        }
        let (found, expected) = (u64::from(frame.model_numbers), self.numbers as u64);
        if found != expected {
            return Err(MessageError::NumberCount { found, expected });
        }
        let indices = if frame.sparse {
            4 + sparse::MOST_INDEX_BYTES * self.numbers
        } else {
            0
        };
        let most = (numbers::most_bytes(frame.numbers, self.numbers) + indices) as u64;
        let announced = u64::from(frame.body_bytes);
        if announced > most {
            return Err(MessageError::BodyLength {
                found: announced,
                expected: most,
            });
        }
        Ok((frame, body))
    }
}

/// The body uncompressed, exactly as long as was announced.
fn unpacked<'body>(frame: &Frame, body: &'body [u8]) -> Result<Cow<'body, [u8]>, MessageError> {
    let expected = frame.body_bytes as usize;
    let body = if frame.compressed {
        let mut unpacked = vec![0; expected];
        let length = zstd::bulk::decompress_to_buffer(body, &mut unpacked)
            .map_err(MessageError::Compression)?;
        unpacked.truncate(length);
        Cow::Owned(unpacked)
    } else {
        Cow::Borrowed(body)
    };
    if body.len() != expected {
        return Err(MessageError::BodyLength {
            found: body.len() as u64,
            expected: expected as u64,
        });
    }
    Ok(body)
}
