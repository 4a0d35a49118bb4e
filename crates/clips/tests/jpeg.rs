//! Clips stored as JPEG.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod kit;

use std::fs;

use fedact_clips::{ClipSet, ClipSetWriter, Dataset, Encoding, files};
use kit::{clip, dataset, jpeg_dataset, read, scene, write_scenes};
use proptest::prelude::*;

/// Peak signal to noise ratio of two pictures, in decibels.
fn psnr(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let squares = one.iter().zip(other).map(|(a, b)| {
        let difference = f64::from(*a) - f64::from(*b);
        difference * difference
    });
    let mean = squares.sum::<f64>() / one.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn what_is_read_looks_like_what_was_written_and_takes_less_room() {
    let bytes = |quality| {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset {
            height: 96,
            width: 128,
            ..jpeg_dataset(quality)
        };
        write_scenes(folder.path(), &dataset, usize::MAX);
        let clips = read(folder.path()).unwrap();
        let worst = clips
            .iter()
            .enumerate()
            .map(|(number, (_, pixels))| psnr(pixels, &scene(number, &dataset)))
            .fold(f64::INFINITY, f64::min);
        let size = fs::metadata(folder.path().join(files::shard(0)))
            .unwrap()
            .len();
        (worst, size, 7 * dataset.clip_bytes() as u64)
    };
    let (good, large, raw) = bytes(95);
    let (poor, small, _) = bytes(50);
    assert!(good > 38.0 && poor > 30.0 && good > poor, "{good} {poor}");
    assert!(large < raw / 4 && small < large, "{large} {small} {raw}");
}

#[test]
fn shards_are_as_large_as_their_jpegs() {
    let folder = tempfile::tempdir().unwrap();
    write_scenes(folder.path(), &jpeg_dataset(90), usize::MAX);
    let whole = read(folder.path()).unwrap();
    let one = fs::metadata(folder.path().join(files::shard(0)))
        .unwrap()
        .len() as usize;
    let parts = tempfile::tempdir().unwrap();
    write_scenes(parts.path(), &jpeg_dataset(90), one / 3);
    assert!(parts.path().join(files::shard(2)).exists());
    let pixels = |clips: &[(fedact_clips::Clip, Vec<u8>)]| -> Vec<Vec<u8>> {
        clips.iter().map(|(_, pixels)| pixels.clone()).collect()
    };
    assert_eq!(pixels(&read(parts.path()).unwrap()), pixels(&whole));
}

#[test]
fn equal_clips_give_equal_bytes_on_any_number_of_threads() {
    let bytes = |threads| {
        let folder = tempfile::tempdir().unwrap();
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| write_scenes(folder.path(), &jpeg_dataset(90), usize::MAX));
        fs::read(folder.path().join(files::shard(0))).unwrap()
    };
    assert_eq!(bytes(1), bytes(3));
}

/// Pixels decide what is learnt: they must not depend on the processor.
#[test]
fn vector_instructions_do_not_change_pixels() {
    use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset {
        frames: 1,
        height: 112,
        width: 112,
        ..jpeg_dataset(90)
    };
    write_scenes(folder.path(), &dataset, usize::MAX);
    let shard = fs::read(folder.path().join(files::shard(0))).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&shard).unwrap();
    let offsets: Vec<usize> = tensors
        .tensor("offsets")
        .unwrap()
        .data()
        .as_chunks::<8>()
        .0
        .iter()
        .map(|offset| i64::from_le_bytes(*offset) as usize)
        .collect();
    let jpeg = tensors.tensor("jpeg").unwrap().data();
    assert_eq!(offsets.len(), 8);
    for (number, (_, pixels)) in read(folder.path()).unwrap().iter().enumerate() {
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::RGB)
            .set_use_unsafe(false);
        let jpeg = ZCursor::new(&jpeg[offsets[number]..offsets[number + 1]]);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(jpeg, options);
        assert!(decoder.decode().unwrap() == *pixels, "clip {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn frames_of_any_size_are_read_back(
        frames in 1usize..4,
        height in 1usize..40,
        width in 1usize..40,
        quality in 50u8..=100,
    ) {
        let dataset = Dataset {
            encoding: Encoding::Jpeg { quality },
            frames,
            height,
            width,
            ..dataset()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ClipSetWriter::create(folder.path(), dataset.clone()).unwrap();
        let grey = |number: usize| vec![(40 * number) as u8 + 30; dataset.clip_bytes()];
        for number in 0..4 {
            writer.push(clip(number), &grey(number)).unwrap();
        }
        writer.finish().unwrap();
        let set = ClipSet::open(folder.path()).unwrap();
        prop_assert_eq!(set.dataset().encoding, Encoding::Jpeg { quality });
        let mut room = Vec::new();
        // Backwards, into the same room: nothing of one clip is left in the next.
        for number in (0..4).rev() {
            let found = set.pixels(number, &mut room).unwrap();
            for (found, expected) in found.iter().zip(grey(number)) {
                prop_assert!(found.abs_diff(expected) <= 4, "{found} {expected} at {quality}");
            }
        }
    }
}
