//! Words at the foot of a frame of RGB.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_10X20 as FONT;
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};
use fedact_predict::Caption;

use crate::canvas::{Area, Canvas};

/// Letters grow by one for each so many pixels of the short side.
const SIDE_OF_A_SIZE: u32 = 360;

/// How bright what lies behind the words stays.
const BEHIND: u16 = 3;
/// Of so many parts.
const PARTS: u16 = 10;

const WHITE: [u8; 3] = [255; 3];
const BAR: [u8; 3] = [255, 176, 0];

/// Letters that are drawn larger than their font has them.
struct Enlarged<'a, 'b> {
    canvas: &'a mut Canvas<'b>,
    size: u32,
    left: u32,
    top: u32,
}

impl OriginDimensions for Enlarged<'_, '_> {
    fn size(&self) -> Size {
        let size = self.canvas.size();
        Size::new(size.width, size.height)
    }
}

impl DrawTarget for Enlarged<'_, '_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<BinaryColor>>,
    {
        for Pixel(point, _) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else {
                continue;
            };
            let area = Area {
                left: self.left + x * self.size,
                top: self.top + y * self.size,
                width: self.size,
                height: self.size,
            };
            self.canvas.fill(area, |_| WHITE);
        }
        Ok(())
    }
}

/// Writes a caption over the foot of a frame: its words, as many as fit, on a darkened strip, and the bar beneath them.
pub(crate) fn write_on(canvas: &mut Canvas<'_>, caption: &Caption) {
    let (width, foot) = (canvas.size().width, canvas.size().height);
    let size = (canvas.short() / SIDE_OF_A_SIZE).max(1);
    let letter = FONT.character_size;
    let margin = 4 * size;
    let height = letter.height * size + 3 * margin;
    let top = foot.saturating_sub(height);
    let darker = |pixel: [u8; 3]| pixel.map(|value| (u16::from(value) * BEHIND / PARTS) as u8);
    let strip = Area {
        left: 0,
        top,
        width,
        height,
    };
    canvas.fill(strip, darker);
    let bar = Area {
        top: foot.saturating_sub(margin),
        width: (f64::from(width) * caption.share.clamp(0.0, 1.0)).round() as u32,
        height: margin,
        ..strip
    };
    canvas.fill(bar, |_| BAR);
    let room = (width.saturating_sub(2 * margin) / (letter.width * size)) as usize;
    let text = shortened(&caption.text, room);
    let mut enlarged = Enlarged {
        canvas,
        size,
        left: margin,
        top: top + margin,
    };
    let style = MonoTextStyle::new(&FONT, BinaryColor::On);
    let text = Text::with_baseline(&text, Point::zero(), style, Baseline::Top);
    // Nothing can go wrong on pixels in memory.
    let _ = text.draw(&mut enlarged);
}

/// As much of a text as there is room for; what is missing is said with dots.
fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept = text.chars().take(room.saturating_sub(2));
    kept.chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption(text: &str, share: f64) -> Caption {
        Caption {
            from: 0.0,
            text: text.to_owned(),
            share,
        }
    }

    fn drawn(width: u32, height: u32, text: &str, share: f64) -> Vec<u8> {
        let size = fedact_video::Size { width, height };
        let mut frame = vec![100; size.frame_bytes()];
        write_on(&mut Canvas::new(&mut frame, size), &caption(text, share));
        frame
    }

    fn count(frame: &[u8], ink: [u8; 3]) -> usize {
        frame.chunks_exact(3).filter(|pixel| *pixel == ink).count()
    }

    #[test]
    fn words_are_as_legible_on_large_frames_as_on_small_ones() {
        for (width, height) in [(240, 240), (640, 360), (720, 1280)] {
            let frame = drawn(width, height, "Walk 93 %", 0.0);
            let size = (width.min(height) / SIDE_OF_A_SIZE).max(1) as usize;
            let ink = count(&frame, WHITE);
            assert!(ink > 200 * size * size, "{width} x {height}: {ink}");
            // The picture above stays as it is.
            let above = (width * height / 2 * 3) as usize;
            assert!(frame[..above].iter().all(|value| *value == 100));
        }
    }

    #[test]
    fn the_bar_is_as_long_as_its_share_of_the_width() {
        let bar = |share| count(&drawn(426, 240, "", share), BAR);
        assert_eq!(bar(0.0), 0);
        assert_eq!(bar(0.5), 213 * 4);
        assert_eq!(bar(7.0), 426 * 4);
    }

    #[test]
    fn long_words_are_shortened_and_tiny_frames_are_no_danger() {
        assert_eq!(shortened("Playing the cello", 9), "Playing..");
        assert_eq!(shortened("Walk", 4), "Walk");
        drawn(8, 16, "Walk", 1.0);
        drawn(240, 240, &"long ".repeat(100), 1.0);
    }
}
