//! The stage as the runner calls it, on videos made for the purpose.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fedact_clips::{Encoding, Reason, Split, read_problems};
use kit::{Place, bytes};
use serde_json::json;

#[test]
fn class_folders_become_a_clip_set_split_by_person() {
    let place = Place::persons();
    place.file("sit/notes.txt", b"companions are passed over");
    place.file("sit/.DS_Store", b"hidden");
    let outcome = place.run(json!({"group_pattern": r"(person\d+)"}));
    let set = outcome.set();
    assert_eq!(set.dataset().classes, ["sit", "stand"]);
    assert_eq!(
        (
            set.len(),
            outcome.metric("clips"),
            outcome.metric("bad_files")
        ),
        (12, 12, 0)
    );
    let persons = |split: Split| -> BTreeSet<&str> {
        set.indices(split)
            .into_iter()
            .map(|index| set.group(index))
            .collect()
    };
    let (train, test) = (persons(Split::Train), persons(Split::Test));
    assert_eq!((train.len(), test.len()), (2, 1));
    assert!(train.is_disjoint(&test));
    let first = &outcome.clips()[0];
    assert_eq!(first.id, "sit/person0_0.avi#00");
    assert!(first.start_seconds > 0.0 && first.end_seconds < 0.4);
    let pixels = outcome.pixels(0);
    // Frames brighten as time goes on, and start at the video's own colour.
    let frame = |frame: usize| i32::from(pixels[frame * 16 * 16 * 3]);
    assert!((frame(0) - 21).abs() < 6, "{}", frame(0));
    assert!(frame(3) > frame(0));
    assert_eq!(outcome.problems(), []);
    assert_eq!(outcome.warnings, Vec::<String>::new());
}

#[test]
fn the_clip_set_does_not_depend_on_threads_or_on_interruptions() {
    let place = Place::persons();
    let params = json!({"sampling": {"train_clips": 2, "test_clips": 3, "method": "windows"}});
    let one = place.run_with(params.clone(), 1);
    assert_eq!(one.metric("resumed_videos"), 0);
    let resumed = place.run_with(params.clone(), 3);
    assert_eq!(resumed.metric("resumed_videos"), 12);
    // A checkpoint that a crash cut short is made anew.
    let kept = place.folder.path().join("checkpoints/spent");
    let mut entries: Vec<PathBuf> = fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    fs::write(&entries[0], b"half").unwrap();
    fs::remove_file(&entries[1]).unwrap();
    let mended = place.run_with(params, 2);
    assert_eq!(mended.metric("resumed_videos"), 10);
    assert_eq!(
        one.metric("clips"),
        one.metric("train_videos") * 2 + one.metric("test_videos") * 3
    );
    for other in [&resumed, &mended] {
        assert!(bytes(&one.output) == bytes(&other.output));
    }
}

#[test]
fn jpeg_clips_show_the_same_in_less_room_on_any_number_of_threads() {
    let place = Place::persons();
    let params = |encoding: &str| json!({"encoding": encoding, "size": 48, "resize": 48});
    let raw = place.run(params("raw"));
    let jpeg = place.run_with(params("jpeg"), 1);
    assert!(bytes(&jpeg.output) == bytes(&place.run_with(params("jpeg"), 3).output));
    assert_eq!(
        jpeg.set().dataset().encoding,
        Encoding::Jpeg { quality: 80 }
    );
    assert_eq!(jpeg.clips(), raw.clips());
    for clip in 0..raw.clips().len() {
        let (found, expected) = (jpeg.pixels(clip), raw.pixels(clip));
        let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 4;
        assert!(found.iter().zip(&expected).all(near), "clip {clip}");
    }
    let shard = |folder: &Path| {
        let shard = folder.join("clips-00000.safetensors");
        fs::metadata(shard).unwrap().len()
    };
    assert!(shard(&jpeg.output) < shard(&raw.output) / 4);
    // The videos were decoded once: how clips are stored is no matter of the pixels that are cut.
    assert_eq!(jpeg.metric("resumed_videos"), 12);
}

#[test]
fn ucf101s_lists_decide_the_split_and_the_order_of_classes() {
    let place = Place::new();
    for (label, class) in ["Walk", "Bend"].into_iter().enumerate() {
        for group in 1..=3u8 {
            place.video(
                &format!("{class}/v_{class}_g{group:02}_c01.avi"),
                group * 20 + label as u8 * 90,
            );
        }
    }
    place.file("ucfTrainTestlist/classInd.txt", b"1 Walk\n2 Bend\n");
    // Lists name the original extension, whatever the files have.
    place.file(
        "ucfTrainTestlist/trainlist01.txt",
        b"Walk/v_Walk_g02_c01.mp4 1\nBend/v_Bend_g02_c01.avi 2\nBend/v_Bend_g09_c01.avi 2\n",
    );
    place.file(
        "ucfTrainTestlist/testlist01.txt",
        b"Walk/v_Walk_g01_c01.avi\nBend/v_Bend_g01_c01.avi\n",
    );
    let outcome = place.run(json!({"max_missing_share": 0.2}));
    let set = outcome.set();
    assert_eq!(set.dataset().classes, ["Walk", "Bend"]);
    let clips = outcome.clips();
    let rows: Vec<(&str, &str, Split)> = clips
        .iter()
        .map(|clip| (clip.video.as_str(), clip.group.as_str(), clip.split))
        .collect();
    assert_eq!(
        rows,
        [
            ("Bend/v_Bend_g01_c01.avi", "g01", Split::Test),
            ("Bend/v_Bend_g02_c01.avi", "g02", Split::Train),
            ("Walk/v_Walk_g01_c01.avi", "g01", Split::Test),
            ("Walk/v_Walk_g02_c01.avi", "g02", Split::Train),
        ]
    );
    assert_eq!(
        (
            outcome.metric("missing_files"),
            outcome.metric("unlisted_files")
        ),
        (1, 2)
    );
    assert_eq!(outcome.problems()[0].reason, Reason::Missing);
    let text = place
        .run(json!({"split_list": 2, "layout": "ucf101"}))
        .refusal();
    assert!(text.contains("trainlist02.txt"), "{text}");
}

#[test]
fn files_that_are_no_videos_are_left_out_named_and_counted_up_to_a_limit() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let outcome = place.run(json!({}));
    assert_eq!(
        (outcome.metric("bad_files"), outcome.metric("videos")),
        (1, 12)
    );
    let problems = outcome.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].path.as_str(), problems[0].reason),
        ("stand/report.doc", Reason::NotAVideo)
    );
    assert_eq!(outcome.warnings.len(), 1);
    assert!(
        outcome.warnings[0].contains("stand/report.doc"),
        "{:?}",
        outcome.warnings
    );
    place.file("stand/slides.ppt", &[8; 3000]);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("2 of 14")
            && text.contains("stand/report.doc")
            && text.contains("max_bad_share"),
        "{text}"
    );
    // The output of a step that fails goes; its checkpoints stay.
    let kept = place.folder.path().join("checkpoints");
    assert!(
        text.contains(kept.join("problems.jsonl").to_str().unwrap()),
        "{text}"
    );
    let listed: Vec<String> = read_problems(&kept)
        .unwrap()
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    assert_eq!(listed, ["stand/report.doc", "stand/slides.ppt"]);
    assert_eq!(
        place.run(json!({"max_bad_share": 0.2})).metric("bad_files"),
        2
    );
}

#[test]
fn a_pipe_or_a_device_is_a_problem_and_nobody_waits_for_it() {
    let place = Place::persons();
    let pipe = place.videos().join("sit/pipe.avi");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let device = place.videos().join("stand/endless.avi");
    std::os::unix::fs::symlink("/dev/zero", device).unwrap();
    let outcome = place.run(json!({"max_bad_share": 0.2}));
    assert_eq!(outcome.metric("videos"), 12);
    let problems: Vec<(String, Reason)> = outcome
        .problems()
        .into_iter()
        .map(|problem| (problem.path, problem.reason))
        .collect();
    let expected =
        ["sit/pipe.avi", "stand/endless.avi"].map(|path| (path.to_owned(), Reason::Unreadable));
    assert_eq!(problems, expected);
}

#[test]
fn the_same_content_on_both_sides_is_left_out_of_training() {
    let place = Place::persons();
    let outcome = place.run(json!({}));
    let set = outcome.set();
    let video = |split: Split| set.clip(set.indices(split)[0]).unwrap().video;
    fs::copy(
        place.videos().join(video(Split::Train)),
        place.videos().join(video(Split::Test)),
    )
    .unwrap();
    let outcome = place.run(json!({}));
    assert_eq!(
        (
            outcome.metric("duplicate_videos"),
            outcome.metric("bad_files")
        ),
        (1, 0)
    );
    let problems = outcome.problems();
    assert_eq!(
        (problems[0].path.clone(), problems[0].reason),
        (video(Split::Train), Reason::Duplicate)
    );
    assert!(
        problems[0].message.contains(&video(Split::Test)),
        "{problems:?}"
    );
    assert_eq!(outcome.set().len(), 11);
    assert_eq!(
        outcome.set().indices(Split::Test).len(),
        set.indices(Split::Test).len()
    );
}

#[test]
fn folders_that_give_no_clip_set_are_refused_with_a_way_out() {
    let empty = Place::new();
    let text = empty.run(json!({})).refusal();
    assert!(text.contains("class folders"), "{text}");
    empty.file("loose.avi", b"x");
    let text = empty.run(json!({})).refusal();
    assert!(text.contains("1 file"), "{text}");
    fs::remove_dir_all(empty.videos()).unwrap();
    let text = empty.run(json!({})).refusal();
    assert!(
        text.contains("videos") && text.contains("--input"),
        "{text}"
    );
}

#[test]
fn a_class_that_cannot_be_split_is_named() {
    let place = Place::persons();
    place.video("wave/person0_0.avi", 99);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("`wave`") && text.contains("only one") && text.contains("exclude: [wave]"),
        "{text}"
    );
    assert_eq!(place.run(json!({"exclude": ["wave"]})).metric("classes"), 2);
    // Two videos of one person, who can only be on one side.
    place.video("wave/person0_1.avi", 98);
    let text = place
        .run(json!({"group_pattern": r"(person\d+)"}))
        .refusal();
    assert!(
        text.contains("`wave`") && text.contains("`person0`"),
        "{text}"
    );
    // One of two does not decode.
    place.file("wave/person0_1.avi", &[1; 2000]);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("`wave`") && text.contains("only one") && text.contains("problems.jsonl"),
        "{text}"
    );
    let text = place.run(json!({"include": ["wafe"]})).refusal();
    assert!(text.contains("wafe") && text.contains("stand"), "{text}");
    let both = json!({"include": ["sit"], "exclude": ["sit"]});
    let text = place.run(both).refusal();
    assert!(
        text.contains("leave no class") && text.contains("sit, stand, wave"),
        "{text}"
    );
    fs::create_dir(place.videos().join("void")).unwrap();
    let text = place.run(json!({"exclude": ["wave"]})).refusal();
    assert!(
        text.contains("`void`") && text.contains("no usable video"),
        "{text}"
    );
}

#[test]
fn each_sampling_method_gives_its_own_frames() {
    let place = Place::persons();
    // Twelve frames at 30 a second; the first and the last frame of a clip of four.
    for (sampling, first, last) in [
        (json!({"method": "segments"}), 1, 10),
        (json!({"method": "uniform"}), 0, 11),
        (json!({"method": "dense"}), 2, 8),
        (json!({"method": "dense", "stride": 3}), 1, 10),
        (json!({"method": "windows", "fps": 30}), 4, 7),
    ] {
        let outcome = place.run(json!({"sampling": sampling}));
        for clip in outcome.clips() {
            let frames = [clip.start_seconds, clip.end_seconds].map(|time| (time * 30.0).round());
            assert_eq!(frames, [f64::from(first), f64::from(last)], "{sampling}");
        }
    }
    // One after the other, with nothing in common.
    let outcome = place.run(json!({"sampling": {"method": "uniform", "test_clips": 3}}));
    let clips = outcome.clips().into_iter();
    let frames: Vec<f64> = clips
        .filter(|clip| clip.split == Split::Test)
        .take(3)
        .flat_map(|clip| [clip.start_seconds, clip.end_seconds])
        .map(|time| (time * 30.0).round())
        .collect();
    assert_eq!(frames, [0.0, 3.0, 4.0, 7.0, 8.0, 11.0]);
}

#[test]
fn the_metrics_say_where_the_time_went() {
    let outcome = Place::persons().run(json!({}));
    let metrics = outcome.result.unwrap();
    let share = |name: &str| metrics[name].as_f64().unwrap();
    let parts = ["open_share", "decode_share", "scale_share", "write_share"].map(share);
    assert!(parts.iter().all(|part| *part > 0.0), "{parts:?}");
    assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{parts:?}");
}

#[test]
fn a_high_dynamic_range_is_mapped_and_counted_or_refused_and_listed() {
    let awkward = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/videos/awkward");
    let Ok(video) = fs::read(awkward.join("sample_av1.mkv")) else {
        eprintln!("skipped: {} is not there", awkward.display());
        return;
    };
    let place = Place::persons();
    place.file("stand/phone.mkv", &video);
    let outcome = place.run(json!({}));
    assert_eq!(
        (
            outcome.metric("videos"),
            outcome.metric("tone_mapped_videos")
        ),
        (13, 1)
    );
    let outcome = place.run(json!({"high_dynamic_range": "refuse"}));
    assert_eq!(
        (outcome.metric("videos"), outcome.metric("bad_files")),
        (12, 1)
    );
    let problem = &outcome.problems()[0];
    assert_eq!(
        (problem.path.as_str(), problem.reason),
        ("stand/phone.mkv", Reason::Undecodable)
    );
    assert!(problem.message.contains("HLG"), "{}", problem.message);
}

#[test]
fn a_folder_of_real_videos_by_person() {
    let videos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/videos/small");
    if !videos.is_dir() {
        eprintln!("skipped: {} is not there", videos.display());
        return;
    }
    let place = Place::new();
    fs::remove_dir(place.videos()).unwrap();
    std::os::unix::fs::symlink(videos.canonicalize().unwrap(), place.videos()).unwrap();
    let outcome = place.run(json!({"group_pattern": r"(person\d+)"}));
    assert_eq!(
        (outcome.metric("classes"), outcome.metric("videos")),
        (4, 72)
    );
    assert_eq!(
        (outcome.metric("train_clips"), outcome.metric("test_clips")),
        (48, 24)
    );
    assert_eq!(outcome.problems(), []);
}
