//! The official lists, whole, on folders in which every video is there, as an empty file.

#![allow(clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The lists of a data set as published; `None`, and said so, where they are not at hand.
fn official(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/splits")
        .join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// A folder with a copy of the lists in `folder`, and an empty file for every name.
fn unpacked(lists: &Path, folder: &str, videos: &BTreeSet<String>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let copies = root.path().join(folder);
    fs::create_dir(&copies).unwrap();
    for entry in fs::read_dir(lists).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copies.join(path.file_name().unwrap())).unwrap();
    }
    for video in videos {
        let path = root.path().join(video);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    root
}

fn split_list(split_list: u32) -> ExtractParams {
    ExtractParams {
        split_list,
        ..ExtractParams::default()
    }
}

/// How many candidates are on each side.
fn counts(found: &Found) -> (usize, usize) {
    let splits = found.official.as_ref().unwrap();
    let train = splits
        .iter()
        .filter(|split| **split == Split::Train)
        .count();
    (train, splits.len() - train)
}

#[test]
fn ucf101s_official_lists_parse_whole() {
    let Some(lists) = official("ucf101") else {
        return;
    };
    let text = |name: &str| fs::read_to_string(lists.join(name)).unwrap();
    let videos: BTreeSet<String> = [text("trainlist01.txt"), text("testlist01.txt")]
        .iter()
        .flat_map(|list| list.lines())
        .map(|line| format!("UCF-101/{}", line.split_whitespace().next().unwrap()))
        .collect();
    assert_eq!(videos.len(), 13_320);
    let root = unpacked(&lists, "ucfTrainTestlist", &videos);
    for (number, expected) in [
        (1, (9_537, 3_783)),
        (2, (9_586, 3_734)),
        (3, (9_624, 3_696)),
    ] {
        let found = find(root.path(), &split_list(number)).unwrap();
        assert_eq!(found.layout, Layout::Ucf101);
        assert_eq!(counts(&found), expected, "split {number}");
        assert_eq!(found.problems, []);
        assert_eq!((found.unlisted, found.unused), (0, 0));
        assert_eq!(found.classes.len(), 101);
        assert_eq!(found.classes[0], "ApplyEyeMakeup");
        assert_eq!(found.classes[100], "YoYo");
        for candidate in &found.candidates {
            let folder = format!("UCF-101/{}/", found.classes[candidate.label]);
            assert!(candidate.name.starts_with(&folder), "{candidate:?}");
        }
        let (groups, _) = crate::split::groups(&found.candidates, &found.classes, None);
        assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), 25);
    }
}

#[test]
fn hmdb51s_official_lists_parse_whole() {
    let Some(lists) = official("hmdb51") else {
        return;
    };
    let mut videos = BTreeSet::new();
    let mut files = 0;
    for entry in fs::read_dir(&lists).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((class, _)) = name.split_once("_test_split") else {
            continue;
        };
        files += 1;
        for line in fs::read_to_string(&path).unwrap().lines() {
            let video = line.split_whitespace().next().unwrap();
            videos.insert(format!("{class}/{video}"));
        }
    }
    assert_eq!((files, videos.len()), (153, 6_766));
    let root = unpacked(&lists, "testTrainMulti_7030_splits", &videos);
    for number in 1..=3 {
        let found = find(root.path(), &split_list(number)).unwrap();
        assert_eq!(found.layout, Layout::Hmdb51);
        assert_eq!(counts(&found), (3_570, 1_530), "split {number}");
        assert_eq!(found.problems, []);
        assert_eq!((found.unlisted, found.unused), (0, 1_666));
        assert_eq!(found.classes.len(), 51);
        // Every name says its source, and no source is on both sides.
        let (groups, _) = crate::split::groups(&found.candidates, &found.classes, None);
        let mut sides: BTreeMap<(usize, &String), BTreeSet<Split>> = BTreeMap::new();
        let splits = found.official.as_ref().unwrap();
        for ((candidate, group), split) in found.candidates.iter().zip(&groups).zip(splits) {
            assert_eq!(candidate.group.as_ref(), Some(group));
            sides
                .entry((candidate.label, group))
                .or_default()
                .insert(*split);
        }
        let both = sides.values().filter(|sides| sides.len() > 1).count();
        assert_eq!(both, 0, "split {number}");
    }
}

#[test]
fn classes_are_in_the_order_of_the_published_label_maps() {
    let Some(maps) = official("label_maps") else {
        return;
    };
    for count in [400, 600, 700] {
        let map = format!("tools_data_kinetics_label_map_k{}.txt", count);
        let text = fs::read_to_string(maps.join(map)).unwrap();
        let expected: Vec<&str> = text.lines().collect();
        assert_eq!(expected.len(), count);
        let root = tempfile::tempdir().unwrap();
        let mut list = "label,youtube_id,time_start,time_end,split\n".to_owned();
        for (index, class) in expected.iter().rev().enumerate() {
            list += &format!("\"{class}\",{index:011},0,10,train\n");
        }
        fs::write(root.path().join("train.csv"), list).unwrap();
        let found = find(root.path(), &ExtractParams::default()).unwrap();
        assert_eq!(found.layout, Layout::Kinetics);
        assert_eq!(found.classes, expected);
        assert_eq!(found.problems.len(), count);
    }
}
