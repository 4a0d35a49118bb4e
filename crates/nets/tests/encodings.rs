//! Batches of clips that are stored as JPEG. A process of its own: the number of threads is the process's.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Encoding, Split, files};
use fedact_nets::data::{Augmentation, Batch, Loader, LoaderSettings};
use fedact_nets::train::Balance;
use fedact_nets::{Architecture, InputGeometry, ModelInfo, NetsError, set_threads};

const CLIPS: usize = 11;

fn dataset(encoding: Encoding) -> Dataset {
    Dataset {
        encoding,
        ..Dataset::new(vec!["a".into(), "b".into()], 3, 16, 24)
    }
}

fn write(folder: &Path, encoding: Encoding, pixels: impl Fn(usize) -> Vec<u8>) -> ClipSet {
    let mut writer = ClipSetWriter::create(folder, dataset(encoding)).unwrap();
    for number in 0..CLIPS {
        let clip = Clip {
            id: format!("clip-{number:04}"),
            video: String::new(),
            video_digest: String::new(),
            label: number % 2,
            group: String::new(),
            split: Split::Train,
            start_seconds: 0.0,
            end_seconds: 0.3,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &pixels(number)).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

fn scene(number: usize) -> Vec<u8> {
    let wave = |at: usize| (128.0 + 90.0 * (at as f64 / 40.0 + number as f64).sin()) as u8;
    (0..dataset(Encoding::Raw).clip_bytes()).map(wave).collect()
}

fn jpeg(folder: &Path) -> ClipSet {
    write(folder, Encoding::Jpeg { quality: 80 }, scene)
}

/// All batches of an epoch with random views.
fn batches(set: &ClipSet, balance: Balance) -> Result<Vec<Batch>, NetsError> {
    let input = InputGeometry::from(set.dataset());
    let info = ModelInfo::new(
        Architecture::default(),
        set.dataset().classes.clone(),
        InputGeometry { frames: 2, ..input },
    );
    let augmentation = Augmentation {
        flip: 0.5,
        saturation: 0.4,
        speed: 1.5,
        ..Augmentation::default()
    };
    let settings = LoaderSettings {
        balance,
        ..LoaderSettings::training(4, 7, augmentation, &info)
    };
    let indices = set.indices(Split::Train);
    let mut batches = Vec::new();
    Loader::new(set, &indices, settings)?.run(1, |batch| {
        batches.push(batch);
        Ok::<(), NetsError>(())
    })?;
    Ok(batches)
}

#[test]
fn a_network_sees_the_same_of_jpegs_on_any_number_of_threads_as_of_their_pixels() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let jpeg = jpeg(folder.path());
    let raw = write(other.path(), Encoding::Raw, |number| {
        let mut room = Vec::new();
        jpeg.pixels(number, &mut room).unwrap().to_vec()
    });
    let expected = batches(&raw, Balance::Sampling).unwrap();
    assert_eq!(expected.len(), 2);
    for threads in [1, 3, 8] {
        set_threads(threads);
        let found = batches(&jpeg, Balance::Sampling).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.clips.equal(&expected.clips), "{threads} threads");
            assert!(found.labels.equal(&expected.labels));
            assert_eq!(found.indices, expected.indices);
        }
    }
}

#[test]
fn a_damaged_clip_ends_the_epoch_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    drop(jpeg(folder.path()));
    let path = folder.path().join(files::shard(0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let set = ClipSet::open(folder.path()).unwrap();
    let error = batches(&set, Balance::None).unwrap_err();
    assert!(error.invalid_input());
    let text = error.to_string();
    assert!(
        text.contains("row 0") && text.contains("clips-00000.safetensors"),
        "{text}"
    );
}
