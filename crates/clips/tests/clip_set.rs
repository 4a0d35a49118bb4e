//! Clip sets on disk: what is written is read back, and damage is named.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;

use fedact_clips::{
    Clip, ClipSet, ClipSetWriter, ClipsError, Dataset, Problem, Reason, Split, files,
    read_problems, write_problems,
};
use proptest::prelude::*;

fn dataset() -> Dataset {
    Dataset {
        sampling: serde_json::json!({"frames": 2}),
        ..Dataset::new(vec!["bend".into(), "wave".into()], 2, 3, 5)
    }
}

fn clip(number: usize) -> Clip {
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

fn pixels(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| ((i * 31 + number * 17) % 251) as u8)
        .collect()
}

fn write(folder: &Path, dataset: &Dataset, count: usize, shard_bytes: usize) {
    let mut writer = ClipSetWriter::with_shard_bytes(folder, dataset.clone(), shard_bytes).unwrap();
    for number in 0..count {
        writer
            .push(clip(number), &pixels(number, dataset.clip_bytes()))
            .unwrap();
    }
    assert_eq!(writer.finish().unwrap(), count);
}

/// A set of seven clips in shards of three.
fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &dataset(), 7, 3 * dataset().clip_bytes());
    folder
}

fn refusal(folder: &Path) -> (ClipsError, String) {
    let error = ClipSet::open(folder).unwrap_err();
    let text = error.to_string();
    (error, text)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read_back(
        count in 0usize..20,
        frames in 1usize..4,
        height in 1usize..9,
        width in 1usize..9,
        rows_per_shard in 1usize..6,
    ) {
        let dataset = Dataset { frames, height, width, ..dataset() };
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &dataset, count, rows_per_shard * dataset.clip_bytes());
        let set = ClipSet::open(folder.path()).unwrap();
        prop_assert_eq!(set.dataset(), &dataset);
        prop_assert_eq!(set.len(), count);
        prop_assert_eq!(set.is_empty(), count == 0);
        for number in 0..count {
            let expected = Clip {
                shard: (number / rows_per_shard) as u32,
                row: (number % rows_per_shard) as u32,
                ..clip(number)
            };
            prop_assert_eq!(&set.clips()[number], &expected);
            prop_assert_eq!(set.pixels(number), pixels(number, dataset.clip_bytes()));
        }
        let mut both = set.indices(Split::Train);
        both.extend(set.indices(Split::Test));
        both.sort_unstable();
        prop_assert_eq!(both, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn equal_clips_give_equal_bytes() {
    let (one, other) = (example(), example());
    for entry in fs::read_dir(one.path()).unwrap() {
        let name = entry.unwrap().file_name();
        assert_eq!(
            fs::read(one.path().join(&name)).unwrap(),
            fs::read(other.path().join(&name)).unwrap(),
            "{name:?}"
        );
    }
}

#[test]
fn any_safetensors_reader_finds_the_pixels() {
    let folder = example();
    let bytes = fs::read(folder.path().join(files::shard(1))).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let clips = tensors.tensor("clips").unwrap();
    assert_eq!(clips.shape(), [3, 2, 3, 5, 3]);
    assert_eq!(&clips.data()[..90], pixels(3, 90));
}

#[test]
fn a_line_of_the_index_says_the_class_by_name() {
    let folder = example();
    let text = fs::read_to_string(folder.path().join(files::CLIPS)).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(4).unwrap()).unwrap();
    assert_eq!(line["class"], "bend");
    assert_eq!(line["split"], "train");
    assert_eq!((&line["shard"], &line["row"]), (&1.into(), &1.into()));
}

#[test]
fn a_shard_that_is_cut_off_is_named_with_both_lengths() {
    let folder = example();
    let path = folder.path().join(files::shard(1));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    file.set_len(whole - 1).unwrap();
    let (error, text) = refusal(folder.path());
    assert!(
        matches!(error, ClipsError::Truncated { expected, found, .. } if expected == whole && found == whole - 1),
        "{text}"
    );
    assert!(text.contains("clips-00001.safetensors"), "{text}");
    assert!(text.contains("fedact"), "no remedy in {text}");
    for length in [0, 5, 100] {
        file.set_len(length).unwrap();
        let (error, text) = refusal(folder.path());
        assert!(matches!(error, ClipsError::Shard { .. }), "{text}");
    }
}

#[test]
fn a_shard_that_is_missing_or_of_another_shape_is_named() {
    let folder = example();
    edit(
        &folder.path().join(files::DATASET),
        "\"width\": 5",
        "\"width\": 6",
    );
    let (error, text) = refusal(folder.path());
    assert!(
        matches!(&error, ClipsError::Shape { found, expected, .. } if *found == [2, 3, 5, 3] && *expected == [2, 3, 6, 3]),
        "{text}"
    );
    edit(
        &folder.path().join(files::DATASET),
        "\"width\": 6",
        "\"width\": 5",
    );
    fs::remove_file(folder.path().join(files::shard(2))).unwrap();
    let (error, text) = refusal(folder.path());
    assert!(matches!(error, ClipsError::Read { .. }), "{text}");
    assert!(text.contains("clips-00002.safetensors"), "{text}");
}

#[test]
fn a_row_outside_its_shard_is_refused_with_the_line() {
    let folder = example();
    edit(
        &folder.path().join(files::CLIPS),
        "\"shard\":2,\"row\":0",
        "\"shard\":2,\"row\":1",
    );
    let (error, text) = refusal(folder.path());
    assert!(
        matches!(
            error,
            ClipsError::Row {
                line: 7,
                shard: 2,
                row: 1,
                rows: 1,
                ..
            }
        ),
        "{text}"
    );
}

#[test]
fn another_version_is_named_even_when_its_fields_are_unknown() {
    let folder = example();
    for (version, shown) in [
        ("{\"format_version\": 2}", "version 2"),
        ("{}", "version null"),
    ] {
        fs::write(folder.path().join(files::DATASET), version).unwrap();
        let (error, text) = refusal(folder.path());
        assert!(matches!(error, ClipsError::Version { .. }), "{text}");
        assert!(
            text.contains(shown) && text.contains("reads version 1"),
            "{text}"
        );
    }
}

#[test]
fn an_index_that_contradicts_the_classes_or_its_own_order_is_refused() {
    for (from, to) in [
        ("\"label\":1", "\"label\":2"),
        ("\"class\":\"wave\"", "\"class\":\"jump\""),
        ("\"id\":\"bend/0001.avi#0\"", "\"id\":\"bend/0000.avi#0\""),
    ] {
        let folder = example();
        edit(&folder.path().join(files::CLIPS), from, to);
        let (error, text) = refusal(folder.path());
        assert!(matches!(error, ClipsError::Clip { line: 2, .. }), "{text}");
    }
    let folder = example();
    edit(&folder.path().join(files::CLIPS), "\"label\":1,", "");
    let (error, text) = refusal(folder.path());
    assert!(matches!(error, ClipsError::Json { line: 2, .. }), "{text}");
    assert!(text.contains("label"), "{text}");
}

#[test]
fn a_folder_that_is_no_clip_set_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_, text) = refusal(folder.path());
    assert!(
        text.contains("dataset.json") && text.contains("fedact extract"),
        "{text}"
    );
}

#[test]
fn a_set_that_was_not_finished_is_no_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ClipSetWriter::create(folder.path(), dataset()).unwrap();
    writer.push(clip(0), &pixels(0, 90)).unwrap();
    drop(writer);
    assert!(matches!(refusal(folder.path()).0, ClipsError::Read { .. }));
}

#[test]
fn the_writer_refuses_clips_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ClipSetWriter::create(folder.path(), dataset()).unwrap();
    writer.push(clip(1), &pixels(1, 90)).unwrap();
    let cases = [
        (clip(1), 90, "after"),
        (clip(0), 90, "after"),
        (
            Clip {
                label: 2,
                ..clip(2)
            },
            90,
            "label 2",
        ),
        (clip(2), 89, "89 bytes"),
    ];
    for (clip, bytes, expected) in cases {
        let text = writer
            .push(clip, &pixels(0, bytes))
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(writer.finish().unwrap(), 1);
}

#[test]
fn the_writer_refuses_a_data_set_that_no_clip_could_belong_to() {
    let folder = tempfile::tempdir().unwrap();
    let twice = vec!["a".to_owned(), "a".to_owned()];
    for wrong in [
        Dataset::new(vec![], 2, 3, 5),
        Dataset::new(twice, 2, 3, 5),
        Dataset::new(vec!["a".into()], 0, 3, 5),
        Dataset::new(vec!["a".into()], usize::MAX, 3, 5),
    ] {
        assert!(matches!(
            ClipSetWriter::create(folder.path(), wrong),
            Err(ClipsError::Dataset { .. })
        ));
    }
}

#[test]
fn problems_are_read_back_and_may_be_absent() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read_problems(folder.path()).unwrap(), []);
    let problems = [
        Problem {
            path: "bend/notes.doc".into(),
            reason: Reason::NotAVideo,
            message: "no video stream".into(),
            ffmpeg: vec!["Invalid data found".into()],
        },
        Problem {
            path: "bend/a.avi".into(),
            reason: Reason::Duplicate,
            message: "same as bend/b.avi".into(),
            ffmpeg: vec![],
        },
    ];
    write_problems(folder.path(), &problems).unwrap();
    assert_eq!(read_problems(folder.path()).unwrap(), problems);
    assert!(Reason::NotAVideo.left_out() && Reason::Duplicate.left_out());
    assert!(!Reason::Damaged.left_out());
}
