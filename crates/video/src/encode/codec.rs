//! The codings that videos are written in, and their encoders.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::util::color;
use ffmpeg_next::{Dictionary, Rational, ffi, format};

/// H.264 encoders whose output depends on nothing but their input, best first. Hardware encoders are
/// left out: their bytes differ from one device to the next.
const H264_ENCODERS: [&str; 2] = ["libx264", "libopenh264"];

/// The coding of a written video and, with it, the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264 in MP4; needs an FFmpeg that was built with an encoder for it.
    H264,
    /// MPEG-4 part 2 in AVI; every FFmpeg has it.
    Mpeg4,
}

impl Codec {
    /// The extension of the container that the codec is written into, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::H264 => "mp4",
            Self::Mpeg4 => "avi",
        }
    }

    /// The name used in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Mpeg4 => "mpeg4",
        }
    }

    /// The name of FFmpeg's encoder that would be used, as in `libx264`; `None` where the linked FFmpeg
    /// has none.
    pub fn encoder_name(self) -> Option<&'static str> {
        let candidates: &[&str] = match self {
            Self::H264 => &H264_ENCODERS,
            Self::Mpeg4 => &["mpeg4"],
        };
        candidates
            .iter()
            .copied()
            .find(|name| encoder::find_by_name(name).is_some())
    }

    /// Whether its container says of each packet when it is played. The other counts packets.
    pub(crate) fn timed(self) -> bool {
        self == Self::H264
    }

    pub(crate) fn container(self) -> &'static str {
        self.extension()
    }
}

/// Opens the encoder: one thread, yuv420p tagged as BT.601 limited range (what the conversion above
/// yields and what players assume of small videos), no frames that refer to later ones, so that times
/// start at zero and decoding order is display order.
pub(super) fn open(
    (coder, name): (ffmpeg::Codec, &str),
    (width, height): (u32, u32),
    frames_per_second: u32,
    time_base: Rational,
    global_header: bool,
) -> Result<encoder::video::Encoder, ffmpeg::Error> {
    let mut video = codec::context::Context::new_with_codec(coder)
        .encoder()
        .video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(format::Pixel::YUV420P);
    video.set_colorspace(color::Space::SMPTE170M);
    video.set_color_range(color::Range::MPEG);
    video.set_color_primaries(color::Primaries::SMPTE170M);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::SMPTE170M);
    video.set_time_base(time_base);
    video.set_frame_rate(Some(Rational(frames_per_second.cast_signed(), 1)));
    video.set_aspect_ratio(Rational(1, 1));
    // A key frame a second: seeking stays cheap.
    video.set_gop(frames_per_second);
    video.set_max_b_frames(0);
    video.set_threading(codec::threading::Config::count(1));
    let mut flags = codec::Flags::BITEXACT;
    if global_header {
        flags |= codec::Flags::GLOBAL_HEADER;
    }
    let mut options = Dictionary::new();
    match name {
        "libx264" => {
            options.set("preset", "veryfast");
            options.set("crf", "20");
            if let Some(instructions) = steady_instructions() {
                options.set("x264-params", instructions);
            }
        }
        "mpeg4" => {
            flags |= codec::Flags::QSCALE;
            // Quantizer 3 of 31, in FFmpeg's units: close to the H.264 above.
            video.set_global_quality(3 * ffi::FF_QP2LAMBDA);
        }
        _ => {
            let pixels = width as usize * height as usize * frames_per_second as usize;
            video.set_bit_rate((pixels / 3).max(100_000));
        }
    }
    video.set_flags(flags);
    video.open_with(options)
}

/// What x264 is to compute with where its own choice gives other bytes from one thread to the next: build 164 does with
/// AVX-512, on small pictures, in the first that a thread encodes. Without it the bytes are the same on all processors.
fn steady_instructions() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // Whatever has AVX-512 has AVX2, and x264 does not ask the processor again.
        return Some("asm=AVX2");
    }
    None
}
