//! The traps that other readers fall into: wrong frames out of transport streams, AVI, edit lists and containers
//! that promise too much.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod maker;

use std::fs;
use std::time::Instant;

use fedact_video::{Video, VideoError, sample};
use ffmpeg_next::{Packet, frame};
use maker::{Fate, LIMIT, Recipe, at_once, numbered, one_by_one, whole};

/// H.264 with B-frames that other frames refer to, and open groups of pictures.
fn h264(container: &'static str) -> Recipe {
    Recipe {
        encoder: "libx264",
        container,
        b_frames: 3,
        options: &[(
            "x264-params",
            "open-gop=1:b-pyramid=normal:scenecut=0:bframes=3:b-adapt=0",
        )],
        ..Recipe::default()
    }
}

fn all(frames: usize) -> Vec<usize> {
    (0..frames).collect()
}

#[test]
fn every_frame_is_itself_whatever_the_container_and_the_order_of_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let recipes = [
        h264("mpegts"),
        h264("mp4"),
        h264("matroska"),
        h264("avi"),
        Recipe {
            encoder: "mpeg2video",
            container: "mpegts",
            b_frames: 2,
            ..Recipe::default()
        },
        Recipe {
            encoder: "mpeg2video",
            container: "vob",
            b_frames: 2,
            ..Recipe::default()
        },
        Recipe {
            b_frames: 2,
            ..Recipe::default()
        },
        Recipe {
            b_frames: 1,
            container: "mp4",
            ..Recipe::default()
        },
        Recipe {
            encoder: "libx265",
            container: "mp4",
            options: &[(
                "x265-params",
                "open-gop=1:keyint=12:min-keyint=12:bframes=3:crf=6:log-level=none",
            )],
            ..Recipe::default()
        },
    ];
    for (number, recipe) in recipes.iter().enumerate() {
        if !recipe.possible() {
            continue;
        }
        let path = folder.path().join(format!("{number}.{}", recipe.container));
        recipe.make(&path);
        let name = format!("{} in {}", recipe.encoder, recipe.container);
        assert_eq!(at_once(&path), all(40), "{name}, at once");
        assert_eq!(one_by_one(&path), all(40), "{name}, one by one");
    }
}

#[test]
fn a_recording_that_begins_within_an_open_group_shows_what_can_be_decoded() {
    let folder = tempfile::tempdir().unwrap();
    for container in ["mpegts", "matroska"] {
        let recipe = h264(container);
        if !recipe.possible() {
            continue;
        }
        let path = folder.path().join(container);
        // From the second key frame on, as if somebody had begun to record there: the frames that are
        // shown before it refer to frames that are not there.
        let mut keys = 0;
        let mut first = None;
        recipe.edit(&path, numbered, |_, packet| {
            keys += usize::from(packet.is_key());
            if keys < 2 {
                return Fate::LeftOut;
            }
            first.get_or_insert(packet.pts().unwrap());
            Fate::Written
        });
        let numbers = one_by_one(&path);
        assert_eq!(numbers, (12..40).collect::<Vec<_>>(), "{container}");
        assert_eq!(at_once(&path), numbers, "{container}");
    }
}

#[test]
fn an_edit_list_hides_the_frames_before_it() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in [
        h264("mp4"),
        h264("mov"),
        Recipe {
            container: "mp4",
            ..Recipe::default()
        },
    ] {
        if !recipe.possible() {
            continue;
        }
        let recipe = Recipe {
            start: -7,
            ..recipe
        };
        let path = folder
            .path()
            .join(format!("{}.{}", recipe.encoder, recipe.container));
        recipe.make(&path);
        let expected: Vec<usize> = (7..40).collect();
        assert_eq!(one_by_one(&path), expected, "{recipe:?}");
        assert_eq!(at_once(&path), expected, "{recipe:?}");
    }
}

#[test]
fn frames_that_are_shown_at_uneven_times_are_chosen_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uneven.mkv");
    // The first 20 frames at 25 a second, the others at one a second.
    let recipe = Recipe {
        container: "matroska",
        ..Recipe::default()
    };
    recipe.edit(&path, numbered, |packet, data: &mut Packet| {
        let frame = packet as i64;
        let time = if frame <= 20 {
            frame * 40
        } else {
            800 + (frame - 20) * 1000
        };
        data.set_pts(Some(time));
        data.set_dts(Some(time));
        Fate::Written
    });
    let mut video = Video::open(&path, LIMIT).unwrap();
    let timeline = video.timeline();
    assert_eq!(timeline.len(), 40);
    assert!((timeline.time(20) - 0.8).abs() < 1e-6 && (timeline.time(30) - 10.8).abs() < 1e-6);
    let wanted = sample::segments(timeline, 4, 0, 1);
    assert!(wanted.iter().all(|frame| *frame > 20), "{wanted:?}");
    let frames = video.frames(&wanted, whole(32)).unwrap();
    let numbers: Vec<usize> = frames
        .pixels
        .chunks(32 * 32 * 3)
        .map(maker::number)
        .collect();
    assert_eq!(numbers, wanted);
}

#[test]
fn packets_that_only_keep_the_count_are_no_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("divx.avi");
    // DivX puts a byte behind the first frame, where the stream's order of decoding gets its lead.
    let recipe = Recipe {
        b_frames: 1,
        ..Recipe::default()
    };
    recipe.edit(&path, numbered, |packet, data| {
        if packet == 1 {
            let mut placeholder = Packet::copy(&[0x7f]);
            placeholder.set_stream(0);
            placeholder.set_pts(data.pts());
            placeholder.set_dts(data.dts());
            placeholder.set_duration(data.duration());
            *data = placeholder;
        }
        Fate::Written
    });
    let video = Video::open(&path, LIMIT).unwrap();
    assert_eq!(video.timeline().len(), 39);
}

/// Writes a number into each of the places that follow `offset` bytes after `name`.
fn patch(bytes: &mut [u8], name: &[u8], offset: usize, value: [u8; 4]) {
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == name)
        .map(|(place, _)| place + offset)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + 4].copy_from_slice(&value);
    }
}

#[test]
fn a_container_that_promises_too_many_frames_ends_where_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("promises.avi");
    Recipe::default().make(&path);
    let mut bytes = fs::read(&path).unwrap();
    // `dwLength` of the stream's header.
    patch(&mut bytes, b"vids", 32, 4000u32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let video = Video::open(&path, LIMIT).unwrap();
    assert_eq!(video.info().promised_frames, 4000);
    assert_eq!(video.timeline().len(), 40);
    let began = Instant::now();
    assert_eq!(one_by_one(&path), all(40));
    assert!(began.elapsed() < LIMIT);
}

#[test]
fn a_truncated_file_gives_the_frames_that_are_there_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        width: 320,
        height: 240,
        ..h264("mp4")
    };
    if !recipe.possible() {
        return;
    }
    let (ahead, behind) = (
        folder.path().join("ahead.mp4"),
        folder.path().join("behind.mp4"),
    );
    let ahead_recipe = Recipe {
        container: "mp4",
        ..recipe.clone()
    };
    ahead_recipe.make(&ahead);
    recipe.make(&behind);
    // The table of contents stands at the end: without it, nothing can be found.
    let bytes = fs::read(&behind).unwrap();
    fs::write(&behind, &bytes[..bytes.len() / 2]).unwrap();
    let error = Video::open(&behind, LIMIT).unwrap_err();
    assert!(matches!(error, VideoError::NotAVideo { .. }), "{error:?}");
    assert!(!error.messages().is_empty());
    for container in ["mpegts", "matroska", "avi"] {
        let recipe = Recipe {
            container,
            b_frames: 0,
            encoder: "mpeg2video",
            ..recipe.clone()
        };
        let recipe = Recipe {
            options: &[],
            ..recipe
        };
        let path = folder.path().join(container);
        recipe.make(&path);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let mut video = Video::open(&path, LIMIT).unwrap();
        let found = video.timeline().len();
        assert!((10..40).contains(&found), "{container}: {found} frames");
        // The last may be half a frame; those before it are themselves, and nothing is made up.
        let wanted = all(found - 1);
        let frames = video.frames(&wanted, whole(32)).unwrap();
        let numbers: Vec<usize> = frames
            .pixels
            .chunks(32 * 32 * 3)
            .map(maker::number)
            .collect();
        assert_eq!(numbers, wanted, "{container}");
    }
}

#[test]
fn lost_packets_are_counted_and_their_frames_never_invented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lost.mkv");
    let recipe = Recipe {
        container: "matroska",
        ..Recipe::default()
    };
    // Noise where the packets 20 to 23 were; the next key frame is number 24.
    recipe.edit(&path, numbered, |number, packet| {
        if (20..24).contains(&number) {
            let mut noise = Packet::copy(&[0xaa; 40]);
            noise.set_pts(packet.pts());
            noise.set_dts(packet.dts());
            noise.set_duration(packet.duration());
            noise.set_stream(0);
            *packet = noise;
        }
        Fate::Written
    });
    let mut video = Video::open(&path, LIMIT).unwrap();
    let frames = video.frames(&all(40), whole(32)).unwrap();
    assert_eq!(frames.missing + frames.damaged, 4);
    assert!(!frames.messages.is_empty());
    let numbers: Vec<usize> = frames
        .pixels
        .chunks(32 * 32 * 3)
        .map(maker::number)
        .collect();
    for (frame, number) in numbers.iter().enumerate() {
        let expected = if (20..24).contains(&frame) { 19 } else { frame };
        assert_eq!(*number, expected, "frame {frame}");
    }
}

#[test]
fn what_has_no_picture_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.wav");
    let mut bytes = b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\x10\0\0".to_vec();
    bytes.extend([0; 4096]);
    fs::write(&sound, bytes).unwrap();
    let error = Video::open(&sound, LIMIT).unwrap_err();
    assert!(error.to_string().contains("no video stream"), "{error}");
    // A header, and nothing after it.
    for container in ["matroska", "mp4", "avi"] {
        let path = folder.path().join(container);
        let recipe = Recipe {
            container,
            ..Recipe::default()
        };
        recipe.edit(&path, |_, _: &mut frame::Video| {}, |_, _| Fate::LeftOut);
        let error = Video::open(&path, LIMIT).unwrap_err();
        assert!(
            matches!(
                error,
                VideoError::Undecodable { .. } | VideoError::NotAVideo { .. }
            ),
            "{container}: {error:?}"
        );
        let text = error.to_string();
        let named = ["no frames", "no stream", "before its first frame"];
        assert!(
            named.iter().any(|words| text.contains(words)),
            "{container}: {text}"
        );
    }
}
