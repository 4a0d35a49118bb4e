//! Which FFmpeg is linked, and what it can do.

use std::ffi::CStr;

use ffmpeg_next::ffi;
use serde::Serialize;

/// The versions of the linked FFmpeg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// FFmpeg's own version, as in `5.1.6-0+deb12u1`.
    pub ffmpeg: String,
    /// As in `59.37.100`.
    pub libavcodec: String,
    /// As in `59.27.100`.
    pub libavformat: String,
    /// As in `8.44.100`.
    pub libavfilter: String,
    /// As in `57.28.100`.
    pub libavutil: String,
    /// As in `6.7.100`.
    pub libswscale: String,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (libavcodec {}, libavformat {}, libavfilter {}, libavutil {}, libswscale {})",
            self.ffmpeg,
            self.libavcodec,
            self.libavformat,
            self.libavfilter,
            self.libavutil,
            self.libswscale
        )
    }
}

/// The versions of the linked FFmpeg.
pub fn version() -> Version {
    let parts = |version: u32| {
        format!(
            "{}.{}.{}",
            version >> 16,
            (version >> 8) & 0xff,
            version & 0xff
        )
    };
    // SAFETY: these functions take nothing and return constants.
    unsafe {
        Version {
            ffmpeg: text(ffi::av_version_info()),
            libavcodec: parts(ffi::avcodec_version()),
            libavformat: parts(ffi::avformat_version()),
            libavfilter: parts(ffi::avfilter_version()),
            libavutil: parts(ffi::avutil_version()),
            libswscale: parts(ffi::swscale_version()),
        }
    }
}

/// What the linked FFmpeg can do with one codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// The codec, as in `h264`.
    pub codec: &'static str,
    /// The decoder that would be used, as in `libdav1d`.
    pub decoder: Option<String>,
    /// The encoder that would be used, as in `libx264`.
    pub encoder: Option<String>,
}

/// The codecs that videos of people in motion come in, and what the linked FFmpeg can do with each.
pub fn capabilities() -> Vec<Capability> {
    use ffi::AVCodecID::*;
    [
        ("h264", AV_CODEC_ID_H264),
        ("mpeg4", AV_CODEC_ID_MPEG4),
        ("hevc", AV_CODEC_ID_HEVC),
        ("vp8", AV_CODEC_ID_VP8),
        ("vp9", AV_CODEC_ID_VP9),
        ("av1", AV_CODEC_ID_AV1),
        ("mpeg2video", AV_CODEC_ID_MPEG2VIDEO),
        ("mjpeg", AV_CODEC_ID_MJPEG),
    ]
    .into_iter()
    .map(|(codec, id)| Capability {
        codec,
        // SAFETY: looking a codec up returns null or a pointer to a constant with a name. FFmpeg's own
        // decoder called `av1` only drives hardware.
        decoder: unsafe { name(ffi::avcodec_find_decoder(id)) }.filter(|name| name != "av1"),
        // SAFETY: as above.
        encoder: unsafe { name(ffi::avcodec_find_encoder(id)) },
    })
    .collect()
}

/// # Safety
/// `codec` is null or points to one of FFmpeg's constants.
unsafe fn name(codec: *const ffi::AVCodec) -> Option<String> {
    // SAFETY: by this function's contract.
    (!codec.is_null()).then(|| text(unsafe { (*codec).name }))
}

/// A constant string of FFmpeg's; empty for null.
pub(crate) fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: FFmpeg's names are constants that end with a zero.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_version_is_told_in_full() {
        let version = version();
        assert!(!version.ffmpeg.is_empty());
        for part in [&version.libavcodec, &version.libswscale] {
            assert_eq!(part.split('.').count(), 3, "{part}");
        }
        assert!(version.to_string().contains(&version.libavformat));
    }

    #[test]
    fn the_codec_that_every_ffmpeg_has_is_there() {
        let mpeg4 = capabilities()
            .into_iter()
            .find(|one| one.codec == "mpeg4")
            .unwrap();
        assert_eq!(mpeg4.decoder.as_deref(), Some("mpeg4"));
        assert_eq!(mpeg4.encoder.as_deref(), Some("mpeg4"));
    }
}
