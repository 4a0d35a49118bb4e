//! A frame of RGB that is drawn on.

use fedact_video::Size;

/// Packed RGB: height x width x 3.
pub(crate) struct Canvas<'a> {
    pixels: &'a mut [u8],
    size: Size,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(pixels: &'a mut [u8], size: Size) -> Self {
        Self { pixels, size }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// The shorter of the two sides: what is drawn is as large as it allows.
    pub(crate) fn short(&self) -> u32 {
        self.size.width.min(self.size.height)
    }

    /// Changes the pixels of an area, as far as it lies in the frame.
    pub(crate) fn fill(&mut self, area: Area, ink: impl Fn([u8; 3]) -> [u8; 3]) {
        let right = area.left.saturating_add(area.width).min(self.size.width);
        let bottom = area.top.saturating_add(area.height).min(self.size.height);
        for row in area.top..bottom {
            for column in area.left..right {
                let at = 3 * (row as usize * self.size.width as usize + column as usize);
                if let Some(pixel) = self.pixels.get_mut(at..at + 3) {
                    pixel.copy_from_slice(&ink([pixel[0], pixel[1], pixel[2]]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_frame_is_changed() {
        let size = Size {
            width: 4,
            height: 3,
        };
        let filled = |left, top, width, height| {
            let mut pixels = vec![0; size.frame_bytes()];
            let area = Area {
                left,
                top,
                width,
                height,
            };
            Canvas::new(&mut pixels, size).fill(area, |_| [1; 3]);
            pixels.iter().step_by(3).copied().collect::<Vec<u8>>()
        };
        assert_eq!(filled(1, 1, 2, 1), [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(
            filled(3, 2, u32::MAX, 9),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        );
        assert_eq!(filled(4, 0, 1, 1), [0; 12]);
    }
}
