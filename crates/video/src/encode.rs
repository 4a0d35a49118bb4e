//! Writing video files: RGB frames in, a file of H.264 or MPEG-4 part 2 out.
//!
//! Frames are shown equally long ([`VideoWriter::write`]) or each as long as it says ([`VideoWriter::write_until`]).
//!
//! The same frames give the same bytes on every run with the same FFmpeg: one encoder thread, no
//! creation time, no version strings. The muxer writes through a Rust file, so that a full disk is
//! reported as what it is, and a path need not be UTF-8.

mod codec;
mod error;
pub(crate) mod muxer;
mod notice;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::encoder;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{Packet, Rational, ffi, format, frame};

use crate::Size;

pub use codec::Codec;
pub use error::EncodeError;

use muxer::{Muxer, outcome};
use notice::without_version_notice;

/// Ticks a second of frames that are each shown as long as they say: a whole number of them lies between the frames of every
/// usual rate (24, 25, 30, 50, 60, and 1000/1001 of these) and makes a millisecond.
const FINE: i32 = 720_000;

/// Writes one video, frame by frame. Dropped before [`VideoWriter::finish`], it deletes what it wrote.
pub struct VideoWriter {
    path: PathBuf,
    codec: Codec,
    width: u32,
    height: u32,
    muxer: Muxer,
    encoder: encoder::video::Encoder,
    scaler: scaling::Context,
    rgb: frame::Video,
    yuv: frame::Video,
    encoder_time_base: Rational,
    stream_time_base: Rational,
    /// When the next frame is shown, in units of the encoder's time base.
    now: i64,
    /// How long each of the frames is shown that the encoder still has.
    durations: VecDeque<i64>,
}

impl std::fmt::Debug for VideoWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoWriter")
            .field("path", &self.path)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl VideoWriter {
    /// H.264 where the linked FFmpeg can encode it, else MPEG-4 part 2.
    pub fn best_codec() -> Codec {
        if Codec::H264.encoder_name().is_some() {
            Codec::H264
        } else {
            Codec::Mpeg4
        }
    }

    /// Starts a video of `width` x `height` pixels (even numbers) in the container of the codec,
    /// replacing a file that is there. The name should end in [`Codec::extension`].
    ///
    /// # Errors
    /// The file cannot be created, the geometry cannot be encoded, or there is no such encoder.
    pub fn create(
        path: &Path,
        width: u32,
        height: u32,
        frames_per_second: u32,
        codec: Codec,
    ) -> Result<Self, EncodeError> {
        let rate = frames_per_second.cast_signed();
        let size = Size { width, height };
        Self::start(path, size, (frames_per_second, rate), codec)
    }

    /// Starts a video whose frames are shown as long as they say, about `frames_per_second` of them: exactly so
    /// in MP4; in AVI, which has one rate, the whole number next to that one, frames are repeated or left out.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_timed(
        path: &Path,
        size: Size,
        frames_per_second: f64,
        codec: Codec,
    ) -> Result<Self, EncodeError> {
        let rate = frames_per_second.round().clamp(1.0, 1000.0) as u32;
        let ticks = match codec.timed() {
            true => FINE,
            false => rate.cast_signed(),
        };
        Self::start(path, size, (rate, ticks), codec)
    }

    /// Starts a video of so many frames and ticks a second.
    fn start(
        path: &Path,
        Size { width, height }: Size,
        (frames_per_second, ticks): (u32, i32),
        codec: Codec,
    ) -> Result<Self, EncodeError> {
        let usable = |side: u32| side.is_multiple_of(2) && (16..=8192).contains(&side);
        if !usable(width) || !usable(height) || !(1..=1000).contains(&frames_per_second) {
            return Err(EncodeError::Geometry {
                path: path.to_owned(),
                width,
                height,
                frames_per_second,
            });
        }
        let no_encoder = || EncodeError::NoEncoder {
            path: path.to_owned(),
            codec,
        };
        let encoder_name = codec.encoder_name().ok_or_else(no_encoder)?;
        let coder = encoder::find_by_name(encoder_name).ok_or_else(no_encoder)?;
        let refused = |step| {
            move |source| EncodeError::Ffmpeg {
                path: path.to_owned(),
                step,
                source,
            }
        };

        let mut muxer = Muxer::create(path, codec)?;
        let output = muxer.output();
        let encoder_time_base = Rational(1, ticks);
        let encoder = codec::open(
            (coder, encoder_name),
            (width, height),
            frames_per_second,
            encoder_time_base,
            output
                .format()
                .flags()
                .contains(format::Flags::GLOBAL_HEADER),
        )
        .map_err(refused("opening the encoder"))?;
        let mut stream = output
            .add_stream(coder)
            .map_err(refused("adding the stream"))?;
        stream.set_parameters(&encoder);
        stream.set_time_base(encoder_time_base);
        stream.set_avg_frame_rate(Rational(frames_per_second.cast_signed(), 1));

        let scaler = scaling::Context::get(
            format::Pixel::RGB24,
            width,
            height,
            format::Pixel::YUV420P,
            width,
            height,
            // Without the last three the result depends on the vector unit.
            scaling::Flags::BILINEAR
                | scaling::Flags::FULL_CHR_H_INP
                | scaling::Flags::ACCURATE_RND
                | scaling::Flags::BITEXACT,
        )
        .map_err(refused("preparing the colour conversion"))?;

        let mut writer = Self {
            path: path.to_owned(),
            codec,
            width,
            height,
            muxer,
            encoder,
            scaler,
            rgb: frame::Video::new(format::Pixel::RGB24, width, height),
            yuv: frame::Video::new(format::Pixel::YUV420P, width, height),
            encoder_time_base,
            stream_time_base: encoder_time_base,
            now: 0,
            durations: VecDeque::new(),
        };
        writer.muxer.write_header()?;
        // The muxer may have chosen a finer time base than it was asked for.
        if let Some(stream) = writer.muxer.output().stream(0) {
            writer.stream_time_base = stream.time_base();
        }
        Ok(writer)
    }

    /// Appends a frame: `height` rows of `width` RGB pixels, one byte a channel, without gaps.
    ///
    /// # Errors
    /// The slice has the wrong length, or the file cannot be written.
    pub fn write(&mut self, rgb: &[u8]) -> Result<(), EncodeError> {
        self.append(rgb, 1)
    }

    /// Appends a frame to a video of [`create_timed`](Self::create_timed) that is shown until `end`, in seconds from the
    /// first frame's appearance.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_until(&mut self, rgb: &[u8], end: f64) -> Result<(), EncodeError> {
        let ticks =
            (end * f64::from(self.encoder_time_base.denominator())).round() as i64 - self.now;
        if !self.codec.timed() {
            for _ in 0..ticks {
                self.append(rgb, 1)?;
            }
            return Ok(());
        }
        // No frame may be lost, and none can be shown for no time.
        self.append(rgb, ticks.max(1))
    }

    /// Appends a frame that is shown for so many ticks.
    fn append(&mut self, rgb: &[u8], ticks: i64) -> Result<(), EncodeError> {
        let row = self.width as usize * 3;
        let expected = row * self.height as usize;
        if rgb.len() != expected {
            return Err(EncodeError::FrameSize {
                path: self.path.clone(),
                given: rgb.len(),
                expected,
            });
        }
        let stride = self.rgb.stride(0);
        for (to, from) in self
            .rgb
            .data_mut(0)
            .chunks_mut(stride)
            .zip(rgb.chunks_exact(row))
        {
            to[..row].copy_from_slice(from);
        }
        // The encoder keeps a reference to the last frame; scaling into it would change what it holds.
        // SAFETY: `yuv` is an allocated frame that this writer owns.
        let code = unsafe { ffi::av_frame_make_writable(self.yuv.as_mut_ptr()) };
        self.muxer.checked("preparing a frame", outcome(code))?;
        let scaled = self.scaler.run(&self.rgb, &mut self.yuv);
        self.muxer.checked("converting colours", scaled)?;
        self.yuv.set_pts(Some(self.now));
        self.now += ticks;
        self.durations.push_back(ticks);
        let sent = self.encoder.send_frame(&self.yuv);
        self.muxer.checked("encoding", sent)?;
        self.drain()
    }

    /// Writes what the encoder still holds and closes the file.
    ///
    /// # Errors
    /// The file cannot be written, or has no frames; it is deleted then.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        if self.now == 0 {
            return Err(EncodeError::Empty {
                path: self.path.clone(),
            });
        }
        let ended = self.encoder.send_eof();
        self.muxer.checked("ending the encoder", ended)?;
        self.drain()?;
        self.muxer.finish()
    }

    /// Moves finished packets from the encoder into the file.
    fn drain(&mut self) -> Result<(), EncodeError> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::util::error::EAGAIN => {
                    return Ok(());
                }
                Err(error) => return self.muxer.checked("encoding", Err(error)),
            }
            let mut packet = without_version_notice(&packet);
            packet.set_stream(0);
            // Packets come in the order of frames: none refers to a later one.
            packet.set_duration(self.durations.pop_front().unwrap_or(1));
            packet.rescale_ts(self.encoder_time_base, self.stream_time_base);
            let written = packet.write_interleaved(self.muxer.output()).map(|_| ());
            self.muxer.checked("writing a frame", written)?;
        }
    }
}
