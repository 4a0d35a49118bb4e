//! From bytes to a delta, whoever sent them.

use std::borrow::Cow;
use std::io;

use crc32fast::Hasher;

use super::codec::Numbers;
use super::error::{DecodeError, MessageError};
use super::header::{self, Frame, Header, LENGTH};
use super::{numbers, sparse};
use crate::layout::Layout;

/// Numbers of a plane that are read at a time.
const BLOCK: usize = 1 << 15;

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

    /// The message of so many bytes that lie in a file or the like, of which `read_at` fills a slice from some byte on. One whose numbers are all there
    /// in fp32 is as long as the model: it is read a block of each plane at a time, and never in memory as a whole. Another one is: how long it may be
    /// is the caller's to say.
    ///
    /// # Errors
    /// As [`Self::decode`], or it cannot be read.
    pub fn decode_from(
        &self,
        bytes: u64,
        mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<Message, DecodeError> {
        let Some((head, frame)) = self.planes(bytes, &mut read_at)? else {
            let mut whole = vec![0; bytes as usize];
            read_at(&mut whole, 0)?;
            return Ok(self.decode(&whole)?);
        };
        let mut delta = Vec::with_capacity(self.numbers);
        let mut checksums = [(); 4].map(|()| Hasher::new());
        let mut blocks = [(); 4].map(|()| vec![0; BLOCK.min(self.numbers)]);
        while delta.len() < self.numbers {
            let count = BLOCK.min(self.numbers - delta.len());
            for (plane, (block, checksum)) in blocks.iter_mut().zip(&mut checksums).enumerate() {
                let place = LENGTH + plane * self.numbers + delta.len();
                read_at(&mut block[..count], place as u64)?;
                checksum.update(&block[..count]);
            }
            let planes = blocks.each_ref().map(|block| &block[..count]);
            delta.extend(numbers::of_planes(planes));
        }
        let mut checksum = header::checksum_of_head(&head);
        for plane in &checksums {
            checksum.combine(plane);
        }
        header::verify(&head, checksum)?;
        Ok(Message {
            header: frame.header,
            delta,
        })
    }

    /// The beginning of a message that holds nothing but a plane of bytes after the other; nothing: it is another, or none.
    fn planes(
        &self,
        bytes: u64,
        read_at: &mut impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Option<([u8; LENGTH], Frame)>> {
        if bytes != (LENGTH + 4 * self.numbers) as u64 {
            return Ok(None);
        }
        let mut head = [0; LENGTH];
        read_at(&mut head, 0)?;
        let frame = header::known(&head).and_then(|()| Frame::of(&head));
        let bare = frame.ok().filter(|frame| {
            let whole = bytes == LENGTH as u64 + u64::from(frame.body_bytes);
            let bare = !frame.sparse && !frame.compressed && frame.numbers == Numbers::Fp32;
            whole && bare && self.check(frame).is_ok()
        });
        Ok(bare.map(|frame| (head, frame)))
    }

    /// The frame and the body as it travelled, of a message that is of this model and whose body can be no larger than
    /// one of it is.
    fn open<'bytes>(&self, bytes: &'bytes [u8]) -> Result<(Frame, &'bytes [u8]), MessageError> {
        let (frame, body) = Frame::open(bytes)?;
        self.check(&frame)?;
        Ok((frame, body))
    }

    /// Whether a message is of this model, and its body no larger than one of it can be.
    fn check(&self, frame: &Frame) -> Result<(), MessageError> {
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
        Ok(())
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
