//! From a decoded picture to RGB the right way up: a square from its middle, or all of it.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::{self, AVPixelFormat};

use crate::colour::{Colours, Rows};
use crate::conversion::{Treatment, View};
use crate::decoder::Frame;
use crate::error::words;
use crate::meaning::{chroma_position, full_range, inconvertible, is_rgb, plain_yuv};
use crate::{Orientation, Size, crop, tone};

/// How scaling is done: bilinear over the whole area that a pixel covers when it shrinks, colour at full
/// resolution, exact rounding, and the same bits on every processor.
const FLAGS: c_int =
    ffi::SWS_BILINEAR | ffi::SWS_FULL_CHR_H_INT | ffi::SWS_ACCURATE_RND | ffi::SWS_BITEXACT;

/// What a scaling context is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    width: c_int,
    height: c_int,
    format: c_int,
    matrix: u32,
    /// By what the frame says; where it says nothing, FFmpeg takes what is usual for the format.
    full_range: Option<bool>,
    /// Where a value of colour lies among the values of luma that it covers, by its number in FFmpeg.
    chroma_location: u32,
}

/// Cuts, scales, converts to RGB and turns. Frames may change their size and format on the way.
pub(crate) struct Scaler {
    treatment: Treatment,
    /// Of what is shown as it is stored, before it is turned.
    stored: Size,
    pixel_aspect: f64,
    orientation: Orientation,
    context: *mut ffi::SwsContext,
    source: Option<Source>,
    /// The part of the frame that is scaled: a reference with a smaller rectangle.
    cut: Frame,
    target: Frame,
    /// The way from the target to RGB where FFmpeg only scales.
    colours: Option<Colours>,
    rows: Rows,
    /// What is shown in RGB as it is stored, before it is turned.
    packed: Vec<u8>,
    tone_map: Option<(tone::Transfer, tone::ToneMap)>,
}

// SAFETY: a scaling context may be used from any thread, by one at a time.
unsafe impl Send for Scaler {}

impl Scaler {
    pub(crate) fn new(treatment: Treatment, pixel_aspect: f64, orientation: Orientation) -> Self {
        let size = treatment.view.size();
        Self {
            treatment,
            stored: match orientation.transpose {
                true => size.transposed(),
                false => size,
            },
            pixel_aspect,
            orientation,
            context: ptr::null_mut(),
            source: None,
            cut: Frame::empty(),
            target: Frame::empty(),
            colours: None,
            rows: Rows::default(),
            packed: vec![0; size.frame_bytes()],
            tone_map: None,
        }
    }

    /// Bytes of what becomes of a frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.stored.frame_bytes()
    }

    /// Scales a frame into `pixels` (height x width x 3).
    pub(crate) fn scale(&mut self, frame: &Frame, pixels: &mut [u8]) -> Result<(), String> {
        let transfer = tone::Transfer::of(frame.raw());
        if let Some(transfer) = transfer.filter(|_| !self.treatment.tone_map) {
            let curve = transfer.name();
            return Err(format!(
                "it has a high dynamic range ({curve}), which is refused"
            ));
        }
        let picture = (frame.raw().width as usize, frame.raw().height as usize);
        let crop = match self.treatment.view {
            View::Square(geometry) => crop::square(picture, self.pixel_aspect, geometry),
            View::Whole(_) => crop::whole(picture, self.pixel_aspect, self.stored),
        };
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
        let (columns, rows) = (self.stored.width as usize, self.stored.height as usize);
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
        let packed = if self.orientation == Orientation::default() {
            &mut *pixels
        } else {
            &mut self.packed[..]
        };
        let plane = |plane: usize| {
            let stride = self.target.raw().linesize[plane] as usize;
            // SAFETY: the target has `rows` rows of `stride` bytes in each plane of its format, written just
            // now and unshared.
            let bytes =
                unsafe { std::slice::from_raw_parts(self.target.raw().data[plane], stride * rows) };
            bytes.chunks_exact(stride)
        };
        let lines = packed.chunks_exact_mut(columns * 3);
        if let Some(colours) = self.colours {
            let planes = plane(0).zip(plane(1)).zip(plane(2));
            for (line, ((y, u), v)) in lines.zip(planes) {
                colours.convert(y, u, v, &mut self.rows, line);
            }
        } else {
            for (line, row) in lines.zip(plane(0)) {
                line.copy_from_slice(&row[..columns * 3]);
            }
        }
        if self.orientation != Orientation::default() {
            self.orientation
                .apply(&self.packed, self.treatment.view.size(), pixels);
        }
        if let Some(transfer) = transfer {
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

    /// Tells the context how the source's numbers mean colours; a picture in RGB has no matrix, and FFmpeg
    /// then refuses and needs no setting.
    ///
    /// # Safety
    /// The context is valid.
    unsafe fn set_colours(&mut self, source: Source) {
        let (mut from, mut to) = (ptr::null_mut(), ptr::null_mut());
        let (mut from_full, mut to_full) = (0, 0);
        let (mut brightness, mut contrast, mut saturation) = (0, 1 << 16, 1 << 16);
        // SAFETY: by this function's contract; every pointer is to a variable of its type, and tables of
        // coefficients are constants.
        unsafe {
            ffi::sws_getColorspaceDetails(
                self.context,
                &raw mut from,
                &raw mut from_full,
                &raw mut to,
                &raw mut to_full,
                &raw mut brightness,
                &raw mut contrast,
                &raw mut saturation,
            );
            let matrix = ffi::sws_getCoefficients(source.matrix as c_int);
            let full = source.full_range.map_or(from_full, c_int::from);
            // Colours stay what they are where only scaling is asked for.
            let (to, to_full) = match self.colours {
                Some(_) => (matrix, full),
                None => (ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT), 1),
            };
            ffi::sws_setColorspaceDetails(
                self.context,
                matrix,
                full,
                to,
                to_full,
                0,
                1 << 16,
                1 << 16,
            );
        }
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
            full_range: full_range(raw),
            // SAFETY: as above.
            chroma_location: unsafe { (&raw const raw.chroma_location).cast::<u32>().read() },
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
            if let Some(name) = inconvertible(source.matrix)
                && !is_rgb(format)
            {
                return Err(format!(
                    "its colours are coded as {name}, which cannot be converted"
                ));
            }
            ffi::sws_freeContext(self.context);
            self.context = ptr::null_mut();
            self.source = None;
            let (width, height) = (self.stored.width as c_int, self.stored.height as c_int);
            let plain = plain_yuv(format);
            let target = match plain {
                true => AVPixelFormat::AV_PIX_FMT_YUV444P,
                false => AVPixelFormat::AV_PIX_FMT_RGB24,
            };
            self.colours =
                plain.then(|| Colours::new(source.matrix, source.full_range.unwrap_or(false)));
            self.target = empty((width, height), target)?;
            self.context = ffi::sws_alloc_context();
            if self.context.is_null() {
                return Err("out of memory".to_owned());
            }
            let (across, down) = chroma_position(format, source.chroma_location);
            for (name, value) in [
                (c"srcw", source.width),
                (c"srch", source.height),
                (c"src_format", source.format),
                (c"dstw", width),
                (c"dsth", height),
                (c"dst_format", target as c_int),
                (c"sws_flags", FLAGS),
                (c"src_h_chr_pos", across),
                (c"src_v_chr_pos", down),
            ] {
                ffi::av_opt_set_int(self.context.cast(), name.as_ptr(), i64::from(value), 0);
            }
            // Ten bits become eight by rounding, not by a pattern.
            ffi::av_opt_set(
                self.context.cast(),
                c"sws_dither".as_ptr(),
                c"none".as_ptr(),
                0,
            );
            if ffi::sws_init_context(self.context, ptr::null_mut(), ptr::null_mut()) < 0 {
                return Err(format!(
                    "{} x {} pixels cannot be scaled to {width} x {height}",
                    source.width, source.height
                ));
            }
            self.set_colours(source);
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

/// An empty picture; FFmpeg pads its rows for its vector instructions.
fn empty((width, height): (c_int, c_int), format: AVPixelFormat) -> Result<Frame, String> {
    let mut frame = Frame::empty();
    // SAFETY: the frame is valid, and its size and format are set before its buffers are asked for.
    let code = unsafe {
        let raw = &mut *frame.as_mut_ptr();
        (raw.width, raw.height) = (width, height);
        raw.format = format as c_int;
        ffi::av_frame_get_buffer(raw, 0)
    };
    if code < 0 {
        Err(words(code))
    } else {
        Ok(frame)
    }
}
