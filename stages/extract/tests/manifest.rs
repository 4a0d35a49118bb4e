//! Manifests of one's own: what a line may say, and what is said about lines that cannot be right.

#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::BTreeMap;
use std::fs;

use fedact_clips::{Reason, Split};
use kit::{Place, rows, sides};
use serde_json::json;

/// Four recordings of eight seconds, each of another content.
fn recordings() -> Place {
    let place = Place::new();
    for number in 0..4 {
        place.clock(&format!("day{number}/camera.avi"), 8 + number);
    }
    place
}

#[test]
fn a_manifest_names_files_parts_sides_and_groups() {
    let csv = "path,label,start,end,split,group\n\
        day0/camera.avi,fall,0,2,train,anna\n\
        day0/camera.avi,walk,2,4.5,train,anna\n\
        ./day1/camera.avi,walk,,,test,ben\n\
        day2/camera.avi,fall,5,,test,cleo\n";
    let json_lines = r#"{"path": "day0/camera.avi", "label": "fall", "start": 0, "end": 2, "split": "train", "group": "anna"}

{"path": "day0/camera.avi", "label": "walk", "start": 2, "end": 4.5, "split": "train", "group": "anna"}
{"path": "day1/camera.avi", "label": "walk", "split": "test", "group": "ben"}
{"path": "day2/camera.avi", "label": "fall", "start": 5, "split": "test", "group": "cleo"}
"#;
    let row = |id: &str, group: &str, side| (format!("{id}#00"), group.to_owned(), side);
    for (name, text) in [
        ("manifest.csv", csv.to_owned()),
        ("manifest.csv", csv.replace(',', ";")),
        (
            "manifest.csv",
            format!("\u{feff}{}", csv.replace('\n', "\r\n")),
        ),
        ("manifest.jsonl", json_lines.to_owned()),
    ] {
        let place = recordings();
        place.file(name, text.as_bytes());
        let outcome = place.run(json!({}));
        assert_eq!(
            rows(&outcome),
            [
                row("day0/camera.avi@0-2", "anna", Split::Train),
                row("day0/camera.avi@2-4.5", "anna", Split::Train),
                row("day1/camera.avi", "ben", Split::Test),
                row("day2/camera.avi@5-", "cleo", Split::Test),
            ]
        );
        let set = outcome.set();
        assert_eq!(set.dataset().classes, ["fall", "walk"]);
        let times: Vec<(f64, f64)> = outcome
            .clips()
            .iter()
            .map(|clip| (clip.start_seconds, clip.end_seconds))
            .collect();
        assert_eq!(times, [(0.2, 1.7), (2.3, 4.1), (1.1, 7.8), (5.6, 9.3)]);
        let red: Vec<i32> = (0..4)
            .map(|clip| i32::from(outcome.pixels(clip)[0]))
            .collect();
        for (found, expected) in red.iter().zip([18, 39, 27, 72]) {
            assert!((found - expected).abs() <= 4, "{red:?}");
        }
        assert_eq!(outcome.metric("unlisted_files"), 1);
    }
}

#[test]
fn without_a_column_of_splits_the_groups_of_a_manifest_decide() {
    let place = Place::new();
    let mut lines = "label,path,group\n".to_owned();
    for (label, class) in ["sit", "stand"].into_iter().enumerate() {
        for person in 0..3 {
            let name = format!("{class}{person}.avi");
            place.video(&name, 30 + 90 * label as u8 + 20 * person);
            lines += &format!("{class},{name},person {person}\n");
        }
    }
    place.file("lists/mine.csv", lines.as_bytes());
    let outcome = place.run(json!({"manifest": "lists/mine.csv"}));
    let mut sides: BTreeMap<String, Vec<Split>> = BTreeMap::new();
    for (_, group, side) in rows(&outcome) {
        sides.entry(group).or_default().push(side);
    }
    let test = vec![Split::Test; 2];
    assert_eq!(sides.len(), 3);
    assert_eq!(sides.values().filter(|side| **side == test).count(), 1);
    assert!(sides.values().all(|side| side[0] == side[1]), "{sides:?}");
    let outcome = place.run(json!({"manifest": "lists/mine.csv", "group_pattern": r"(\w\d)\."}));
    assert!(rows(&outcome).iter().any(|row| row.1 == "d0"));
}

#[test]
fn manifests_that_cannot_be_right_are_refused_with_file_line_value_and_remedy() {
    for (name, text, expected, remedy) in [
        (
            "manifest.csv",
            "path,label\na.avi,\n",
            "line 2: `label` is empty",
            "fill it in",
        ),
        (
            "manifest.csv",
            "path,labels\na.avi,x\n",
            "line 1: the column `labels`",
            "known are path, label",
        ),
        (
            "manifest.csv",
            "path\na.avi\n",
            "line 1: the header has no column `label`",
            "`path,label`",
        ),
        (
            "manifest.csv",
            "path,label,start\na.avi,x,-1\n",
            "line 2: `start` is `-1`",
            "12.5",
        ),
        (
            "manifest.csv",
            "path,label,start,end\n\na.avi,x,3,2\n",
            "line 3: `end` is 2",
            "correct the two times",
        ),
        (
            "manifest.csv",
            "path,label,split\na.avi,x,dev\n",
            "line 2: `split` is `dev`",
            "train, val or test",
        ),
        (
            "manifest.csv",
            "path,label,split\na.avi,x,train\nb.avi,x,\n",
            "line 3: it has no split, but line 2",
            "or none",
        ),
        (
            "manifest.csv",
            "path,label\n../a.avi,x\n",
            "line 2: `../a.avi` leads out",
            "input `videos`",
        ),
        (
            "manifest.csv",
            "path,label\n/data/a.avi,x\n",
            "line 2: `/data/a.avi` leads out",
            "input `videos`",
        ),
        (
            "manifest.csv",
            "path,label\n\r\n\na.avi,x,1\n",
            "line 4: it has 3 columns",
            "quotes",
        ),
        (
            "manifest.csv",
            "path,label\n",
            "line 1: it names no video",
            "its label",
        ),
        (
            "manifest.csv",
            "",
            "line 1: the header has no column `path`",
            "`path,label`",
        ),
        (
            "manifest.jsonl",
            "{\"path\": \"a.avi\"}\n",
            "line 1: missing field `label`",
            "`path` and `label`",
        ),
        (
            "manifest.jsonl",
            "{\"path\": \"a.avi\", \"label\": 1}\n{\"pth\": 1}\n",
            "line 2: unknown field `pth`",
            "known are path",
        ),
        (
            "manifest.jsonl",
            "path,label\n",
            "line 1: expected",
            "a JSON object",
        ),
        (
            "manifest.jsonl",
            "{\"path\": \"a.avi\", \"label\": 1, \"start\": -2}",
            "line 1: -2 is before",
            "12.5",
        ),
    ] {
        let place = Place::new();
        place.file(name, text.as_bytes());
        let refusal = place.run(json!({})).refusal();
        assert!(
            refusal.contains(&format!("{name}, {expected}")),
            "{refusal}"
        );
        assert!(refusal.contains(remedy), "{refusal}");
    }
    let place = recordings();
    place.file(
        "manifest.csv",
        b"path,label\nday0/camera.avi,walk\nday1/camera.avi,walk\nday0/camera.avi,fall\n",
    );
    let refusal = place.run(json!({})).refusal();
    assert!(
        refusal.contains(
            "line 4: `day0/camera.avi` is named again as train of `fall`; line 2 of manifest.csv"
        ),
        "{refusal}"
    );
    place.file("manifest.csv", b"\xff\xfepath,label\n");
    let refusal = place.run(json!({"layout": "manifest"})).refusal();
    assert!(
        refusal.contains("manifest.csv") && refusal.contains("UTF-8"),
        "{refusal}"
    );
    let refusal = place.run(json!({"manifest": "other.csv"})).refusal();
    assert!(refusal.contains("other.csv"), "{refusal}");
}

#[test]
fn a_validation_list_is_on_the_side_that_is_asked_for() {
    let place = Place::new();
    let mut lines = "path,label,split\n".to_owned();
    for (label, class) in ["sit", "stand"].into_iter().enumerate() {
        for (index, split) in ["train", "val", "test"].into_iter().enumerate() {
            let name = format!("{class}-{split}.avi");
            place.video(&name, 30 + 90 * label as u8 + 20 * index as u8);
            lines += &format!("{name},{class},{split}\n");
        }
    }
    place.file("manifest.csv", lines.as_bytes());
    let both = |split: &str| vec![format!("sit-{split}.avi"), format!("stand-{split}.avi")];
    for (validation, train, test, unused) in [
        ("auto", both("train"), both("test"), 2),
        ("leave-out", both("train"), both("test"), 2),
        ("test", both("train"), both("val"), 2),
        (
            "train",
            [
                "sit-train.avi",
                "sit-val.avi",
                "stand-train.avi",
                "stand-val.avi",
            ]
            .map(String::from)
            .to_vec(),
            both("test"),
            0,
        ),
    ] {
        let outcome = place.run(json!({"validation": validation}));
        assert_eq!(sides(&outcome), (train, test), "{validation}");
        assert_eq!(outcome.metric("unused_files"), unused);
    }
    // Without a test list the validation list measures.
    let lines: String = lines
        .lines()
        .filter(|line| !line.ends_with(",test"))
        .map(|line| format!("{line}\n"))
        .collect();
    place.file("manifest.csv", lines.as_bytes());
    assert_eq!(sides(&place.run(json!({}))), (both("train"), both("val")));
    let refusal = place.run(json!({"validation": "train"})).refusal();
    assert!(refusal.contains("no test video of 2 classes"), "{refusal}");
}

#[test]
fn parts_of_one_file_are_duplicates_only_where_they_overlap() {
    let place = recordings();
    let lines = "path,label,start,end,split\n\
        day0/camera.avi,walk,0,2,train\n\
        day0/camera.avi,walk,3,5,train\n\
        day0/camera.avi,walk,4,7,test\n\
        day1/camera.avi,walk,4,7,train\n";
    place.file("manifest.csv", lines.as_bytes());
    fs::copy(
        place.videos().join("day0/camera.avi"),
        place.videos().join("day1/camera.avi"),
    )
    .unwrap();
    let outcome = place.run(json!({}));
    let (train, test) = sides(&outcome);
    assert_eq!(train, ["day0/camera.avi@0-2"]);
    assert_eq!(test, ["day0/camera.avi@4-7"]);
    assert_eq!(outcome.metric("duplicate_videos"), 2);
    let problems = outcome.problems();
    assert!(
        problems
            .iter()
            .all(|one| one.reason == Reason::Duplicate
                && one.message.contains("day0/camera.avi@4-7")),
        "{problems:?}"
    );
    let refusal = place.run(json!({"duplicates": "fail"})).refusal();
    assert!(
        refusal.contains("2 training videos") && refusal.contains("duplicates: leave-out"),
        "{refusal}"
    );
}
