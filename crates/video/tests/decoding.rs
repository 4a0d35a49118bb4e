//! Decoding what the crate's own writer wrote, and files that are broken or no videos.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fedact_video::{Codec, Geometry, Limits, Video, VideoError, VideoWriter, sample};

const LIMIT: Duration = Duration::from_secs(20);
const WIDTH: usize = 96;
const HEIGHT: usize = 64;
const GEOMETRY: Geometry = Geometry {
    resize: 64,
    size: 64,
};

/// A grey level for each frame, four apart, so that a decoded frame tells its number.
fn level(frame: usize) -> u8 {
    (20 + 4 * frame) as u8
}

/// A video of `frames` frames at 25 a second. The left half is grey by the number of the frame, the right
/// half red above and blue below.
fn write(path: &Path, codec: Codec, frames: usize) {
    let mut writer = VideoWriter::create(path, WIDTH as u32, HEIGHT as u32, 25, codec).unwrap();
    for frame in 0..frames {
        let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let grey = [level(frame); 3];
                let colour = if y < HEIGHT / 2 {
                    [200, 30, 30]
                } else {
                    [30, 30, 200]
                };
                pixels.extend_from_slice(if x < WIDTH / 2 { &grey } else { &colour });
            }
        }
        writer.write(&pixels).unwrap();
    }
    writer.finish().unwrap();
}

fn codecs() -> Vec<Codec> {
    [Codec::H264, Codec::Mpeg4]
        .into_iter()
        .filter(|codec| {
            let there = codec.encoder_name().is_some();
            if !there {
                eprintln!("skipped: this FFmpeg has no encoder for {codec:?}");
            }
            there
        })
        .collect()
}

fn example(folder: &Path, codec: Codec, frames: usize) -> PathBuf {
    let path = folder.join(format!("video.{}", codec.extension()));
    write(&path, codec, frames);
    path
}

fn pixel(frame: &[u8], x: usize, y: usize) -> [u8; 3] {
    let side = GEOMETRY.size as usize;
    frame[(y * side + x) * 3..][..3].try_into().unwrap()
}

/// The number of a decoded frame by its grey.
fn number(frame: &[u8]) -> usize {
    let grey = usize::from(pixel(frame, 10, 32)[1]);
    (grey.saturating_sub(20) + 2) / 4
}

#[test]
fn the_frames_that_are_asked_for_come_in_the_order_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = example(folder.path(), codec, 50);
        let mut video = Video::open(&path, LIMIT).unwrap();
        assert_eq!(video.timeline().len(), 50, "{codec:?}");
        assert!((video.timeline().duration() - 2.0).abs() < 0.05);
        for wanted in [
            vec![0],
            vec![49],
            vec![3, 17, 18, 40],
            vec![30, 2, 30],
            (0..50).collect(),
        ] {
            let frames = video.frames(&wanted, GEOMETRY).unwrap();
            let numbers: Vec<usize> = frames
                .pixels
                .chunks(GEOMETRY.frame_bytes())
                .map(number)
                .collect();
            assert_eq!(numbers, wanted, "{codec:?}");
            assert_eq!((frames.missing, frames.damaged), (0, 0), "{codec:?}");
            assert_eq!(frames.messages, Vec::<String>::new(), "{codec:?}");
        }
    }
}

#[test]
fn leaving_frames_out_changes_no_bit_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = example(folder.path(), codec, 50);
        let mut video = Video::open(&path, LIMIT).unwrap();
        let all = video
            .frames(&(0..50).collect::<Vec<_>>(), GEOMETRY)
            .unwrap()
            .pixels;
        let some = sample::segments(video.timeline(), 7, 0, 1);
        let pixels = video.frames(&some, GEOMETRY).unwrap().pixels;
        for (frame, slot) in pixels.chunks(GEOMETRY.frame_bytes()).zip(some) {
            assert!(
                frame == &all[slot * frame.len()..][..frame.len()],
                "{codec:?}, frame {slot}"
            );
        }
    }
}

#[test]
fn colours_and_places_are_right() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = example(folder.path(), codec, 10);
        let frames = Video::open(&path, LIMIT)
            .unwrap()
            .frames(&[5], GEOMETRY)
            .unwrap();
        let near = |found: [u8; 3], wanted: [u8; 3]| {
            found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 14)
        };
        let (red, blue) = (pixel(&frames.pixels, 55, 10), pixel(&frames.pixels, 55, 55));
        assert!(near(red, [200, 30, 30]), "{codec:?}: {red:?} is not red");
        assert!(near(blue, [30, 30, 200]), "{codec:?}: {blue:?} is not blue");
    }
}

#[test]
fn a_video_that_was_cut_off_gives_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = example(folder.path(), Codec::Mpeg4, 50);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let mut video = Video::open(&path, LIMIT).unwrap();
    let found = video.timeline().len();
    assert!((5..50).contains(&found), "{found} frames");
    let wanted: Vec<usize> = (0..found - 1).collect();
    let frames = video.frames(&wanted, GEOMETRY).unwrap();
    let numbers: Vec<usize> = frames
        .pixels
        .chunks(GEOMETRY.frame_bytes())
        .map(number)
        .collect();
    assert_eq!(numbers, wanted);
}

#[test]
fn noise_in_the_middle_neither_stops_nor_crashes() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = example(folder.path(), codec, 50);
        let mut bytes = fs::read(&path).unwrap();
        let (start, end) = (bytes.len() / 3, bytes.len() / 2);
        for (i, byte) in bytes[start..end].iter_mut().enumerate() {
            *byte = (i * 97 % 251) as u8;
        }
        fs::write(&path, bytes).unwrap();
        let outcome = Video::open(&path, LIMIT).and_then(|mut video| {
            let all: Vec<usize> = (0..video.timeline().len()).collect();
            video
                .frames(&all, GEOMETRY)
                .map(|frames| (all.len(), frames))
        });
        match outcome {
            Ok((wanted, frames)) => {
                assert_eq!(frames.pixels.len(), wanted * GEOMETRY.frame_bytes());
                let noticed = frames.missing + frames.damaged + frames.messages.len();
                assert!(noticed > 0 || wanted < 50, "{codec:?}: nothing was noticed");
            }
            Err(error) => assert!(error.to_string().contains("video."), "{error}"),
        }
    }
}

#[test]
fn what_is_no_video_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("empty.mp4", b"", "empty"),
        (
            "notes.mp4",
            b"Dear diary, today I walked.\nThen I sat down.\n",
            "",
        ),
        (
            "list.mp4",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost/a.ts\n",
            "",
        ),
        ("noise.avi", &[0xa5; 5000], ""),
    ];
    for (name, content, expected) in cases {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = Video::open(&path, LIMIT).unwrap_err();
        assert!(
            matches!(error, VideoError::NotAVideo { .. }),
            "{name}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(expected), "{text}");
        assert!(!text.ends_with(": "), "{text}");
    }
    let absent = Video::open(&folder.path().join("absent.mp4"), LIMIT).unwrap_err();
    assert!(
        matches!(absent, VideoError::Unreadable { .. }),
        "{absent:?}"
    );
    let folder_itself = Video::open(folder.path(), LIMIT).unwrap_err();
    assert!(
        matches!(folder_itself, VideoError::NotAVideo { .. }),
        "{folder_itself:?}"
    );
}

#[test]
fn a_name_with_a_colon_or_a_percent_sign_is_a_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["http:video.avi", "100%03d ü.avi"] {
        let path = folder.path().join(name);
        write(&path, Codec::Mpeg4, 5);
        assert_eq!(
            Video::open(&path, LIMIT).unwrap().timeline().len(),
            5,
            "{name}"
        );
    }
}

#[test]
fn time_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let path = example(folder.path(), Codec::Mpeg4, 5);
    let error = Video::open(&path, Duration::ZERO).unwrap_err();
    assert!(matches!(error, VideoError::TimeLimit { .. }), "{error:?}");
    let mut video = Video::open(&path, Duration::from_millis(300)).unwrap();
    std::thread::sleep(Duration::from_millis(310));
    let error = video.frames(&[0], GEOMETRY).unwrap_err();
    assert!(matches!(error, VideoError::TimeLimit { .. }), "{error:?}");
}

#[test]
fn memory_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = example(folder.path(), codec, 300);
        let all: Vec<usize> = (0..300).collect();
        let decode = |pictures: u64| {
            let limits = Limits {
                time: LIMIT,
                memory: pictures * (WIDTH * HEIGHT * 3 / 2) as u64,
            };
            Video::open(&path, limits).and_then(|mut video| video.frames(&all, GEOMETRY))
        };
        let error = decode(1).unwrap_err();
        assert!(matches!(error, VideoError::MemoryLimit { .. }), "{error:?}");
        // Three hundred pass through, and a few are held at a time.
        let frames = decode(150).unwrap();
        assert_eq!((frames.missing, frames.damaged), (0, 0));
        assert!(frames.pixels == decode(1000).unwrap().pixels);
    }
}

/// Every file of the shared collection of awkward videos has an outcome, in bounded time.
#[test]
fn awkward_videos_neither_crash_nor_hang() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/videos/awkward");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    };
    let limit = Duration::from_secs(2);
    let (mut good, mut bad) = (0, 0);
    for entry in entries {
        let path = entry.unwrap().path();
        // Larger files are long or large pictures, whose decoding takes a test's time.
        if fs::metadata(&path).unwrap().len() > 600_000 {
            continue;
        }
        let began = Instant::now();
        let outcome = Video::open(&path, limit).and_then(|mut video| {
            let wanted = sample::segments(video.timeline(), 4, 0, 1);
            video.frames(&wanted, GEOMETRY)
        });
        assert!(
            began.elapsed() < 4 * limit,
            "{} took {:?}",
            path.display(),
            began.elapsed()
        );
        match outcome {
            Ok(frames) => {
                good += 1;
                assert_eq!(frames.pixels.len(), 4 * GEOMETRY.frame_bytes());
            }
            Err(_) => bad += 1,
        }
    }
    assert!(good >= 10 && bad >= 5, "{good} good, {bad} bad");
}
