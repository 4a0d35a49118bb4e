//! Data sets as they lie on a disk: their lists and folders, what is missing, and what is wrong with them.

#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::BTreeMap;
use std::fs;

use fedact_clips::{Reason, Split};
use kit::{Outcome, Place};
use serde_json::json;

/// Video, group and side of each clip.
fn rows(outcome: &Outcome) -> Vec<(String, String, Split)> {
    let set = outcome.set();
    set.clips()
        .iter()
        .map(|clip| (clip.id.clone(), clip.group.clone(), clip.split))
        .collect()
}

/// The videos on each side.
fn sides(outcome: &Outcome) -> (Vec<String>, Vec<String>) {
    let of = |side| {
        rows(outcome)
            .into_iter()
            .filter(|row| row.2 == side)
            .map(|row| row.0.split('#').next().unwrap().to_owned())
            .collect()
    };
    (of(Split::Train), of(Split::Test))
}

/// HMDB51 in miniature: two classes with a video in each part.
fn hmdb51(folder: &str) -> Place {
    let place = Place::new();
    for (label, class) in ["brush_hair", "wave"].into_iter().enumerate() {
        let names: Vec<String> = (0..3)
            .map(|clip| format!("Tale{clip}_{class}_f_nm_np1_fr_med_{clip}.avi"))
            .collect();
        for (clip, name) in names.iter().enumerate() {
            let colour = 30 + 80 * label as u8 + 20 * clip as u8;
            place.video(
                &folder.replace("CLASS", class).replace("NAME", name),
                colour,
            );
        }
        for split in 1..=3 {
            let lines: String = names
                .iter()
                .enumerate()
                .map(|(clip, name)| format!("{name} {} \n", (clip + split) % 3))
                .collect();
            place.file(
                &format!("testTrainMulti_7030_splits/{class}_test_split{split}.txt"),
                lines.as_bytes(),
            );
        }
    }
    place
}

#[test]
fn hmdb51_is_recognised_by_its_split_files_whatever_the_folders() {
    for folder in ["CLASS/NAME", "videos/CLASS/NAME", "NAME"] {
        let place = hmdb51(folder);
        let outcome = place.run(json!({}));
        let set = outcome.set();
        assert_eq!(set.dataset().classes, ["brush_hair", "wave"]);
        assert_eq!(set.dataset().source["layout"], "hmdb51");
        let mut found: Vec<(String, String, Split)> = rows(&outcome);
        for row in &mut found {
            row.0 = row.0.rsplit('/').next().unwrap().to_owned();
        }
        found.sort();
        let row = |id: &str, group: &str, side| (format!("{id}#00"), group.to_owned(), side);
        assert_eq!(
            found,
            [
                row(
                    "Tale0_brush_hair_f_nm_np1_fr_med_0.avi",
                    "Tale0",
                    Split::Train
                ),
                row("Tale0_wave_f_nm_np1_fr_med_0.avi", "Tale0", Split::Train),
                row(
                    "Tale1_brush_hair_f_nm_np1_fr_med_1.avi",
                    "Tale1",
                    Split::Test
                ),
                row("Tale1_wave_f_nm_np1_fr_med_1.avi", "Tale1", Split::Test),
            ],
            "{folder}"
        );
        assert_eq!(
            (
                outcome.metric("unused_files"),
                outcome.metric("unlisted_files")
            ),
            (2, 0)
        );
        assert_eq!(outcome.problems(), []);
    }
    let place = hmdb51("CLASS/NAME");
    let (train, test) = sides(&place.run(json!({"split_list": 2, "include": ["wave"]})));
    assert_eq!(train, ["wave/Tale2_wave_f_nm_np1_fr_med_2.avi"]);
    assert_eq!(test, ["wave/Tale0_wave_f_nm_np1_fr_med_0.avi"]);
    // The lists can be overruled: sources in the names become groups.
    let outcome = place.run(json!({"layout": "folders", "test_share": 0.4}));
    let sides: BTreeMap<String, Split> = rows(&outcome)
        .into_iter()
        .map(|(_, group, side)| (group, side))
        .collect();
    assert_eq!(outcome.metric("videos"), 6);
    assert_eq!(sides.len(), 3);
}

#[test]
fn a_list_of_hmdb51_that_is_missing_or_wrong_is_named() {
    let place = hmdb51("CLASS/NAME");
    let lists = place.videos().join("testTrainMulti_7030_splits");
    fs::remove_file(lists.join("wave_test_split3.txt")).unwrap();
    let text = place.run(json!({"split_list": 3})).refusal();
    assert!(text.contains("wave_test_split3.txt"), "{text}");
    place.file(
        "testTrainMulti_7030_splits/wave_test_split1.txt",
        b"a.avi 1\nb.avi 7\n",
    );
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("wave_test_split1.txt, line 2") && text.contains("`b.avi 7`"),
        "{text}"
    );
}

/// Two classes, two videos to train on and one to validate in each.
fn kinetics(files: &[(&str, u32)]) -> Place {
    let place = Place::new();
    for (name, seconds) in files {
        place.clock(name, *seconds);
    }
    place.file(
        "annotations/train.csv",
        b"label,youtube_id,time_start,time_end,split,is_cc\n\
          air drumming,-drum_00001,2,4,train,0\n\
          air drumming,drum_000002,10,20,train,0\n\
          \"abseiling\",seil_000001,3.0,5.0,train,1\n",
    );
    place.file(
        "annotations/validate.csv",
        b"label,youtube_id,time_start,time_end,split\n\
          air drumming,drum_000003,0,2,val\n\
          abseiling,seil_000002,1,3,val\n",
    );
    place.file(
        "annotations/test.csv",
        b"youtube_id,time_start,time_end,split\nother_00001,1,11,test\n",
    );
    place
}

#[test]
fn kinetics_files_are_found_with_and_without_times_in_their_names() {
    let place = kinetics(&[
        ("train/air_drumming/-drum_00001_000002_000004.mp4", 2),
        ("train/abseiling/seil_000001.mp4", 8),
        ("val/drum_000003_0_2.webm.avi", 2),
        ("val/seil_000002.avi", 2),
        ("val/someone_else.avi", 1),
    ]);
    fs::rename(
        place.videos().join("val/drum_000003_0_2.webm.avi"),
        place.videos().join("val/drum_000003_0_2.webm"),
    )
    .unwrap();
    let outcome = place.run(json!({}));
    let set = outcome.set();
    assert_eq!(set.dataset().classes, ["abseiling", "air drumming"]);
    let row = |id: &str, group: &str, side| (format!("{id}#00"), group.to_owned(), side);
    assert_eq!(
        rows(&outcome),
        [
            row(
                "train/abseiling/seil_000001.mp4@3-5",
                "seil_000001",
                Split::Train
            ),
            row(
                "train/air_drumming/-drum_00001_000002_000004.mp4",
                "-drum_00001",
                Split::Train
            ),
            row("val/drum_000003_0_2.webm", "drum_000003", Split::Test),
            row("val/seil_000002.avi@1-3", "seil_000002", Split::Test),
        ]
    );
    // Of the whole video only the seconds from 3 to 5 are used, four frames from the middle of each quarter ...
    let whole = &set.clips()[0];
    assert_eq!((whole.start_seconds, whole.end_seconds), (3.2, 4.7));
    let red = i32::from(set.pixels(0)[0]);
    assert!((red - (16 + 32)).abs() <= 4, "{red}");
    // ... and all of the file that holds no more than was asked for.
    let cut = &set.clips()[3];
    assert_eq!((cut.start_seconds, cut.end_seconds), (0.2, 1.7));
    assert_eq!(
        (
            outcome.metric("missing_files"),
            outcome.metric("unlisted_files")
        ),
        (1, 1)
    );
    let missing = &outcome.problems()[0];
    assert_eq!(
        (missing.path.as_str(), missing.reason),
        ("air drumming/drum_000002_000010_000020", Reason::Missing)
    );
    assert!(
        missing.message.contains("line 3 of train.csv"),
        "{missing:?}"
    );
}

#[test]
fn kinetics_may_miss_many_but_not_most_and_no_whole_class() {
    let place = kinetics(&[
        ("-drum_00001.mp4", 5),
        ("seil_000001.mp4", 6),
        ("drum_000003.mp4", 2),
        ("seil_000002.mp4", 4),
    ]);
    assert_eq!(place.run(json!({})).metric("missing_files"), 1);
    let text = place.run(json!({"max_missing_share": 0.1})).refusal();
    assert!(
        text.contains("1 of 5")
            && text.contains("drum_000002")
            && text.contains("max_missing_share"),
        "{text}"
    );
    fs::remove_file(place.videos().join("seil_000002.mp4")).unwrap();
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("no test video of the class `abseiling`")
            && text.contains("exclude: [abseiling]"),
        "{text}"
    );
    fs::remove_file(place.videos().join("drum_000003.mp4")).unwrap();
    let text = place.run(json!({})).refusal();
    assert!(text.contains("3 of 5"), "{text}");
    let text = place.run(json!({"max_missing_share": 1})).refusal();
    assert!(
        text.contains("no test video of 2 classes (`abseiling`, `air drumming`)"),
        "{text}"
    );
}

#[test]
fn seconds_that_a_video_does_not_have_are_a_problem_of_that_file() {
    let place = kinetics(&[
        ("-drum_00001.mp4", 5),
        ("seil_000001.mp4", 6),
        ("drum_000002.mp4", 12),
        ("drum_000003.mp4", 2),
        ("seil_000002.mp4", 4),
    ]);
    // 12 s are more than the ten that are meant, so that the file is not the cut one; it has two of them.
    let outcome = place.run(json!({}));
    let set = outcome.set();
    let late = &set.clips()[1];
    assert_eq!(late.id, "drum_000002.mp4@10-20#00");
    assert_eq!((late.start_seconds, late.end_seconds), (10.2, 11.7));
    place.clock("seil_000002.mp4", 1);
    place.file(
        "annotations/validate.csv",
        b"label,youtube_id,time_start,time_end,split\n\
          air drumming,drum_000003,0,2,val\n\
          abseiling,seil_000002,1,3,val\n\
          abseiling,-drum_00001,7,9,val\n",
    );
    let outcome = place.run(json!({"max_bad_share": 0.2}));
    let problem = &outcome.problems()[0];
    assert_eq!(
        (problem.path.as_str(), problem.reason),
        ("-drum_00001.mp4", Reason::TooShort)
    );
    assert!(
        problem.message.contains("7-9") && problem.message.contains("5.0 s"),
        "{problem:?}"
    );
}

#[test]
fn lists_of_kinetics_that_cannot_be_right_are_refused_with_their_line() {
    let header = "label,youtube_id,time_start,time_end,split\n";
    for (name, lines, expected) in [
        (
            "list.csv",
            "a,x,1,2,train\na,y,5,5,train\n",
            "line 3: `time_end` is `5`",
        ),
        (
            "list.csv",
            "a,x,one,2,train\n",
            "line 2: `time_start` is `one`",
        ),
        (
            "list.csv",
            "a,x,1,2,training set\n",
            "line 2: the split is `training set`",
        ),
        ("list.csv", "a,x,1,2,\n", "line 2: it has no split"),
        (
            "list.csv",
            "a,,1,2,train\n",
            "line 2: `youtube_id` is empty",
        ),
        (
            "list.csv",
            "a,x,1,2\n",
            "line 2: it has 4 columns, and the header has 5",
        ),
    ] {
        let place = Place::new();
        place.file(name, format!("{header}{lines}").as_bytes());
        let text = place.run(json!({})).refusal();
        assert!(text.contains(&format!("{name}, {expected}")), "{text}");
    }
}

#[test]
fn something_something_is_read_from_its_json_lists() {
    let place = Place::new();
    for (id, colour) in [(78687, 20), (42326, 60), (100904, 100), (9, 140)] {
        place.video("20bn-something-something-v2/x.avi", colour);
        let folder = place.videos().join("20bn-something-something-v2");
        fs::rename(folder.join("x.avi"), folder.join(format!("{id}.webm"))).unwrap();
    }
    place.file(
        "labels/labels.json",
        br#"{"Holding something next to something":"1", "Folding something":"0"}"#,
    );
    place.file(
        "labels/train.json",
        br#"[{"id":"78687","label":"holding potato next to bottle","template":"Holding [something] next to [something]","placeholders":["potato","bottle"]},
            {"id":"42326","label":"folding a towel","template":"Folding [something]","placeholders":["a towel"]}]"#,
    );
    place.file(
        "labels/validation.json",
        br#"[{"id":"100904","template":"Folding [something]"},{"id":9,"template":"Holding [something] next to [something]"}]"#,
    );
    place.file("labels/test.json", br#"[{"id":"1420"}]"#);
    let outcome = place.run(json!({}));
    assert_eq!(
        outcome.set().dataset().classes,
        ["Folding something", "Holding something next to something"]
    );
    let (train, test) = sides(&outcome);
    let within = |name: &str| format!("20bn-something-something-v2/{name}.webm");
    assert_eq!(train, [within("42326"), within("78687")]);
    assert_eq!(test, [within("100904"), within("9")]);
    place.file(
        "labels/train.json",
        br#"[{"id":"1","template":"Folding [something]"},{"id":"2","template":"Eating [something]"}]"#,
    );
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("train.json, entry 2, id 2") && text.contains("`Eating something`"),
        "{text}"
    );
    place.file("labels/train.json", b"[\n{\"id\": 1}]");
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("train.json, line 2") && text.contains("template"),
        "{text}"
    );
}

#[test]
fn jester_is_read_from_its_lists_with_semicolons() {
    let place = Place::new();
    for (id, colour) in [(1, 20), (2, 60), (3, 100), (4, 140)] {
        place.video(&format!("20bn-jester-v1/{id}.avi"), colour);
    }
    place.file(
        "jester-v1-labels.csv",
        b"Swiping Left\nDoing other things\n",
    );
    place.file(
        "jester-v1-train.csv",
        b"1;Swiping Left\n2;Doing other things\n",
    );
    place.file(
        "jester-v1-validation.csv",
        b"3;Doing other things\n4;Swiping Left\n",
    );
    place.file("jester-v1-test.csv", b"5\n6\n");
    let outcome = place.run(json!({}));
    let set = outcome.set();
    assert_eq!(
        set.dataset().classes,
        ["Swiping Left", "Doing other things"]
    );
    assert_eq!(set.dataset().source["layout"], "jester");
    let (train, test) = sides(&outcome);
    assert_eq!(train, ["20bn-jester-v1/1.avi", "20bn-jester-v1/2.avi"]);
    assert_eq!(test, ["20bn-jester-v1/3.avi", "20bn-jester-v1/4.avi"]);
    for (lines, expected) in [
        (
            "1;Swiping Left\n2;Swiping Up\n",
            "line 2: the class `Swiping Up`",
        ),
        (
            "1;Swiping Left\n2\n",
            "line 2: `2` is not of the form id;class",
        ),
    ] {
        place.file("jester-v1-train.csv", lines.as_bytes());
        let text = place.run(json!({})).refusal();
        assert!(
            text.contains(&format!("jester-v1-train.csv, {expected}")),
            "{text}"
        );
    }
}

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
        let times: Vec<(f64, f64)> = set
            .clips()
            .iter()
            .map(|clip| (clip.start_seconds, clip.end_seconds))
            .collect();
        assert_eq!(times, [(0.2, 1.7), (2.3, 4.1), (1.1, 7.8), (5.6, 9.3)]);
        let red: Vec<i32> = (0..4).map(|clip| i32::from(set.pixels(clip)[0])).collect();
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
fn a_folder_with_the_lists_of_two_data_sets_must_be_told_which() {
    let place = hmdb51("CLASS/NAME");
    place.file(
        "manifest.csv",
        b"path,label,split\n\
          wave/Tale0_wave_f_nm_np1_fr_med_0.avi,hello,test\n\
          wave/Tale1_wave_f_nm_np1_fr_med_1.avi,hello,train\n",
    );
    let refusal = place.run(json!({})).refusal();
    assert!(
        refusal.contains("manifest and of hmdb51") && refusal.contains("layout: manifest"),
        "{refusal}"
    );
    assert_eq!(place.run(json!({"layout": "hmdb51"})).metric("classes"), 2);
    assert_eq!(
        place.run(json!({"layout": "manifest"})).metric("classes"),
        1
    );
    let refusal = place.run(json!({"layout": "kinetics"})).refusal();
    assert!(refusal.contains("youtube_id"), "{refusal}");
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
