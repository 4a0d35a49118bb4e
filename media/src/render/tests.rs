use std::path::PathBuf;

use super::*;

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
