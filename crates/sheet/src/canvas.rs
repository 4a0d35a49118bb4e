//! Rectangles, pictures and text on a picture.

use std::borrow::Cow;
use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_7X13_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb, RgbImage};

/// For ids and counts.
pub const PLAIN: &MonoFont<'_> = &FONT_6X10;
/// For headings.
pub const BOLD: &MonoFont<'_> = &FONT_7X13_BOLD;

/// A picture that is drawn on.
pub struct Canvas {
    pub picture: RgbImage,
}

impl Canvas {
    pub fn new(width: u32, height: u32, paper: [u8; 3]) -> Self {
        Self {
            picture: RgbImage::from_pixel(width, height, Rgb(paper)),
        }
    }

    pub fn fill(&mut self, left: u32, top: u32, width: u32, height: u32, ink: [u8; 3]) {
        let rectangle = RgbImage::from_pixel(width, height, Rgb(ink));
        imageops::replace(&mut self.picture, &rectangle, left.into(), top.into());
    }

    /// Puts a frame (height x width x 3 bytes) there, as large as `shown` says.
    pub fn picture(
        &mut self,
        left: u32,
        top: u32,
        frame: &[u8],
        (width, height): (usize, usize),
        shown: (u32, u32),
    ) {
        let Some(frame) = ImageBuffer::<Rgb<u8>, _>::from_raw(width as u32, height as u32, frame)
        else {
            return;
        };
        let filter = if shown.0 >= width as u32 {
            FilterType::Nearest
        } else {
            FilterType::Triangle
        };
        let frame = imageops::resize(&frame, shown.0, shown.1, filter);
        imageops::replace(&mut self.picture, &frame, left.into(), top.into());
    }

    /// Writes one line, whose upper left corner is there. Says where it ends.
    pub fn text<'a>(
        &mut self,
        left: u32,
        top: u32,
        text: impl Into<Cow<'a, str>>,
        font: &MonoFont<'_>,
        [red, green, blue]: [u8; 3],
    ) -> u32 {
        let style = MonoTextStyle::new(font, Rgb888::new(red, green, blue));
        let at = Point::new(left as i32, top as i32);
        let text = text.into();
        // Whatever is written outside the picture is lost, and nothing else can go wrong.
        let Ok(end) = Text::with_baseline(&text, at, style, Baseline::Top).draw(self);
        end.x as u32
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.picture.width(), self.picture.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else {
                continue;
            };
            if let Some(pixel) = self.picture.get_pixel_mut_checked(x, y) {
                *pixel = Rgb([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// A text that fits into so many pixels: of one that does not, the end, which tells clips apart.
pub fn fit<'a>(text: &'a str, pixels: u32, font: &MonoFont<'_>) -> Cow<'a, str> {
    let most = (pixels / font.character_size.width) as usize;
    let count = text.chars().count();
    if count <= most {
        return Cow::Borrowed(text);
    }
    let kept = most.saturating_sub(2);
    Cow::Owned(format!(
        "..{}",
        text.chars().skip(count - kept).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_end() {
        assert_eq!(fit("Walk/v_07.avi#00", 96, PLAIN), "Walk/v_07.avi#00");
        assert_eq!(fit("Walk/v_07.avi#00", 95, PLAIN), "..k/v_07.avi#00");
        assert_eq!(fit("Walk", 6, PLAIN), "..");
    }

    #[test]
    fn letters_beyond_the_font_take_their_place() {
        let mut canvas = Canvas::new(60, 12, [255; 3]);
        assert_eq!(canvas.text(0, 0, "é字", PLAIN, [0; 3]), 12);
        assert!(canvas.picture.pixels().any(|pixel| pixel.0 == [0; 3]));
    }

    #[test]
    fn what_is_outside_is_cut_off() {
        let mut canvas = Canvas::new(8, 8, [255; 3]);
        canvas.text(4, 4, "WWW", PLAIN, [0; 3]);
        canvas.picture(5, 5, &[9; 4 * 4 * 3], (4, 4), (4, 4));
        assert_eq!(canvas.picture.get_pixel(7, 7).0, [9; 3]);
    }
}
