//! Data sets as they lie on a disk: their lists and folders, what is missing, and what is wrong with them.

#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::BTreeMap;
use std::fs;

use fedact_clips::{Reason, Split};
use kit::{Place, rows, sides};
use serde_json::json;

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
    let whole = &outcome.clips()[0];
    assert_eq!((whole.start_seconds, whole.end_seconds), (3.2, 4.7));
    let red = i32::from(outcome.pixels(0)[0]);
    assert!((red - (16 + 32)).abs() <= 4, "{red}");
    // ... and all of the file that holds no more than was asked for.
    let cut = &outcome.clips()[3];
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
    let list = place.folder.path().join("checkpoints/problems.jsonl");
    assert!(text.contains(list.to_str().unwrap()), "{text}");
    assert!(fs::read_to_string(list).unwrap().contains("\"missing\""));
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
        ("-drum_00001.mp4", 10),
        ("seil_000001.mp4", 6),
        ("drum_000002.mp4", 16),
        ("drum_000003.mp4", 2),
        ("seil_000002.mp4", 4),
    ]);
    // 16 s are many more than the ten that are meant, so that the file is not the cut one; it has six of them.
    let outcome = place.run(json!({}));
    let late = &outcome.clips()[1];
    assert_eq!(late.id, "drum_000002.mp4@10-20#00");
    assert_eq!((late.start_seconds, late.end_seconds), (10.7, 15.2));
    place.clock("seil_000002.mp4", 1);
    place.file(
        "annotations/validate.csv",
        b"label,youtube_id,time_start,time_end,split\n\
          air drumming,drum_000003,0,2,val\n\
          abseiling,seil_000002,1,3,val\n\
          abseiling,-drum_00001,17,19,val\n",
    );
    let outcome = place.run(json!({"max_bad_share": 0.2}));
    let problem = &outcome.problems()[0];
    assert_eq!(
        (problem.path.as_str(), problem.reason),
        ("-drum_00001.mp4", Reason::TooShort)
    );
    assert!(
        problem.message.contains("17-19") && problem.message.contains("10.0 s"),
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

#[test]
fn videos_in_pictures_are_read_like_others() {
    let place = Place::new();
    let png = |name: &str, red: u8| {
        let mut picture = image::RgbImage::new(64, 48);
        picture
            .pixels_mut()
            .for_each(|pixel| *pixel = image::Rgb([red, 90, 60]));
        let path = place.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    };
    for id in 1..=4u8 {
        // Six seconds at ten pictures a second; signs of a pattern in the folder's name are but signs.
        for frame in 0..60u8 {
            png(
                &format!("20bn-jester [v1]/{id}/{:05}.png", frame + 1),
                10 * id + frame,
            );
        }
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
    let params =
        |rate: f64| json!({"picture_rate": rate, "sampling": {"method": "windows", "fps": 2}});
    let outcome = place.run(params(10.0));
    let found = outcome.clips();
    let clips: Vec<(&str, f64, f64)> = found
        .iter()
        .map(|clip| (clip.video.as_str(), clip.start_seconds, clip.end_seconds))
        .collect();
    // Two seconds in the middle: a frame from the middle of each half second.
    let ids = [1, 2, 3, 4].map(|id| format!("20bn-jester [v1]/{id}"));
    let expected: Vec<(&str, f64, f64)> = ids.iter().map(|id| (id.as_str(), 2.2, 3.7)).collect();
    assert_eq!(clips, expected);
    for (index, id) in (1..=4).enumerate() {
        let frame = 16 * 16 * 3;
        let reds: Vec<i32> = (0..4)
            .map(|number| i32::from(outcome.pixels(index)[number * frame]))
            .collect();
        for (red, shown) in reds.iter().zip([22, 27, 32, 37]) {
            assert!((red - (10 * id + shown)).abs() <= 1, "{reds:?}");
        }
    }
    assert_eq!(outcome.problems(), []);
    assert_eq!(place.run(params(10.0)).metric("resumed_videos"), 4);
    // At another rate other pictures are shown at these times.
    let slower = place.run(params(5.0));
    assert_eq!(slower.metric("resumed_videos"), 0);
    assert_eq!(slower.clips()[0].start_seconds, 5.2);
    // Names of another length would come in the wrong order.
    png("20bn-jester [v1]/2/100.png", 0);
    let outcome = place.run(json!({"max_bad_share": 0.5, "exclude": ["Doing other things"]}));
    assert_eq!(outcome.metric("clips"), 2);
    let text = place.run(json!({"max_bad_share": 0.5})).refusal();
    assert!(
        text.contains("no train video of the class `Doing other things`"),
        "{text}"
    );
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
fn a_share_of_nothing_leaves_all_to_be_trained_on_even_a_class_with_one_video() {
    let place = Place::new();
    for name in ["walk/a.avi", "walk/b.avi", "sit/c.avi"] {
        place.clock(name, 1);
    }
    let (train, test) = sides(&place.run(json!({"test_share": 0})));
    assert_eq!(train, ["sit/c.avi", "walk/a.avi", "walk/b.avi"]);
    assert!(test.is_empty());
    // With any other share the class cannot be on both sides.
    let text = place.run(json!({})).refusal();
    assert!(text.contains("`sit` has only one usable video"), "{text}");
}
