//! Clip sets on disk: what is written is read back, and damage is named.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod kit;

use std::fs;
use std::path::Path;

use fedact_clips::{
    Clip, ClipSet, ClipSetWriter, ClipsError, Dataset, Encoding, Problem, Reason, Split, files,
    read_problems, write_problems,
};
use kit::{clip, dataset, example, pixels, read, write};
use proptest::prelude::*;

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
            prop_assert_eq!(set.label(number), expected.label);
            prop_assert_eq!(set.split(number), expected.split);
            prop_assert_eq!(set.group(number), &expected.group);
            prop_assert_eq!(set.clip(number).unwrap(), expected);
            let mut room = Vec::new();
            let found = set.pixels(number, &mut room).unwrap();
            prop_assert_eq!(found, pixels(number, dataset.clip_bytes()));
            prop_assert!(room.is_empty(), "raw pixels were copied");
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
    fs::remove_file(folder.path().join(files::INDEX)).unwrap();
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
    fs::remove_file(folder.path().join(files::INDEX)).unwrap();
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
        ("{\"format_version\": 1}", "version 1"),
        ("{}", "version null"),
    ] {
        fs::write(folder.path().join(files::DATASET), version).unwrap();
        let (error, text) = refusal(folder.path());
        assert!(matches!(error, ClipsError::Version { .. }), "{text}");
        assert!(
            text.contains(shown) && text.contains("reads version 2"),
            "{text}"
        );
    }
}

#[test]
fn without_an_index_lines_that_contradict_the_classes_or_their_own_order_are_refused() {
    for (from, to) in [
        ("\"label\":1", "\"label\":2"),
        ("\"class\":\"wave\"", "\"class\":\"jump\""),
        ("\"id\":\"bend/0001.avi#0\"", "\"id\":\"bend/0000.avi#0\""),
    ] {
        let folder = example();
        fs::remove_file(folder.path().join(files::INDEX)).unwrap();
        edit(&folder.path().join(files::CLIPS), from, to);
        let (error, text) = refusal(folder.path());
        assert!(matches!(error, ClipsError::Clip { line: 2, .. }), "{text}");
    }
    let folder = example();
    fs::remove_file(folder.path().join(files::INDEX)).unwrap();
    edit(&folder.path().join(files::CLIPS), "\"label\":1,", "");
    let (error, text) = refusal(folder.path());
    assert!(matches!(error, ClipsError::Json { line: 2, .. }), "{text}");
    assert!(text.contains("label"), "{text}");
}

#[test]
fn a_set_reads_the_same_without_its_index() {
    let folder = example();
    let expected = read(folder.path()).unwrap();
    let columns = |folder: &Path| {
        let set = ClipSet::open(folder).unwrap();
        let column = |clip| (set.label(clip), set.split(clip), set.group(clip).to_owned());
        let all: Vec<_> = (0..set.len()).map(column).collect();
        (all, set.indices(Split::Train), set.indices(Split::Test))
    };
    let with = columns(folder.path());
    fs::remove_file(folder.path().join(files::INDEX)).unwrap();
    assert_eq!(read(folder.path()).unwrap(), expected);
    assert_eq!(columns(folder.path()), with);
    // Other programs may leave out the last line feed.
    let path = folder.path().join(files::CLIPS);
    let text = fs::read(&path).unwrap();
    fs::write(&path, text.trim_ascii_end()).unwrap();
    assert_eq!(read(folder.path()).unwrap(), expected);
}

#[test]
fn an_index_of_other_files_is_refused_with_the_way_out() {
    let (folder, other) = (example(), tempfile::tempdir().unwrap());
    write(other.path(), &dataset(), 6, 1000);
    let mine = folder.path().join(files::INDEX);
    fs::copy(other.path().join(files::INDEX), &mine).unwrap();
    let (error, text) = refusal(folder.path());
    assert!(matches!(error, ClipsError::Index { .. }), "{text}");
    assert!(
        text.contains("index.safetensors") && text.contains("delete it"),
        "{text}"
    );
    fs::remove_file(mine).unwrap();
    read(folder.path()).unwrap();

    let folder = example();
    edit(&folder.path().join(files::DATASET), "wave", "waves");
    let (_, text) = refusal(folder.path());
    assert!(text.contains("another dataset.json"), "{text}");
}

#[test]
fn a_line_that_was_edited_is_refused_when_it_is_read_and_no_other() {
    let folder = example();
    edit(
        &folder.path().join(files::CLIPS),
        "\"group\":\"person01\"",
        "\"group\":\"person09\"",
    );
    let set = ClipSet::open(folder.path()).unwrap();
    assert_eq!(set.group(2), "person01");
    assert_eq!(set.clip(1).unwrap().group, "person00");
    let error = set.clip(2).unwrap_err();
    assert!(matches!(error, ClipsError::Line { line: 3, .. }), "{error}");
    assert!(error.to_string().contains("delete index.safetensors"));
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
        Dataset {
            encoding: Encoding::Jpeg { quality: 0 },
            ..dataset()
        },
        Dataset {
            encoding: Encoding::Jpeg { quality: 90 },
            width: 70_000,
            ..dataset()
        },
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

#[test]
fn a_set_can_be_seen_as_a_part_of_one_with_more_classes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &dataset(), 4, 1 << 20);
    let classes = ["wave", "sit", "bend"].map(str::to_owned).to_vec();
    let whole = ClipSet::open(folder.path()).unwrap();
    let set = ClipSet::open(folder.path())
        .unwrap()
        .under(classes.clone())
        .unwrap();
    assert_eq!(set.dataset().classes, classes);
    for number in 0..4 {
        let (own, seen) = (whole.clip(number).unwrap(), set.clip(number).unwrap());
        let name = &whole.dataset().classes[own.label];
        assert_eq!(&classes[seen.label], name);
        assert_eq!(set.label(number), seen.label);
        assert_eq!(seen.id, own.id);
    }
    let error = set.under(vec!["wave".to_owned()]).unwrap_err().to_string();
    assert!(
        error.contains("clips of bend, and the classes are wave"),
        "{error}"
    );
}
