//! The corners of the square that the network sees, as in a view-finder.

use crate::canvas::{Area, Canvas};

/// Of how many pixels of the short side a line is one pixel thick.
const SIDE_OF_A_LINE: u32 = 360;

/// An arm of a corner is one of so many parts of the square's side.
const ARM: u32 = 12;

/// Half of what was there shines through.
fn lighter(pixel: [u8; 3]) -> [u8; 3] {
    pixel.map(|value| value / 2 + 128)
}

/// Marks the corners of the square in the middle whose side is this share of the frame's short side.
pub(crate) fn mark(canvas: &mut Canvas<'_>, share: f64) {
    let (size, short) = (canvas.size(), canvas.short());
    let side = ((f64::from(short) * share.clamp(0.0, 1.0)).round()) as u32;
    let thick = (short / SIDE_OF_A_LINE).max(1);
    let arm = side / ARM;
    if arm <= thick || side == size.width && side == size.height {
        return;
    }
    let (left, top) = ((size.width - side) / 2, (size.height - side) / 2);
    for (near_left, near_top) in [(true, true), (false, true), (true, false), (false, false)] {
        let along = |start: u32, length: u32, near: bool| match near {
            true => start,
            false => start + side - length,
        };
        let lying = Area {
            left: along(left, arm, near_left),
            top: along(top, thick, near_top),
            width: arm,
            height: thick,
        };
        canvas.fill(lying, lighter);
        // Without the pixels in which both arms meet, which would be lighter than the others.
        let standing = Area {
            left: along(left, thick, near_left),
            top: match near_top {
                true => top + thick,
                false => top + side - arm,
            },
            width: thick,
            height: arm - thick,
        };
        canvas.fill(standing, lighter);
    }
}

#[cfg(test)]
mod tests {
    use fedact_video::Size;

    use super::*;

    /// Columns and rows of the pixels that were made lighter.
    fn marked(width: u32, height: u32, share: f64) -> Vec<(u32, u32)> {
        let size = Size { width, height };
        let mut pixels = vec![0; size.frame_bytes()];
        mark(&mut Canvas::new(&mut pixels, size), share);
        let marked = pixels.chunks_exact(3).enumerate();
        marked
            .filter(|(_, pixel)| **pixel == [128; 3])
            .map(|(at, _)| (at as u32 % width, at as u32 / width))
            .collect()
    }

    #[test]
    fn the_corners_are_those_of_the_square_in_the_middle() {
        for (width, height) in [(320, 240), (240, 320)] {
            let found = marked(width, height, 0.5);
            let (left, top) = ((width - 120) / 2, (height - 120) / 2);
            for corner in [
                (left, top),
                (left + 119, top),
                (left, top + 119),
                (left + 119, top + 119),
            ] {
                assert!(found.contains(&corner), "{corner:?}");
            }
            let inside = |at: u32, start: u32| (start..start + 120).contains(&at);
            assert!(
                found
                    .iter()
                    .all(|(x, y)| inside(*x, left) && inside(*y, top))
            );
            // Two arms of ten pixels that share one, four times.
            assert_eq!(found.len(), 4 * 19);
        }
    }

    #[test]
    fn nothing_is_marked_where_all_is_seen_or_there_is_no_room() {
        assert_eq!(marked(240, 240, 1.0), []);
        assert_eq!(marked(16, 12, 0.5), []);
        assert!(!marked(242, 240, 1.0).is_empty());
    }
}
