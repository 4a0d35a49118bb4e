//! From a decoded picture to a square of RGB the right way up.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::{self, AVColorRange, AVPixelFormat};

use crate::decoder::Frame;
use crate::error::words;
use crate::{Orientation, tone};

/// How scaling is done: bilinear over the whole area that a pixel covers when it shrinks, colour at full
/// resolution, exact rounding, and the same bits on every processor.
const FLAGS: c_int =
    ffi::SWS_BILINEAR | ffi::SWS_FULL_CHR_H_INT | ffi::SWS_ACCURATE_RND | ffi::SWS_BITEXACT;

/// What [`crate::Video::frames`] does to a frame, for whoever must say whether two sets of pixels were made
/// the same way. Changes whenever the same frame would give other pixels.
pub const SCALER: &str =
    "swscale bilinear, full chroma, accurate rounding, bit-exact; cropped first; HDR tone-mapped";

/// The square that is cut from each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The picture's short side is scaled to this many pixels ...
    pub resize: u32,
    /// ... and the square of this side is cut from its middle. At most `resize`.
    pub size: u32,
}

impl Geometry {
    /// Bytes of one frame: size x size x 3.
    pub fn frame_bytes(self) -> usize {
        self.size as usize * self.size as usize * 3
    }
}

/// What a scaling context is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    width: c_int,
    height: c_int,
    format: c_int,
    matrix: u32,
    full_range: bool,
}

/// Cuts, scales, converts to RGB and turns. Frames may change their size and format on the way.
pub(crate) struct Scaler {
    geometry: Geometry,
    pixel_aspect: f64,
    orientation: Orientation,
    context: *mut ffi::SwsContext,
    source: Option<Source>,
    /// The part of the frame that is scaled: a reference with a smaller rectangle.
    cut: Frame,
    target: Frame,
    tone_map: Option<(tone::Transfer, tone::ToneMap)>,
}

// SAFETY: a scaling context may be used from any thread, by one at a time.
unsafe impl Send for Scaler {}

impl Scaler {
    pub(crate) fn new(
        geometry: Geometry,
        pixel_aspect: f64,
        orientation: Orientation,
    ) -> Result<Self, String> {
        let mut target = Frame::empty();
        // SAFETY: the frame is valid; FFmpeg allocates rows padded for its vector instructions.
        let code = unsafe {
            let raw = &mut *target.as_mut_ptr();
            raw.width = geometry.size as c_int;
            raw.height = geometry.size as c_int;
            raw.format = AVPixelFormat::AV_PIX_FMT_RGB24 as c_int;
            ffi::av_frame_get_buffer(raw, 0)
        };
        if code < 0 {
            return Err(words(code));
        }
        Ok(Self {
            geometry,
            pixel_aspect,
            orientation,
            context: ptr::null_mut(),
            source: None,
            cut: Frame::empty(),
            target,
            tone_map: None,
        })
    }

    /// Scales a frame into `pixels` (size x size x 3).
    pub(crate) fn scale(&mut self, frame: &Frame, pixels: &mut [u8]) -> Result<(), String> {
        let crop = crop(
            frame.raw().width as usize,
            frame.raw().height as usize,
            self.pixel_aspect,
            self.geometry,
        );
        self.cut.refer_to(frame)?;
        // SAFETY: the frame is valid and the rectangle lies inside it; the call moves the reference's
        // plane pointers, for any format, and leaves the picture alone.
        let code = unsafe {
            let raw = &mut *self.cut.as_mut_ptr();
            raw.crop_left = crop.left;
            raw.crop_top = crop.top;
            raw.crop_right = raw.width as usize - crop.left - crop.width;
            raw.crop_bottom = raw.height as usize - crop.top - crop.height;
            ffi::av_frame_apply_cropping(raw, ffi::AV_FRAME_CROP_UNALIGNED as c_int)
        };
        if code < 0 {
            return Err(words(code));
        }
        self.prepare()?;
        let side = self.geometry.size as usize;
        // SAFETY: the context was made for exactly this source and for the target's size and format.
        let code = unsafe {
            let source = self.cut.raw();
            let target = self.target.raw();
            ffi::sws_scale(
                self.context,
                source.data.as_ptr().cast::<*const u8>(),
                source.linesize.as_ptr(),
                0,
                source.height,
                target.data.as_ptr(),
                target.linesize.as_ptr(),
            )
        };
        if code < 0 {
            return Err(words(code));
        }
        let stride = self.target.raw().linesize[0] as usize;
        // SAFETY: the target has `side` rows of `stride` bytes, written just now and unshared.
        let scaled =
            unsafe { std::slice::from_raw_parts(self.target.raw().data[0], stride * side) };
        self.orientation.apply(scaled, stride, side, pixels);
        if let Some(transfer) = tone::Transfer::of(frame.raw()) {
            match &self.tone_map {
                Some((made_for, map)) if *made_for == transfer => map.apply(pixels),
                _ => {
                    let map = tone::ToneMap::new(transfer);
                    map.apply(pixels);
                    self.tone_map = Some((transfer, map));
                }
            }
        }
        Ok(())
    }

    /// Makes a context for the cut unless the last one fits.
    fn prepare(&mut self) -> Result<(), String> {
        let raw = self.cut.raw();
        let source = Source {
            width: raw.width,
            height: raw.height,
            format: raw.format,
            // SAFETY: reads the number behind the enum, which a newer FFmpeg may have extended.
            matrix: unsafe { (&raw const raw.colorspace).cast::<u32>().read() },
            full_range: raw.color_range == AVColorRange::AVCOL_RANGE_JPEG || full_range(raw.format),
        };
        if self.source == Some(source) {
            return Ok(());
        }
        // SAFETY: the format number comes from a decoder of the linked FFmpeg, so it is one of the
        // enum's; the context is freed before it is replaced and when the scaler is dropped.
        unsafe {
            let format: AVPixelFormat = std::mem::transmute(source.format);
            if ffi::sws_isSupportedInput(format) == 0 {
                return Err(format!(
                    "its pixel format {} cannot be converted",
                    crate::library::text(ffi::av_get_pix_fmt_name(format))
                ));
            }
            ffi::sws_freeContext(self.context);
            self.source = None;
            let side = self.geometry.size as c_int;
            self.context = ffi::sws_getContext(
                source.width,
                source.height,
                format,
                side,
                side,
                AVPixelFormat::AV_PIX_FMT_RGB24,
                FLAGS,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            );
            if self.context.is_null() {
                return Err(format!(
                    "{} x {} pixels cannot be scaled to {side} x {side}",
                    source.width, source.height
                ));
            }
            // A picture in RGB has no matrix; FFmpeg then refuses, and needs no setting.
            ffi::sws_setColorspaceDetails(
                self.context,
                ffi::sws_getCoefficients(source.matrix as c_int),
                c_int::from(source.full_range),
                ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT),
                1,
                0,
                1 << 16,
                1 << 16,
            );
        }
        self.source = Some(source);
        Ok(())
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // SAFETY: null or made by sws_getContext, freed once.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}

/// Whether a format has values from 0 to 255 by its name, as JPEG's have.
fn full_range(format: c_int) -> bool {
    [
        AVPixelFormat::AV_PIX_FMT_YUVJ420P,
        AVPixelFormat::AV_PIX_FMT_YUVJ422P,
        AVPixelFormat::AV_PIX_FMT_YUVJ444P,
        AVPixelFormat::AV_PIX_FMT_YUVJ440P,
        AVPixelFormat::AV_PIX_FMT_YUVJ411P,
    ]
    .iter()
    .any(|full| *full as c_int == format)
}

/// A rectangle of the decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crop {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The part of a picture that becomes the square: cutting before scaling gives the same square and
/// leaves out the work on what is cut off. Left and top are even, so that subsampled colour stays with
/// its pixels.
fn crop(width: usize, height: usize, pixel_aspect: f64, geometry: Geometry) -> Crop {
    let short = (width as f64 * pixel_aspect).min(height as f64);
    let side = short * f64::from(geometry.size) / f64::from(geometry.resize);
    let cut = |length: usize, wanted: f64| {
        let wanted = (wanted.round() as usize).clamp(1, length);
        (((length - wanted) / 2) & !1, wanted)
    };
    let (left, width) = cut(width, side / pixel_aspect);
    let (top, height) = cut(height, side);
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

    #[test]
    fn the_square_is_cut_from_the_middle() {
        let geometry = Geometry {
            resize: 128,
            size: 112,
        };
        let rectangle = |left, top, width, height| Crop {
            left,
            top,
            width,
            height,
        };
        assert_eq!(crop(320, 240, 1.0, geometry), rectangle(54, 14, 210, 210));
        assert_eq!(crop(240, 320, 1.0, geometry), rectangle(14, 54, 210, 210));
        // Pixels twice as wide as high: half as many of them make a square.
        assert_eq!(crop(160, 240, 2.0, geometry), rectangle(26, 14, 105, 210));
        let whole = Geometry {
            resize: 64,
            size: 64,
        };
        assert_eq!(crop(161, 121, 1.0, whole), rectangle(20, 0, 121, 121));
        assert_eq!(crop(1, 1, 1.0, geometry), rectangle(0, 0, 1, 1));
    }
}
