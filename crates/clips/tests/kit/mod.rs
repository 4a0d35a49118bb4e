//! Clip sets made for the purpose.

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, ClipsError, Dataset, Encoding, Split};

pub fn dataset() -> Dataset {
    Dataset {
        sampling: serde_json::json!({"frames": 2}),
        ..Dataset::new(vec!["bend".into(), "wave".into()], 2, 3, 5)
    }
}

pub fn clip(number: usize) -> Clip {
    Clip {
        id: format!("bend/{number:04}.avi#0"),
        video: format!("bend/{number:04}.avi"),
        video_digest: format!("{number:064x}"),
        label: number % 2,
        group: format!("person{:02}", number / 2),
        split: if number.is_multiple_of(3) {
            Split::Test
        } else {
            Split::Train
        },
        start_seconds: number as f64 / 8.0,
        end_seconds: number as f64 / 8.0 + 1.0,
        shard: 77,
        row: 77,
    }
}

pub fn pixels(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| ((i * 31 + number * 17) % 251) as u8)
        .collect()
}

pub fn write(folder: &Path, dataset: &Dataset, count: usize, shard_bytes: usize) {
    let mut writer = ClipSetWriter::with_shard_bytes(folder, dataset.clone(), shard_bytes).unwrap();
    for number in 0..count {
        writer
            .push(clip(number), &pixels(number, dataset.clip_bytes()))
            .unwrap();
    }
    assert_eq!(writer.finish().unwrap(), count);
}

/// All clips with their pixels, or the first thing that is wrong with them.
pub fn read(folder: &Path) -> Result<Vec<(Clip, Vec<u8>)>, ClipsError> {
    let set = ClipSet::open(folder)?;
    let mut room = Vec::new();
    (0..set.len())
        .map(|clip| Ok((set.clip(clip)?, set.pixels(clip, &mut room)?.to_vec())))
        .collect()
}

/// The data set with larger frames, as JPEG.
pub fn jpeg_dataset(quality: u8) -> Dataset {
    Dataset {
        encoding: Encoding::Jpeg { quality },
        frames: 3,
        height: 20,
        width: 36,
        ..dataset()
    }
}

/// Pixels of a clip such as a camera would see: smooth, and different from frame to frame.
pub fn scene(number: usize, dataset: &Dataset) -> Vec<u8> {
    let [frames, height, width, _] = dataset.clip_shape();
    let mut pixels = Vec::with_capacity(dataset.clip_bytes());
    for frame in 0..frames {
        for y in 0..height {
            for x in 0..width {
                let wave = |speed: f64| {
                    let at = (x + 2 * frame) as f64 * speed + y as f64 * 0.15 + number as f64;
                    (128.0 + 100.0 * at.sin()) as u8
                };
                pixels.extend([wave(0.2), wave(0.12), wave(0.05)]);
            }
        }
    }
    pixels
}

/// Seven scenes in one or several shards.
pub fn write_scenes(folder: &Path, dataset: &Dataset, shard_bytes: usize) {
    let mut writer = ClipSetWriter::with_shard_bytes(folder, dataset.clone(), shard_bytes).unwrap();
    for number in 0..7 {
        writer.push(clip(number), &scene(number, dataset)).unwrap();
    }
    writer.finish().unwrap();
}

/// A set of seven clips in shards of three.
pub fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &dataset(), 7, 3 * dataset().clip_bytes());
    folder
}
