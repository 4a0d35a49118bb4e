//! From stored pictures to what a person would see: colours, range, proportions, orientation, fields, alpha.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod maker;

use std::fs;

use fedact_video::{Conversion, Video};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use ffmpeg_next::util::color::{Range, Space, TransferCharacteristic};
use maker::{LIMIT, Recipe, decode, fill, turn, whole};

fn pixel(pixels: &[u8], side: usize, x: usize, y: usize) -> [u8; 3] {
    pixels[(y * side + x) * 3..][..3].try_into().unwrap()
}

fn near(found: [u8; 3], wanted: [f64; 3], tolerance: f64) -> bool {
    found
        .iter()
        .zip(wanted)
        .all(|(found, wanted)| (f64::from(*found) - wanted).abs() <= tolerance)
}

/// RGB of a YCbCr triple by the weights of red and blue (ITU-T H.273, 8.3).
fn rgb(yuv: [u8; 3], (red, blue): (f64, f64), full: bool) -> [f64; 3] {
    let [y, u, v] = yuv.map(f64::from);
    let (y, u, v) = match full {
        true => (y / 255.0, (u - 128.0) / 255.0, (v - 128.0) / 255.0),
        false => ((y - 16.0) / 219.0, (u - 128.0) / 224.0, (v - 128.0) / 224.0),
    };
    let r = y + 2.0 * (1.0 - red) * v;
    let b = y + 2.0 * (1.0 - blue) * u;
    let g = (y - red * r - blue * b) / (1.0 - red - blue);
    [r, g, b].map(|value| (value * 255.0).clamp(0.0, 255.0))
}

const BT601: (f64, f64) = (0.299, 0.114);
const BT709: (f64, f64) = (0.2126, 0.0722);
const BT2020: (f64, f64) = (0.2627, 0.0593);

#[test]
fn matrix_and_range_are_those_that_the_file_names() {
    let folder = tempfile::tempdir().unwrap();
    let yuv = [120, 90, 190];
    let cases = [
        (Space::SMPTE170M, Range::MPEG, BT601, false),
        (Space::SMPTE170M, Range::JPEG, BT601, true),
        (Space::BT709, Range::MPEG, BT709, false),
        (Space::BT709, Range::JPEG, BT709, true),
        (Space::BT2020NCL, Range::MPEG, BT2020, false),
        (Space::Unspecified, Range::Unspecified, BT601, false),
    ];
    for (number, (matrix, range, weights, full)) in cases.into_iter().enumerate() {
        let recipe = Recipe {
            encoder: "libx264",
            container: "mp4",
            frames: 2,
            matrix,
            range,
            ..Recipe::default()
        };
        if !recipe.possible() {
            return;
        }
        let path = folder.path().join(format!("{number}.mp4"));
        recipe.paint(&path, |_, picture| fill(picture, &yuv));
        let found = pixel(&decode(&path, &[1], whole(32)).pixels, 32, 16, 16);
        let wanted = rgb(yuv, weights, full);
        assert!(
            near(found, wanted, 3.0),
            "{matrix:?} {range:?}: {found:?} is not {wanted:?}"
        );
    }
}

#[test]
fn colours_that_cannot_be_converted_are_refused_and_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        encoder: "libx264",
        container: "mp4",
        frames: 2,
        matrix: Space::YCGCO,
        ..Recipe::default()
    };
    if !recipe.possible() {
        return;
    }
    let path = folder.path().join("ycgco.mp4");
    recipe.make(&path);
    let error = Video::open(&path, LIMIT)
        .unwrap()
        .frames(&[0], whole(32))
        .unwrap_err();
    assert!(error.to_string().contains("YCgCo"), "{error}");
}

/// Encoder, container, format, the values of each plane, and the colour that they stand for.
type Case<'a> = (&'static str, &'static str, Pixel, &'a [u8], [f64; 3]);

#[test]
fn grey_pictures_and_pictures_with_alpha_keep_their_brightness() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [Case<'_>; 5] = [
        ("ffv1", "matroska", Pixel::GRAY8, &[77], [77.0; 3]),
        (
            "ffv1",
            "matroska",
            Pixel::YUVA420P,
            &[120, 90, 190, 0],
            rgb([120, 90, 190], BT601, false),
        ),
        (
            "ffv1",
            "matroska",
            Pixel::YUV422P,
            &[120, 90, 190],
            rgb([120, 90, 190], BT601, false),
        ),
        (
            "ffv1",
            "matroska",
            Pixel::YUV444P,
            &[120, 90, 190],
            rgb([120, 90, 190], BT601, false),
        ),
        ("png", "mov", Pixel::RGBA, &[], [200.0, 30.0, 60.0]),
    ];
    for (number, (encoder, container, pixel_format, values, wanted)) in
        cases.into_iter().enumerate()
    {
        let recipe = Recipe {
            encoder,
            container,
            pixel: pixel_format,
            frames: 2,
            ..Recipe::default()
        };
        let path = folder.path().join(format!("{number}.{container}"));
        recipe.paint(&path, |_, picture| match values {
            [] => {
                for one in picture.data_mut(0).chunks_exact_mut(4) {
                    one.copy_from_slice(&[200, 30, 60, 0]);
                }
            }
            values => fill(picture, values),
        });
        let found = pixel(&decode(&path, &[1], whole(32)).pixels, 32, 16, 16);
        assert!(
            near(found, wanted, 3.0),
            "{pixel_format:?}: {found:?} is not {wanted:?}"
        );
    }
}

#[test]
fn odd_sizes_lose_no_row_and_no_column() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(161, 121), (33, 65), (17, 17), (9, 31)] {
        let recipe = Recipe {
            encoder: "ffv1",
            container: "matroska",
            width,
            height,
            frames: 3,
            ..Recipe::default()
        };
        let path = folder.path().join(format!("{width}x{height}.mkv"));
        recipe.make(&path);
        let side = width.min(height).max(8);
        let frames = decode(&path, &[2], whole(side));
        let wanted = rgb([maker::luma(2), 128, 128], BT601, false);
        for (x, y) in [(0, 0), (side - 1, 0), (0, side - 1), (side - 1, side - 1)] {
            let found = pixel(&frames.pixels, side as usize, x as usize, y as usize);
            assert!(
                near(found, wanted, 2.0),
                "{width} x {height} at {x}, {y}: {found:?}"
            );
        }
    }
}

/// Paints the columns outside `inside` white, those inside black.
fn columns(picture: &mut frame::Video, inside: std::ops::Range<usize>) {
    fill(picture, &[235, 128, 128]);
    let (stride, height) = (picture.stride(0), picture.height() as usize);
    for row in picture.data_mut(0).chunks_mut(stride).take(height) {
        row[inside.clone()].fill(16);
    }
}

#[test]
fn pixels_that_are_not_square_are_made_square() {
    let folder = tempfile::tempdir().unwrap();
    // Stored 64 x 64 and shown 128 x 64: the square in the middle is 32 stored columns wide.
    for (container, encoder) in [("matroska", "ffv1"), ("mp4", "libx264")] {
        let recipe = Recipe {
            encoder,
            container,
            height: 64,
            frames: 2,
            pixel_aspect: (2, 1),
            ..Recipe::default()
        };
        if !recipe.possible() {
            continue;
        }
        let path = folder.path().join(container);
        recipe.paint(&path, |_, picture| columns(picture, 16..48));
        assert!((Video::open(&path, LIMIT).unwrap().info().pixel_aspect - 2.0).abs() < 1e-9);
        let frames = decode(&path, &[1], whole(64));
        for x in [1, 32, 62] {
            let found = pixel(&frames.pixels, 64, x, 32);
            assert!(
                near(found, [0.0; 3], 24.0),
                "{container}, column {x}: {found:?}"
            );
        }
    }
}

#[test]
fn a_display_matrix_turns_and_mirrors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.mp4");
    let recipe = Recipe {
        container: "mp4",
        width: 64,
        height: 64,
        frames: 2,
        ..Recipe::default()
    };
    // The quarter at the top left is bright.
    recipe.paint(&path, |_, picture| {
        fill(picture, &[16, 128, 128]);
        let stride = picture.stride(0);
        for row in picture.data_mut(0).chunks_mut(stride).take(32) {
            row[..32].fill(235);
        }
    });
    let bytes = fs::read(&path).unwrap();
    let (one, minus) = (1i32 << 16, -(1i32 << 16));
    // As phones write them: where the bright quarter must be seen, left or right, top or bottom.
    for (name, matrix, right, bottom) in [
        ("as it is", [one, 0, 0, one], false, false),
        ("a quarter turn clockwise", [0, one, minus, 0], true, false),
        ("half a turn", [minus, 0, 0, minus], true, true),
        (
            "a quarter turn counter-clockwise",
            [0, minus, one, 0],
            false,
            true,
        ),
        ("mirrored left to right", [minus, 0, 0, one], true, false),
        ("mirrored and turned", [0, minus, minus, 0], true, true),
    ] {
        fs::write(&path, turn(&bytes, matrix)).unwrap();
        assert_eq!(
            Video::open(&path, LIMIT).unwrap().info().turned,
            name != "as it is"
        );
        let frames = decode(&path, &[0], whole(64));
        for (x, y) in [(16, 16), (48, 16), (16, 48), (48, 48)] {
            let bright = pixel(&frames.pixels, 64, x, y)[1] > 128;
            assert_eq!(
                bright,
                (x > 32, y > 32) == (right, bottom),
                "{name} at {x}, {y}"
            );
        }
    }
}

#[test]
fn a_high_dynamic_range_is_mapped_or_refused_by_choice() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = |transfer| Recipe {
        encoder: "libx264",
        container: "mp4",
        frames: 2,
        matrix: Space::BT2020NCL,
        range: Range::MPEG,
        transfer,
        ..Recipe::default()
    };
    if !recipe(TransferCharacteristic::Unspecified).possible() {
        return;
    }
    for (transfer, name, white) in [
        (TransferCharacteristic::SMPTE2084, "PQ", 0.58),
        (TransferCharacteristic::ARIB_STD_B67, "HLG", 0.75),
    ] {
        let path = folder.path().join(name);
        let level = (16.0 + 219.0 * white) as u8;
        recipe(transfer).paint(&path, |_, picture| fill(picture, &[level, 128, 128]));
        let mut video = Video::open(&path, LIMIT).unwrap();
        assert_eq!(video.info().high_dynamic_range, Some(name));
        // Reference white is bright, and leaves room for highlights.
        let mapped = pixel(&video.frames(&[1], whole(32)).unwrap().pixels, 32, 16, 16)[1];
        assert!((165..=230).contains(&mapped), "{name}: {mapped}");
        let refusing = Conversion {
            tone_map: false,
            ..whole(32).into()
        };
        let error = video.frames(&[1], refusing).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("refused"), "{error}");
    }
    let path = folder.path().join("ordinary.mp4");
    recipe(TransferCharacteristic::BT709).make(&path);
    assert_eq!(
        Video::open(&path, LIMIT).unwrap().info().high_dynamic_range,
        None
    );
}

/// How much neighbouring rows differ, on average over the square.
fn combing(pixels: &[u8], side: usize) -> f64 {
    let rows: Vec<&[u8]> = pixels.chunks(side * 3).collect();
    let differences = rows.windows(2).flat_map(|pair| {
        let beside = pair[0].iter().zip(pair[1]);
        beside.map(|(above, below)| f64::from(above.abs_diff(*below)))
    });
    differences.sum::<f64>() / (side * (side - 1) * 3) as f64
}

/// A bright bar that moves by eight columns from field to field.
fn moving_bar(number: usize, picture: &mut frame::Video) {
    fill(picture, &[40, 128, 128]);
    let stride = picture.stride(0);
    for (y, row) in picture.data_mut(0).chunks_mut(stride).enumerate().take(96) {
        // Without a word to the contrary, the lower field is the first.
        let field = 2 * number + (y + 1) % 2;
        let left = 4 + 4 * field;
        row[left..left + 16].fill(220);
    }
}

#[test]
fn interlaced_frames_are_deinterlaced_where_they_are_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        encoder: "mpeg2video",
        container: "mpegts",
        width: 128,
        height: 96,
        frames: 10,
        interlaced: true,
        b_frames: 2,
        ..Recipe::default()
    };
    let path = folder.path().join("fields.ts");
    recipe.paint(&path, moving_bar);
    let mut video = Video::open(&path, LIMIT).unwrap();
    assert!(video.info().interlaced);
    let woven = Conversion {
        deinterlace: false,
        ..whole(96).into()
    };
    let bytes = whole(96).frame_bytes();
    let wanted: Vec<usize> = (0..10).collect();
    let left_alone = video.frames(&wanted, woven).unwrap();
    let frames = video.frames(&wanted, whole(96)).unwrap();
    assert_eq!((left_alone.deinterlaced, frames.deinterlaced), (0, 10));
    for number in 2..8 {
        let before = combing(&left_alone.pixels[number * bytes..][..bytes], 96);
        let after = combing(&frames.pixels[number * bytes..][..bytes], 96);
        assert!(
            after < before / 4.0,
            "frame {number}: {before} became {after}"
        );
        // Where the bar was when the first field was taken; the square begins at column 16.
        let bright: Vec<usize> = (0..96)
            .filter(|x| pixel(&frames.pixels[number * bytes..][..bytes], 96, *x, 48)[1] > 128)
            .collect();
        let first = (4 + 8 * number).saturating_sub(16);
        assert!(
            bright.first().is_some_and(|left| left.abs_diff(first) <= 2),
            "frame {number}: {bright:?}"
        );
    }
    // One frame alone is the same frame: its neighbours are decoded with it.
    for number in [0, 3, 4, 9] {
        let alone = video.frames(&[number], whole(96)).unwrap();
        assert!(
            alone.pixels == frames.pixels[number * bytes..][..bytes],
            "frame {number}"
        );
    }
    // The same pictures without the flag are left as they are.
    let progressive = Recipe {
        interlaced: false,
        ..recipe
    };
    progressive.paint(&path, moving_bar);
    let frames = decode(&path, &wanted, whole(96));
    assert_eq!(frames.deinterlaced, 0);
}
