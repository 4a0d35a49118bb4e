//! No video is decoded twice: what is finished is taken over, and shards join.

#![allow(clippy::unwrap_used)]

mod kit;

use std::fs;
use std::path::PathBuf;

use fedact_clips::Reason;
use fedact_video::{Codec, VideoWriter};
use kit::{Place, bytes};
use serde_json::json;

#[test]
fn a_folder_with_one_video_more_decodes_one_video() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let params = json!({"sampling": {"test_clips": 2}, "group_pattern": r"(person\d+)"});
    let first = place.run_with(params.clone(), 2);
    assert_eq!(first.metric("decoded_videos"), 13);
    place.video("sit/person1_2.avi", 201);
    // Half of its frames are lost.
    let whole = fs::read(place.videos().join("stand/person2_0.avi")).unwrap();
    let frames = whole.windows(4).position(|word| word == b"movi").unwrap();
    place.file("stand/person2_9.avi", &whole[..(frames + whole.len()) / 2]);

    place.forget_checkpoints();
    let grown = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[&first], None)));
    assert_eq!(
        (
            grown.metric("decoded_videos"),
            grown.metric("reused_videos")
        ),
        (2, 13)
    );
    place.forget_checkpoints();
    let anew = place.run_with(params.clone(), 2);
    assert!(bytes(&anew.output) == bytes(&grown.output));
    assert_eq!(grown.metric("damaged_videos"), 1);
    // What was suspect stays so when it is taken over, and clips are taken over from what took them over.
    let again = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[&grown], None)));
    assert_eq!(again.metric("reused_videos"), 15);
    assert!(bytes(&anew.output) == bytes(&again.output));

    // Another split takes what is cut already; videos that change sides give another number of clips.
    let other = json!({"sampling": {"test_clips": 2}, "seed": 5, "test_share": 0.4});
    place.forget_checkpoints();
    let moved = place.run_of_pieces(other.clone(), 2, Some(place.pieces(&[&grown], None)));
    assert!(moved.metric("reused_videos") > 4, "{:?}", moved.result);
    place.forget_checkpoints();
    assert!(bytes(&place.run_with(other, 2).output) == bytes(&moved.output));
}

#[test]
fn clips_that_were_cut_in_another_way_or_are_damaged_are_not_taken_over() {
    let place = Place::persons();
    let first = place.run(json!({}));
    for other in [
        json!({"size": 24}),
        json!({"frames": 5}),
        json!({"sampling": {"method": "windows"}}),
    ] {
        let outcome = place.run_of_pieces(other, 2, Some(place.pieces(&[&first], None)));
        assert_eq!(outcome.metric("reused_videos"), 0);
    }
    let shard = first.output.join("clips-00000.safetensors");
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    let pieces = place.pieces(&[&first], None);
    let outcome = place.run_of_pieces(json!({"seed": 1}), 2, Some(pieces));
    assert_eq!(outcome.metric("reused_videos"), 0);
    assert_eq!(outcome.set().len(), 12);
}

#[test]
fn shards_join_into_what_one_machine_makes_and_the_join_decodes_nothing() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let params = json!({"sampling": {"train_clips": 2, "test_clips": 3}});
    let mut decoded = 0;
    for (number, threads) in [(2, 1), (1, 2), (3, 2)] {
        let shard = format!("{number}/3");
        let pieces = place.pieces(&[], Some(&shard));
        let outcome = place.run_of_pieces(params.clone(), threads, Some(pieces));
        assert_eq!(
            fs::read_dir(&outcome.output).unwrap().count(),
            0,
            "no output"
        );
        assert_eq!(outcome.metric("videos"), 13);
        assert_eq!(
            outcome.metric("decoded_videos"),
            outcome.metric("shard_videos")
        );
        decoded += outcome.metric("decoded_videos");
    }
    assert_eq!((decoded, place.loose().len()), (13, 13));
    let joined = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[], None)));
    assert_eq!(
        (
            joined.metric("decoded_videos"),
            joined.metric("resumed_videos")
        ),
        (0, 13)
    );
    assert_eq!(
        place.loose(),
        [""; 0].map(PathBuf::from),
        "they are in the clip set"
    );
    place.forget_checkpoints();
    let one = place.run_with(params, 2);
    assert!(bytes(&one.output) == bytes(&joined.output));
}

#[test]
fn what_a_shard_did_not_leave_whole_is_done_by_the_joining_run() {
    let place = Place::persons();
    let shard = place.run_of_pieces(json!({}), 2, Some(place.pieces(&[], Some("1/2"))));
    let made = shard.metric("shard_videos");
    assert!((1..12).contains(&made), "{made}");
    let loose = place.loose();
    let half = fs::read(&loose[0]).unwrap();
    fs::write(&loose[0], &half[..half.len() / 2]).unwrap();
    let joined = place.run_of_pieces(json!({}), 2, Some(place.pieces(&[], None)));
    assert_eq!(joined.metric("decoded_videos"), 12 - made + 1);
    place.forget_checkpoints();
    assert!(bytes(&place.run(json!({})).output) == bytes(&joined.output));
}

#[test]
fn a_file_that_wants_too_much_memory_is_that_files_problem() {
    let place = Place::persons();
    let path = place.videos().join("sit/large.avi");
    let mut writer = VideoWriter::create(&path, 4096, 2304, 30, Codec::Mpeg4).unwrap();
    let pixels = vec![90; 4096 * 2304 * 3];
    (0..3).for_each(|_| writer.write(&pixels).unwrap());
    writer.finish().unwrap();
    let outcome = place.run(json!({"memory_limit_mib": 64}));
    assert_eq!((outcome.metric("bad_files"), outcome.set().len()), (1, 12));
    let problems = outcome.problems();
    assert_eq!(
        (problems[0].path.as_str(), problems[0].reason),
        ("sit/large.avi", Reason::MemoryLimit)
    );
    assert!(
        problems[0].message.contains("64 MiB (`memory_limit_mib`)")
            && problems[0]
                .ffmpeg
                .iter()
                .any(|words| words.contains("4096x2304")),
        "{problems:?}"
    );
    // With more, it is a video like the others.
    assert_eq!(place.run(json!({})).set().len(), 13);
}
