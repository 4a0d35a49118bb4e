//! Which part of a decoded picture is scaled.

use crate::{Geometry, Size};

/// A rectangle of the decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crop {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The part of a picture (width and height) that becomes the square: cutting before scaling gives the same square and
/// leaves out the work on what is cut off.
pub(crate) fn square(picture: (usize, usize), pixel_aspect: f64, geometry: Geometry) -> Crop {
    let (width, height) = picture;
    let short = (width as f64 * pixel_aspect).min(height as f64);
    let side = short * f64::from(geometry.size) / f64::from(geometry.resize);
    middle(picture, (side / pixel_aspect, side))
}

/// The largest part of a picture that has the proportions of `shown`: all of it, or all but a row or a column of pixels,
/// unless it is of another shape than the pictures before it.
pub(crate) fn whole(picture: (usize, usize), pixel_aspect: f64, shown: Size) -> Crop {
    let (width, height) = (picture.0 as f64 * pixel_aspect, picture.1 as f64);
    let scale = (width / f64::from(shown.width)).min(height / f64::from(shown.height));
    let wanted = |length: u32| f64::from(length) * scale;
    middle(
        picture,
        (wanted(shown.width) / pixel_aspect, wanted(shown.height)),
    )
}

/// So many columns and rows of a picture from its middle. Left and top are even, so that subsampled colour stays with
/// its pixels.
fn middle(picture: (usize, usize), (columns, rows): (f64, f64)) -> Crop {
    let cut = |length: usize, wanted: f64| {
        let wanted = (wanted.round() as usize).clamp(1, length);
        (((length - wanted) / 2) & !1, wanted)
    };
    let (left, width) = cut(picture.0, columns);
    let (top, height) = cut(picture.1, rows);
    Crop {
        left,
        top,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle(left: usize, top: usize, width: usize, height: usize) -> Crop {
        Crop {
            left,
            top,
            width,
            height,
        }
    }

    #[test]
    fn the_square_is_cut_from_the_middle() {
        let geometry = Geometry {
            resize: 128,
            size: 112,
        };
        assert_eq!(
            square((320, 240), 1.0, geometry),
            rectangle(54, 14, 210, 210)
        );
        assert_eq!(
            square((240, 320), 1.0, geometry),
            rectangle(14, 54, 210, 210)
        );
        // Pixels twice as wide as high: half as many of them make a square.
        assert_eq!(
            square((160, 240), 2.0, geometry),
            rectangle(26, 14, 105, 210)
        );
        let whole = Geometry {
            resize: 64,
            size: 64,
        };
        assert_eq!(square((161, 121), 1.0, whole), rectangle(20, 0, 121, 121));
        assert_eq!(square((1, 1), 1.0, geometry), rectangle(0, 0, 1, 1));
    }

    #[test]
    fn of_a_whole_picture_no_more_is_cut_than_its_proportions_ask() {
        let size = |width, height| Size { width, height };
        let all = [(1920, 1080, 1.0, 1280, 720), (560, 240, 1.0, 560, 240)];
        for (columns, rows, aspect, width, height) in all {
            let crop = whole((columns, rows), aspect, size(width, height));
            assert_eq!(crop, rectangle(0, 0, columns, rows));
        }
        // Shown as 192.5 x 144, in even numbers 192 x 144: half a column too much.
        let aspect = 128.0 / 117.0;
        assert_eq!(
            whole((176, 144), aspect, size(192, 144)),
            rectangle(0, 0, 175, 144)
        );
        assert_eq!(
            whole((175, 145), 1.0, size(176, 146)),
            rectangle(0, 0, 175, 145)
        );
        // A picture that comes twice as wide as those before.
        assert_eq!(
            whole((640, 160), 1.0, size(320, 160)),
            rectangle(160, 0, 320, 160)
        );
    }
}
