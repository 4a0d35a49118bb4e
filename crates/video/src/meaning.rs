//! What the numbers of a decoded picture mean, by its format and by what the file says.

use std::ffi::c_int;

use ffmpeg_next::ffi::{self, AVColorRange, AVPixelFormat};

/// Whether a frame's values use all of their range, by what it says or by the name of its format.
pub(crate) fn full_range(frame: &ffi::AVFrame) -> Option<bool> {
    let by_name = [
        AVPixelFormat::AV_PIX_FMT_YUVJ420P,
        AVPixelFormat::AV_PIX_FMT_YUVJ422P,
        AVPixelFormat::AV_PIX_FMT_YUVJ444P,
        AVPixelFormat::AV_PIX_FMT_YUVJ440P,
        AVPixelFormat::AV_PIX_FMT_YUVJ411P,
    ]
    .iter()
    .any(|full| *full as c_int == frame.format);
    match frame.color_range {
        _ if by_name => Some(true),
        AVColorRange::AVCOL_RANGE_JPEG => Some(true),
        AVColorRange::AVCOL_RANGE_MPEG => Some(false),
        _ => None,
    }
}

/// The name of a colour matrix (ITU-T H.273) for which FFmpeg would silently take another.
pub(crate) fn inconvertible(matrix: u32) -> Option<&'static str> {
    use ffi::AVColorSpace::*;
    [
        (AVCOL_SPC_YCGCO, "YCgCo"),
        (AVCOL_SPC_SMPTE2085, "YDzDx"),
        (AVCOL_SPC_CHROMA_DERIVED_NCL, "chromaticity-derived YCbCr"),
        (AVCOL_SPC_CHROMA_DERIVED_CL, "chromaticity-derived YCbCr"),
        (AVCOL_SPC_ICTCP, "ICtCp"),
    ]
    .into_iter()
    .find(|(number, _)| *number as u32 == matrix)
    .map(|(_, name)| name)
}

fn description(format: AVPixelFormat) -> Option<&'static ffi::AVPixFmtDescriptor> {
    // SAFETY: gives null or a constant.
    unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() }
}

pub(crate) fn is_rgb(format: AVPixelFormat) -> bool {
    description(format).is_some_and(|one| one.flags & ffi::AV_PIX_FMT_FLAG_RGB as u64 != 0)
}

/// Whether a format has planes of YCbCr, as most videos have.
pub(crate) fn plain_yuv(format: AVPixelFormat) -> bool {
    let other = (ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL) as u64;
    description(format).is_some_and(|one| {
        one.flags & other == 0
            && one.flags & ffi::AV_PIX_FMT_FLAG_PLANAR as u64 != 0
            && one.nb_components >= 3
    })
}

/// Where a value of colour lies, in 256ths of a pixel from the left and from the top of those that it covers:
/// at the left and half-way down where nothing is said, as in MPEG. -513, FFmpeg's "whatever", where each pixel
/// has its own.
pub(crate) fn chroma_position(format: AVPixelFormat, location: u32) -> (c_int, c_int) {
    use ffi::AVChromaLocation::*;
    let among = |some: &[ffi::AVChromaLocation]| some.iter().any(|one| *one as u32 == location);
    let centred = among(&[AVCHROMA_LOC_CENTER, AVCHROMA_LOC_TOP, AVCHROMA_LOC_BOTTOM]);
    let at_top = among(&[AVCHROMA_LOC_TOPLEFT, AVCHROMA_LOC_TOP]);
    let at_bottom = among(&[AVCHROMA_LOC_BOTTOMLEFT, AVCHROMA_LOC_BOTTOM]);
    let (wide, high) = description(format).map_or((false, false), |one| {
        (one.log2_chroma_w > 0, one.log2_chroma_h > 0)
    });
    let across = if centred { 128 } else { 0 };
    let down = match (at_top, at_bottom) {
        (true, _) => 0,
        (_, true) => 256,
        _ => 128,
    };
    (
        if wide { across } else { -513 },
        if high { down } else { -513 },
    )
}
