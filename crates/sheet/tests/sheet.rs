//! What a sheet shows of a set, and what it looks like.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Encoding, Split};
use fedact_sheet::{Settings, draw, sample};

/// A set in which the clips of a class have a colour of their own; `of_class` train and as many test clips.
fn set(folder: &Path, classes: usize, of_class: usize, encoding: Encoding) -> ClipSet {
    let names = (0..classes)
        .map(|class| format!("class {class:02}"))
        .collect();
    let dataset = Dataset {
        encoding,
        ..Dataset::new(names, 6, 16, 24)
    };
    let bytes = dataset.clip_bytes();
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for number in 0..2 * classes * of_class {
        let label = number / (2 * of_class);
        let clip = Clip {
            id: format!("class {label:02}/{number:04}.avi#00"),
            video: String::new(),
            video_digest: String::new(),
            label,
            group: String::new(),
            split: [Split::Train, Split::Test][number % 2],
            start_seconds: 0.0,
            end_seconds: 1.0,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &vec![colour(label); bytes]).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

fn colour(label: usize) -> u8 {
    60 + 20 * label as u8
}

#[test]
fn a_sample_depends_on_the_seed_and_shows_each_side_of_each_class() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path(), 5, 9, Encoding::Raw);
    let settings = Settings::default();
    let rows = sample(&set, settings);
    assert_eq!(rows, sample(&set, settings));
    assert_ne!(
        rows,
        sample(
            &set,
            Settings {
                seed: 1,
                ..settings
            }
        )
    );
    assert_eq!(rows.len(), 5);
    for (class, row) in rows.iter().enumerate() {
        assert_eq!((row.class, row.of_class), (class, [9, 9]));
        for (shown, split) in row.shown.iter().zip([Split::Train, Split::Test]) {
            assert_eq!(shown.len(), 2);
            assert!(shown.is_sorted());
            for clip in shown {
                assert_eq!((set.label(*clip), set.split(*clip)), (class, split));
            }
        }
    }
    assert!(
        rows.iter()
            .any(|row| row.shown[0] != [18 * row.class, 18 * row.class + 2])
    );
    let few = Settings {
        classes: 3,
        clips: 20,
        ..settings
    };
    let rows = sample(&set, few);
    assert_eq!(rows.len(), 3);
    assert!(rows.is_sorted_by_key(|row| row.class));
    assert!(rows.iter().all(|row| row.shown[1].len() == 9));
}

#[test]
fn frames_of_every_row_are_on_the_picture_in_either_encoding() {
    for encoding in [Encoding::Raw, Encoding::Jpeg { quality: 95 }] {
        let folder = tempfile::tempdir().unwrap();
        let set = set(folder.path(), 4, 2, encoding);
        let settings = Settings::default();
        let rows = sample(&set, settings);
        let picture = draw(&set, &rows, settings, "a title").unwrap();
        assert_eq!(picture, draw(&set, &rows, settings, "a title").unwrap());
        // Four frames of each of four clips, five times larger.
        for label in 0..4 {
            let grey = colour(label);
            let near = |value: u8| value.abs_diff(grey) <= 2;
            let shown = picture
                .pixels()
                .filter(|pixel| pixel.0.iter().all(|value| near(*value)));
            assert!(
                shown.count() >= 16 * (16 * 24 * 25),
                "{encoding:?}, class {label}"
            );
        }
        let more = draw(&set, &rows, settings, "another title").unwrap();
        assert_ne!(picture, more, "the title is not on it");
        let one = draw(&set, &rows[..1], settings, "a title").unwrap();
        assert!(one.height() < picture.height() && one.width() == picture.width());
    }
}

#[test]
fn a_damaged_clip_is_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path(), 2, 1, Encoding::Raw);
    let rows = sample(&set, Settings::default());
    let path = folder.path().join(fedact_clips::files::shard(0));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = draw(&set, &rows, Settings::default(), "")
        .unwrap_err()
        .to_string();
    assert!(error.contains("clips-00000.safetensors"), "{error}");
}
