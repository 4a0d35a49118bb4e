//! Frames as JPEG: baseline, colours at full resolution (4:4:4), the standard's Huffman tables.
//!
//! Videos hold colours at half the resolution (4:2:0), but frames are scaled down when they are cut, and have colours
//! at nearly the full one. Measured on frames of 112 x 112 pixels, halving it again loses more than it saves: 4:4:4 of
//! quality 75 is a quarter smaller than 4:2:0 of quality 90, and as near to the original (36.9 against 37.1 dB).
//!
//! Tables made for each frame would save a tenth more, but `jpeg-encoder` then writes one scan for each colour,
//! which `zune-jpeg` does not always read right. `jpeg-encoder` also writes other bytes with vector instructions than
//! without, and small frames no sooner; so it is built without.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::Dataset;
use crate::shard::Stored;

/// The frames of a clip, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Encoded {
    pub(crate) fn stored(&self) -> Stored<'_> {
        Stored::Jpeg {
            bytes: &self.bytes,
            ends: self.ends.clone(),
        }
    }
}

/// Encodes a clip, its frames side by side on the threads of rayon's current pool.
pub(crate) fn encode(pixels: &[u8], dataset: &Dataset, quality: u8) -> Result<Encoded, String> {
    let frames: Vec<Vec<u8>> = pixels
        .par_chunks(frame_bytes(dataset))
        .map(|frame| encode_frame(frame, dataset, quality))
        .collect::<Result<_, _>>()?;
    let mut encoded = Encoded::default();
    for frame in frames {
        encoded.bytes.extend_from_slice(&frame);
        encoded.ends.push(encoded.bytes.len());
    }
    Ok(encoded)
}

fn encode_frame(frame: &[u8], dataset: &Dataset, quality: u8) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    let (width, height) = (dataset.width as u16, dataset.height as u16);
    encoder
        .encode(frame, width, height, ColorType::Rgb)
        .map_err(|error| format!("it cannot be encoded as JPEG: {error}"))?;
    Ok(bytes)
}

/// Decodes a clip whose frames end where `ends` says into frames x height x width x 3 bytes.
pub(crate) fn decode(
    bytes: &[u8],
    ends: &[usize],
    dataset: &Dataset,
    pixels: &mut [u8],
) -> Result<(), String> {
    let mut start = 0;
    let places = pixels.chunks_exact_mut(frame_bytes(dataset));
    for (number, (end, place)) in ends.iter().zip(places).enumerate() {
        decode_frame(&bytes[start..*end], dataset, place)
            .map_err(|message| format!("frame {number}: {message}"))?;
        start = *end;
    }
    Ok(())
}

fn decode_frame(jpeg: &[u8], dataset: &Dataset, pixels: &mut [u8]) -> Result<(), String> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    decoder
        .decode_headers()
        .map_err(|error| error.to_string())?;
    let expected = (dataset.width, dataset.height);
    match decoder.dimensions() {
        Some(found) if found == expected => {}
        found => return Err(format!("its size is {found:?} and not {expected:?}")),
    }
    decoder
        .decode_into(pixels)
        .map_err(|error| error.to_string())
}

/// Bytes of one frame's pixels.
fn frame_bytes(dataset: &Dataset) -> usize {
    dataset.height * dataset.width * 3
}
