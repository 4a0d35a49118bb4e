use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fedact_stage::Event;

use super::*;
use film::{Film, heard};

#[path = "../../../crates/video/tests/maker/film.rs"]
mod film;

/// Ends of the frames of a video whose rate changes, in seconds.
const ENDS: [f64; 7] = [0.1, 0.2, 0.3, 0.35, 0.4, 0.8, 1.2];

/// An MP4 of 320 x 180 pixels, the left half of which is bright.
fn video(folder: &Path) -> PathBuf {
    let (path, size) = (
        folder.join("video.mp4"),
        Size {
            width: 320,
            height: 180,
        },
    );
    let mut writer = VideoWriter::create_timed(&path, size, 10.0, Codec::H264).unwrap();
    let row: Vec<u8> = (0..320 * 3)
        .map(|at| if at < 480 { 200 } else { 20 })
        .collect();
    let frame = row.repeat(180);
    for end in ENDS {
        writer.write_until(&frame, end).unwrap();
    }
    writer.finish().unwrap();
    path
}

/// The same file, to be shown after a quarter turn clockwise: the matrix in the header of its track.
fn turned(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = bytes
        .windows(4)
        .position(|window| window == b"tkhd")
        .unwrap();
    // The header is longer where it counts in 64 bits.
    let start = header + 4 + if bytes[header + 4] == 1 { 52 } else { 40 };
    let one = 1i32 << 16;
    for (value, offset) in [0, one, -one, 0].into_iter().zip([0, 4, 12, 16]) {
        bytes[start + offset..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

fn rendered(video: &Path, name: &str) -> Video {
    let output = video.with_file_name(name);
    let request = RenderRequest {
        video: video.to_owned(),
        output: output.clone(),
        largest_side: 1280,
        seen: Some(0.875),
        captions: vec![Caption {
            from: 0.0,
            text: "Walk".to_owned(),
            share: 0.5,
        }],
    };
    render(&request, &Reporter::silent()).unwrap();
    Video::open(&output, LIMITS).unwrap()
}

fn times(video: &Video) -> Vec<f64> {
    let timeline = video.timeline();
    (0..timeline.len())
        .map(|frame| timeline.end(frame))
        .collect()
}

/// The mean level of the upper left quarter of the first picture, and of the upper right one.
fn halves(video: &mut Video, size: Size) -> [f64; 2] {
    let mut found = [0.0; 2];
    let see = |number: usize, pixels: &mut [u8]| -> Result<(), VideoError> {
        let row = size.width as usize * 3;
        for (side, mean) in found.iter_mut().enumerate().filter(|_| number == 0) {
            let rows = pixels.chunks_exact(row).take(size.height as usize / 2);
            let part = rows.flat_map(|line| &line[side * row / 2..][..row / 2]);
            let sum: f64 = part.map(|value| f64::from(*value)).sum();
            *mean = sum / (pixels.len() / 4) as f64;
        }
        Ok(())
    };
    video.show(size, see).unwrap();
    found
}

#[test]
fn the_whole_picture_is_drawn_with_every_frame_at_its_time() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut drawn = rendered(&video(folder.path()), "drawn.mp4");
    // Enlarged until words are legible.
    let size = Size {
        width: 426,
        height: 240,
    };
    assert_eq!(drawn.size(), size);
    let found = times(&drawn);
    assert_eq!(found.len(), ENDS.len());
    for (found, wanted) in found.into_iter().zip(ENDS) {
        assert!((found - wanted).abs() < 1e-4, "{found} is not {wanted}");
    }
    let [left, right] = halves(&mut drawn, size);
    assert!(
        (left - 200.0).abs() < 5.0 && (right - 20.0).abs() < 10.0,
        "{left} {right}"
    );
}

#[test]
fn a_turned_video_is_drawn_upright() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path());
    turned(&path);
    let mut drawn = rendered(&path, "drawn.mp4");
    let size = Size {
        width: 240,
        height: 426,
    };
    assert_eq!((drawn.size(), drawn.info().turned), (size, false));
    // What was left is above.
    let [left, right] = halves(&mut drawn, size);
    assert!(
        (left - 200.0).abs() < 10.0 && (right - 200.0).abs() < 10.0,
        "{left} {right}"
    );
}

#[test]
fn in_a_container_of_one_rate_the_duration_stays() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let drawn = rendered(&video(folder.path()), "drawn.avi");
    // Seven frames in 1.2 s are next to six a second.
    assert_eq!(drawn.timeline().len(), 7);
    assert!((drawn.timeline().duration() - 7.0 / 6.0).abs() < 1e-6);
}

/// Draws on the video; gives the file, and what the user is told.
fn told(video: &Path, name: &str) -> (PathBuf, Vec<String>) {
    let output = video.with_file_name(name);
    let request = RenderRequest {
        video: video.to_owned(),
        output: output.clone(),
        largest_side: 1280,
        seen: None,
        captions: Vec::new(),
    };
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Message { text, .. } = event {
            heard.lock().unwrap().push(text.clone());
        }
    });
    render(&request, &reporter).unwrap();
    // Nothing but what was asked for is left.
    let mut names: Vec<_> = std::fs::read_dir(video.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path != video)
        .collect();
    names.retain(|path| path != &output);
    assert!(names.is_empty(), "{names:?}");
    let said = said.lock().unwrap().clone();
    (output, said)
}

#[test]
fn a_drawn_video_keeps_its_sound() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    for name in ["drawn.mp4", "drawn.avi"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video.mov");
        // The pictures begin later than the sound.
        let film = Film {
            container: "mov",
            picture_start: 7,
            ..Film::default()
        };
        film.make(&path);
        let (output, said) = told(&path, name);
        assert!(said.is_empty(), "{said:?}");
        let heard = heard(&output).unwrap();
        assert_eq!(heard.codec, "aac");
        assert!((heard.white - 0.72).abs() < 0.021, "{heard:?}");
        assert!((heard.tone - heard.white).abs() < 0.025, "{heard:?}");
    }
}

#[test]
fn sound_that_cannot_be_copied_is_named_and_the_pictures_are_drawn() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.avi");
    let film = Film {
        container: "avi",
        sounds: &["pcm_alaw"],
        ..Film::default()
    };
    film.make(&path);
    let (output, said) = told(&path, "drawn.mp4");
    let [sentence] = said.as_slice() else {
        panic!("{said:?}");
    };
    for part in [path.to_str().unwrap(), "left out", "pcm_alaw", ".avi"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert!(heard(&output).is_none());
    assert_eq!(Video::open(&output, LIMITS).unwrap().timeline().len(), 75);
}

#[test]
fn damage_of_the_sound_is_told() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.avi");
    let film = Film {
        container: "avi",
        ..Film::default()
    };
    film.make(&path);
    let bytes = std::fs::read(&path).unwrap();
    let mut chunks = bytes.windows(4).enumerate();
    chunks.find(|(_, name)| name == b"movi");
    let (last, _) = chunks.filter(|(_, name)| name == b"01wb").nth(60).unwrap();
    std::fs::write(&path, &bytes[..last + 20]).unwrap();
    let (output, said) = told(&path, "drawn.mp4");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("a packet is left out"), "{said:?}");
    assert_eq!(heard(&output).unwrap().packets.len(), 60);
}

#[test]
fn a_video_without_sound_stays_without() {
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (output, said) = told(&video(folder.path()), "drawn.mp4");
    assert!(said.is_empty(), "{said:?}");
    assert!(heard(&output).is_none());
}

/// Real recordings: their sound lasts as long in what is drawn as in them, or as long as the pictures.
#[test]
fn real_videos_keep_their_sound() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/videos");
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "samples/SOX5yA1l24A.mp4",
        "awkward/sample.avi",
        "awkward/sample_rotate_and_reflect.mp4",
        "awkward/sample_h262_mpeg_audio.ts",
    ] {
        let source = shared.join(name);
        if !source.exists() || Codec::H264.encoder_name().is_none() {
            eprintln!("SKIPPED: {} is not here", source.display());
            continue;
        }
        let path = folder.path().join("video");
        std::fs::copy(&source, &path).unwrap();
        for name in ["drawn.mp4", "drawn.avi"] {
            let (output, said) = told(&path, name);
            assert!(said.is_empty(), "{said:?}");
            let (before, after) = (heard(&path).unwrap(), heard(&output).unwrap());
            let end = before
                .end
                .min(Video::open(&path, LIMITS).unwrap().timeline().duration());
            assert!(
                (after.end - end).abs() < 0.05,
                "{name}: {before:?} {after:?}"
            );
            std::fs::remove_file(output).unwrap();
        }
    }
}

#[test]
fn words_stand_from_their_second_on() {
    let caption = |from: f64, text: &str| Caption {
        from,
        text: text.to_owned(),
        share: 0.5,
    };
    let captions = [caption(0.5, "first"), caption(2.0, "second")];
    let at = |time| caption_at(&captions, time).map(|caption| caption.text.as_str());
    assert_eq!(at(0.0), Some("first"));
    assert_eq!(at(1.99), Some("first"));
    assert_eq!(at(2.0), Some("second"));
    assert_eq!(at(99.0), Some("second"));
    assert!(caption_at(&[], 1.0).is_none());
}

#[test]
fn pictures_are_drawn_in_their_proportions_as_large_as_words_and_players_want_them() {
    let drawn = |width, height| {
        let size = drawn_size(Size { width, height }, 1280);
        (size.width, size.height)
    };
    assert_eq!(drawn(640, 360), (640, 360));
    assert_eq!(drawn(1920, 1080), (1280, 720));
    assert_eq!(drawn(2160, 3840), (720, 1280));
    assert_eq!(drawn(176, 144), (294, 240));
    assert_eq!(drawn(341, 255), (342, 256));
    // A strip that would be legible only if it were longer than the largest side, and one that no encoder takes.
    assert_eq!(drawn(1280, 64), (1280, 64));
    assert_eq!(drawn(4000, 4), (1280, 16));
    assert_eq!(drawn(1, 1), (240, 240));
}

#[test]
fn the_name_decides_the_container() {
    assert_eq!(codec_of(Path::new("a.AVI")), Codec::Mpeg4);
    assert_eq!(codec_of(Path::new("a.mp4")), Codec::H264);
}
