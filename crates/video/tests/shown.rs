//! Whole pictures, one after the other, as a person would see them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod maker;

use std::fs;
use std::path::Path;

use fedact_video::{Size, Video, VideoError};
use maker::{Fate, LIMIT, Recipe, fill, number, numbered, turn};

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

/// All pictures of a video in this size.
fn shown(path: &Path, size: Size) -> Vec<Vec<u8>> {
    let mut pictures = Vec::new();
    let see = |frame, pixels: &mut [u8]| -> Result<(), VideoError> {
        assert_eq!(frame, pictures.len());
        assert_eq!(pixels.len(), size.frame_bytes());
        pictures.push(pixels.to_vec());
        Ok(())
    };
    Video::open(path, LIMIT).unwrap().show(size, see).unwrap();
    pictures
}

fn green(pixels: &[u8], size: Size, x: u32, y: u32) -> u8 {
    pixels[((y * size.width + x) * 3 + 1) as usize]
}

#[test]
fn every_frame_is_shown_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let recipes = [
        Recipe::default(),
        Recipe {
            encoder: "libx264",
            container: "mp4",
            b_frames: 2,
            ..Recipe::default()
        },
        // Without presentation times.
        Recipe {
            b_frames: 2,
            ..Recipe::default()
        },
    ];
    for (case, recipe) in recipes.into_iter().enumerate() {
        if !recipe.possible() {
            continue;
        }
        let path = folder.path().join(format!("{case}"));
        recipe.make(&path);
        let pictures = shown(&path, size(32, 24));
        let numbers: Vec<usize> = pictures.iter().map(|one| number(one)).collect();
        assert_eq!(
            numbers,
            (0..recipe.frames).collect::<Vec<_>>(),
            "{recipe:?}"
        );
    }
}

#[test]
fn a_frame_that_does_not_decode_has_a_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.avi");
    let recipe = Recipe {
        encoder: "mjpeg",
        pixel: ffmpeg_next::format::Pixel::YUVJ420P,
        frames: 6,
        ..Recipe::default()
    };
    if !recipe.possible() {
        return;
    }
    recipe.edit(&path, numbered, |number, packet| {
        if number == 3 {
            packet.data_mut().unwrap().fill(0);
        }
        Fate::Written
    });
    let pictures = shown(&path, size(64, 48));
    assert_eq!(pictures.len(), 6);
    assert_eq!(pictures[3], pictures[2]);
    assert_ne!(pictures[4], pictures[3]);
}

#[test]
fn nothing_is_cut_off_and_pixels_become_square() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.mkv");
    let recipe = Recipe {
        encoder: "ffv1",
        container: "matroska",
        frames: 1,
        pixel_aspect: (2, 1),
        ..Recipe::default()
    };
    if !recipe.possible() {
        return;
    }
    // A bright frame of four stored columns and rows around a dark picture.
    recipe.paint(&path, |_, picture| {
        fill(picture, &[235, 128, 128]);
        let (stride, height) = (picture.stride(0), picture.height() as usize);
        let rows = picture.data_mut(0).chunks_mut(stride).take(height);
        rows.skip(4)
            .take(height - 8)
            .for_each(|row| row[4..60].fill(16));
    });
    let whole = Video::open(&path, LIMIT).unwrap().size();
    assert_eq!(whole, size(128, 48));
    let pictures = shown(&path, whole);
    let at = |x, y| green(&pictures[0], whole, x, y) > 128;
    assert!(at(0, 24) && at(5, 24) && at(127, 24) && at(122, 24));
    assert!(at(64, 0) && at(64, 2) && at(64, 47) && at(64, 45));
    assert!(!at(10, 24) && !at(117, 24) && !at(64, 6) && !at(64, 41));
}

#[test]
fn a_turned_video_is_shown_upright_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.mp4");
    let recipe = Recipe {
        container: "mp4",
        frames: 2,
        ..Recipe::default()
    };
    // The quarter at the top left is bright.
    recipe.paint(&path, |_, picture| {
        fill(picture, &[16, 128, 128]);
        let stride = picture.stride(0);
        for row in picture.data_mut(0).chunks_mut(stride).take(24) {
            row[..32].fill(235);
        }
    });
    let bytes = fs::read(&path).unwrap();
    let (one, minus) = (1i32 << 16, -(1i32 << 16));
    for (matrix, upright, bright) in [
        ([one, 0, 0, one], size(64, 48), (0, 0)),
        ([0, one, minus, 0], size(48, 64), (1, 0)),
        ([minus, 0, 0, minus], size(64, 48), (1, 1)),
        ([0, minus, one, 0], size(48, 64), (0, 1)),
    ] {
        fs::write(&path, turn(&bytes, matrix)).unwrap();
        assert_eq!(Video::open(&path, LIMIT).unwrap().size(), upright);
        let pictures = shown(&path, upright);
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (column, row) = (
                upright.width * (1 + 2 * x) / 4,
                upright.height * (1 + 2 * y) / 4,
            );
            let found = green(&pictures[1], upright, column, row) > 128;
            assert_eq!(found, (x, y) == bright, "{matrix:?} at {x}, {y}");
        }
    }
}

#[test]
fn whoever_has_seen_enough_is_shown_no_more() {
    #[derive(Debug, PartialEq)]
    enum Seen {
        Enough,
        Trouble(String),
    }
    impl From<VideoError> for Seen {
        fn from(error: VideoError) -> Self {
            Self::Trouble(error.to_string())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.avi");
    Recipe::default().make(&path);
    let mut video = Video::open(&path, LIMIT).unwrap();
    let mut count = 0;
    let result = video.show(size(16, 16), |_, _| {
        count += 1;
        match count {
            5 => Err(Seen::Enough),
            _ => Ok(()),
        }
    });
    assert_eq!((result, count), (Err(Seen::Enough), 5));
    // And it can be shown again.
    let result = video.show(size(16, 16), |_, _| -> Result<(), Seen> { Ok(()) });
    assert_eq!(result, Ok(()));
}
