//! Writing video files: RGB frames in, a file of H.264 or MPEG-4 part 2 out.
//!
//! The same frames give the same bytes on every run with the same FFmpeg: one encoder thread, no
//! creation time, no version strings. The muxer writes through a Rust file, so that a full disk is
//! reported as what it is, and a path need not be UTF-8.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::software::scaling;
use ffmpeg_next::util::color;
use ffmpeg_next::{Dictionary, Packet, Rational, ffi, format, frame};

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

    fn container(self) -> &'static str {
        self.extension()
    }
}

/// Why a video could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The file could not be created or written; a full disk is `StorageFull`.
    #[error("cannot write the video {}", path.display())]
    Write {
        /// The video.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The linked FFmpeg has no encoder for this codec.
    #[error("cannot write the video {}: the linked FFmpeg has no {} encoder", path.display(), codec.name())]
    NoEncoder {
        /// The video.
        path: PathBuf,
        /// What was asked for.
        codec: Codec,
    },
    /// Width, height or frame rate cannot be encoded.
    #[error("cannot write the video {}: {width}x{height} at {frames_per_second} frames a second; \
             width and height must be even and between 16 and 8192, the rate between 1 and 1000", path.display())]
    Geometry {
        /// The video.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Frames per second.
        frames_per_second: u32,
    },
    /// A frame of the wrong size was handed over.
    #[error("cannot write the video {}: a frame has {given} bytes instead of {expected}", path.display())]
    FrameSize {
        /// The video.
        path: PathBuf,
        /// Bytes given.
        given: usize,
        /// Bytes of a frame: width x height x 3.
        expected: usize,
    },
    /// No frame was written before the end.
    #[error("cannot write the video {}: it has no frames", path.display())]
    Empty {
        /// The video.
        path: PathBuf,
    },
    /// FFmpeg refused.
    #[error("cannot write the video {} ({step})", path.display())]
    Ffmpeg {
        /// The video.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What FFmpeg said.
        #[source]
        source: ffmpeg::Error,
    },
}

impl EncodeError {
    /// The video that could not be written.
    pub fn path(&self) -> &Path {
        match self {
            Self::Write { path, .. }
            | Self::NoEncoder { path, .. }
            | Self::Geometry { path, .. }
            | Self::FrameSize { path, .. }
            | Self::Empty { path }
            | Self::Ffmpeg { path, .. } => path,
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// The file under the muxer. FFmpeg keeps only an error number, and not always that; this keeps the
/// first error itself.
struct Sink {
    file: File,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Sink {
    fn remember<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let code = error.raw_os_error();
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            code.map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.remember(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.remember(result)
    }
}

impl Seek for Sink {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let result = self.file.seek(position);
        self.remember(result)
    }
}

/// Writes one video, frame by frame. Dropped before [`VideoWriter::finish`], it deletes what it wrote.
pub struct VideoWriter {
    path: PathBuf,
    width: u32,
    height: u32,
    container: Output,
    encoder: encoder::video::Encoder,
    scaler: scaling::Context,
    rgb: frame::Video,
    yuv: frame::Video,
    encoder_time_base: Rational,
    stream_time_base: Rational,
    frames: i64,
    failure: Arc<Mutex<Option<io::Error>>>,
    /// Deleted on drop: true until finished, and only for regular files.
    unfinished: bool,
}

impl std::fmt::Debug for VideoWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoWriter")
            .field("path", &self.path)
            .field("frames", &self.frames)
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
        initialise();
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

        let unwritable = |source| EncodeError::Write {
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(unwritable)?;
        let unfinished = file.metadata().map_err(unwritable)?.is_file();
        let failure = Arc::new(Mutex::new(None));
        let sink = Sink {
            file,
            failure: Arc::clone(&failure),
        };
        let stream_io = StreamIo::from_write_seek(sink).map_err(refused("opening the file"))?;
        let mut container = format::output_to_stream(stream_io, None, Some(codec.container()))
            .map_err(refused("choosing the container"))?;
        // SAFETY: the context is open and owned by `container`; `flags` is a plain integer of it. No
        // safe call sets the flag, without which the muxer writes its version and the time of day.
        unsafe {
            (*container.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_BITEXACT;
        }

        let encoder_time_base = Rational(1, frames_per_second.cast_signed());
        let encoder = open_encoder(
            coder,
            encoder_name,
            (width, height),
            frames_per_second,
            container
                .format()
                .flags()
                .contains(format::Flags::GLOBAL_HEADER),
        )
        .map_err(refused("opening the encoder"))?;
        let mut stream = container
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
            width,
            height,
            container,
            encoder,
            scaler,
            rgb: frame::Video::new(format::Pixel::RGB24, width, height),
            yuv: frame::Video::new(format::Pixel::YUV420P, width, height),
            encoder_time_base,
            stream_time_base: encoder_time_base,
            frames: 0,
            failure,
            unfinished,
        };
        let header = writer.container.write_header().map(|_| ());
        writer.checked("writing the header", header)?;
        // The muxer may have chosen a finer time base than it was asked for.
        if let Some(stream) = writer.container.stream(0) {
            writer.stream_time_base = stream.time_base();
        }
        Ok(writer)
    }

    /// Appends a frame: `height` rows of `width` RGB pixels, one byte a channel, without gaps.
    ///
    /// # Errors
    /// The slice has the wrong length, or the file cannot be written.
    pub fn write(&mut self, rgb: &[u8]) -> Result<(), EncodeError> {
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
        let writable = match unsafe { ffi::av_frame_make_writable(self.yuv.as_mut_ptr()) } {
            code if code < 0 => Err(ffmpeg::Error::from(code)),
            _ => Ok(()),
        };
        self.checked("preparing a frame", writable)?;
        let scaled = self.scaler.run(&self.rgb, &mut self.yuv);
        self.checked("converting colours", scaled)?;
        self.yuv.set_pts(Some(self.frames));
        self.frames += 1;
        let sent = self.encoder.send_frame(&self.yuv);
        self.checked("encoding", sent)?;
        self.drain()
    }

    /// Writes what the encoder still holds and closes the file.
    ///
    /// # Errors
    /// The file cannot be written, or has no frames; it is deleted then.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        if self.frames == 0 {
            return Err(EncodeError::Empty {
                path: self.path.clone(),
            });
        }
        let ended = self.encoder.send_eof();
        self.checked("ending the encoder", ended)?;
        self.drain()?;
        let trailer = self.container.write_trailer();
        self.checked("writing the trailer", trailer)?;
        // SAFETY: the context is open and `pb` is the custom stream that `create` gave it.
        unsafe {
            ffi::avio_flush((*self.container.as_mut_ptr()).pb);
        }
        self.checked("closing the file", Ok(()))?;
        self.unfinished = false;
        Ok(())
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
                Err(error) => return self.checked("encoding", Err(error)),
            }
            let mut packet = without_version_notice(&packet);
            packet.set_stream(0);
            packet.set_duration(1);
            packet.rescale_ts(self.encoder_time_base, self.stream_time_base);
            let written = packet.write_interleaved(&mut self.container).map(|_| ());
            self.checked("writing a frame", written)?;
        }
    }

    /// Turns FFmpeg's word into ours, preferring what the file system said, which FFmpeg may not have
    /// noticed yet or may have forgotten.
    fn checked(
        &self,
        step: &'static str,
        result: Result<(), ffmpeg::Error>,
    ) -> Result<(), EncodeError> {
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (failure, result) {
            (Some(source), _) => Err(EncodeError::Write {
                path: self.path.clone(),
                source,
            }),
            (None, Err(source)) => Err(EncodeError::Ffmpeg {
                path: self.path.clone(),
                step,
                source,
            }),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        if self.unfinished {
            // Half a video must not pass for a whole one. There is nobody to tell if it cannot go.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens the encoder: one thread, yuv420p tagged as BT.601 limited range (what the conversion above
/// yields and what players assume of small videos), no frames that refer to later ones, so that times
/// start at zero and decoding order is display order.
fn open_encoder(
    coder: ffmpeg::Codec,
    name: &str,
    (width, height): (u32, u32),
    frames_per_second: u32,
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
    video.set_time_base(Rational(1, frames_per_second.cast_signed()));
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

/// The packet without the notice in which x264 writes its version and settings: it would make equal
/// pictures differ between builds.
fn without_version_notice(packet: &Packet) -> Packet {
    let data = packet.data().unwrap_or_default();
    let kept = strip_user_data(data);
    let mut copy = Packet::copy(kept.as_deref().unwrap_or(data));
    copy.set_pts(packet.pts());
    copy.set_dts(packet.dts());
    copy.set_flags(packet.flags());
    copy
}

/// Removes a leading SEI unit (type 6) with unregistered user data (payload type 5) from an H.264
/// stream with start codes (ITU-T H.264, annex B and 7.3.2.3); `None` where there is none.
fn strip_user_data(data: &[u8]) -> Option<Vec<u8>> {
    let start = match data {
        [0, 0, 0, 1, ..] => 4,
        [0, 0, 1, ..] => 3,
        _ => return None,
    };
    if !matches!(data.get(start..start + 2), Some([header, 5]) if header & 0x1f == 6) {
        return None;
    }
    let next = data[start..]
        .windows(3)
        .position(|window| window == [0, 0, 1])?
        + start;
    // A start code of four bytes belongs to the unit after it.
    let next = if data[next - 1] == 0 { next - 1 } else { next };
    Some(data[next..].to_vec())
}

/// FFmpeg writes its warnings to standard error by itself; a library must not.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Fatal));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: u32 = 64;

    /// A bright square that moves to the right over a dark gradient.
    fn picture(index: usize) -> Vec<u8> {
        (0..SIDE as usize * SIDE as usize)
            .flat_map(|pixel| {
                let (x, y) = (pixel % SIDE as usize, pixel / SIDE as usize);
                if (index * 2..index * 2 + 16).contains(&x) && (20..36).contains(&y) {
                    [230, 60, 40]
                } else {
                    [x as u8, 90, y as u8]
                }
            })
            .collect()
    }

    fn write_video(path: &Path, codec: Codec, frames: usize) {
        let mut writer = VideoWriter::create(path, SIDE, SIDE, 25, codec).unwrap();
        for index in 0..frames {
            writer.write(&picture(index)).unwrap();
        }
        writer.finish().unwrap();
    }

    fn codecs() -> Vec<Codec> {
        [Codec::H264, Codec::Mpeg4]
            .into_iter()
            .filter(|codec| codec.encoder_name().is_some())
            .collect()
    }

    /// Decodes everything into RGB frames and says the average frame rate.
    fn read_back(path: &Path) -> (Vec<Vec<u8>>, Rational) {
        let mut input = format::input(path).unwrap();
        let stream = input.streams().next().unwrap();
        let rate = stream.avg_frame_rate();
        let mut decoder = codec::context::Context::from_parameters(stream.parameters())
            .unwrap()
            .decoder()
            .video()
            .unwrap();
        let mut scaler = scaling::Context::get(
            format::Pixel::YUV420P,
            SIDE,
            SIDE,
            format::Pixel::RGB24,
            SIDE,
            SIDE,
            scaling::Flags::BILINEAR,
        )
        .unwrap();
        let mut frames = Vec::new();
        let mut collect = |decoder: &mut ffmpeg::decoder::Video| {
            let mut decoded = frame::Video::empty();
            while decoder.receive_frame(&mut decoded).is_ok() {
                let mut rgb = frame::Video::empty();
                scaler.run(&decoded, &mut rgb).unwrap();
                let row = SIDE as usize * 3;
                frames.push(
                    rgb.data(0)
                        .chunks(rgb.stride(0))
                        .flat_map(|line| line[..row].to_vec())
                        .collect::<Vec<u8>>(),
                );
            }
        };
        for (_, packet) in input.packets() {
            decoder.send_packet(&packet).unwrap();
            collect(&mut decoder);
        }
        decoder.send_eof().unwrap();
        collect(&mut decoder);
        (frames, rate)
    }

    #[test]
    fn frames_come_back_in_number_rate_and_colour() {
        let folder = tempfile::tempdir().unwrap();
        for codec in codecs() {
            let path = folder.path().join("a").with_extension(codec.extension());
            write_video(&path, codec, 20);
            let (frames, rate) = read_back(&path);
            assert_eq!(frames.len(), 20, "{codec:?}");
            assert_eq!(f64::from(rate), 25.0, "{codec:?}");
            for (index, frame) in frames.iter().enumerate() {
                let expected = picture(index);
                let error: f64 = frame
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| f64::from(a.abs_diff(*b)))
                    .sum::<f64>()
                    / frame.len() as f64;
                assert!(error < 6.0, "{codec:?}, frame {index}: {error}");
            }
        }
    }

    #[test]
    fn equal_frames_give_equal_bytes_without_version_strings() {
        let folder = tempfile::tempdir().unwrap();
        for codec in codecs() {
            let paths = ["a", "b"].map(|name| folder.path().join(name));
            for path in &paths {
                write_video(path, codec, 12);
            }
            let [a, b] = paths.map(|path| std::fs::read(path).unwrap());
            assert_eq!(a, b, "{codec:?}");
            for word in [&b"x264"[..], b"Lavf", b"Lavc"] {
                assert!(
                    !a.windows(word.len()).any(|window| window == word),
                    "{codec:?} names its encoder"
                );
            }
        }
    }

    #[test]
    fn a_writer_that_is_not_finished_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.avi");
        let mut writer = VideoWriter::create(&path, SIDE, SIDE, 25, Codec::Mpeg4).unwrap();
        writer.write(&picture(0)).unwrap();
        assert!(path.exists());
        drop(writer);
        assert!(!path.exists());
        let writer = VideoWriter::create(&path, SIDE, SIDE, 25, Codec::Mpeg4).unwrap();
        assert!(matches!(writer.finish(), Err(EncodeError::Empty { .. })));
        assert!(!path.exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named_as_such_and_the_device_survives() {
        let path = Path::new("/dev/full");
        for codec in codecs() {
            let attempt = || -> Result<(), EncodeError> {
                let mut writer = VideoWriter::create(path, SIDE, SIDE, 25, codec)?;
                for index in 0..10 {
                    writer.write(&picture(index))?;
                }
                writer.finish()
            };
            let error = attempt().unwrap_err();
            assert!(error.disk_full(), "{codec:?}: {error:?}");
            assert_eq!(error.path(), path);
            assert!(error.to_string().contains("/dev/full"), "{error}");
        }
        assert!(path.exists());
    }

    #[test]
    fn what_cannot_be_encoded_is_refused_before_a_file_appears() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.avi");
        for (width, height, rate) in [(63, 64, 25), (64, 8, 25), (64, 64, 0)] {
            let error = VideoWriter::create(&path, width, height, rate, Codec::Mpeg4).unwrap_err();
            assert!(matches!(error, EncodeError::Geometry { .. }), "{error}");
            assert!(error.to_string().contains("odd.avi"), "{error}");
        }
        assert!(!path.exists());
        let missing = folder.path().join("no/such/folder.avi");
        let error = VideoWriter::create(&missing, 64, 64, 25, Codec::Mpeg4).unwrap_err();
        assert!(matches!(error, EncodeError::Write { .. }), "{error}");
        let mut writer = VideoWriter::create(&path, 64, 64, 25, Codec::Mpeg4).unwrap();
        let error = writer.write(&[0; 10]).unwrap_err();
        assert!(matches!(error, EncodeError::FrameSize { given: 10, .. }));
    }

    #[test]
    fn only_the_version_notice_is_cut_off() {
        let notice = [0, 0, 0, 1, 0x06, 5, 9, 9, 9, 0x80];
        let slice = [0, 0, 0, 1, 0x65, 1, 2, 3];
        let with_notice = [&notice[..], &slice].concat();
        assert_eq!(strip_user_data(&with_notice).as_deref(), Some(&slice[..]));
        assert_eq!(strip_user_data(&slice), None);
        let timing = [0, 0, 1, 0x06, 1, 9, 0x80, 0, 0, 1, 0x65, 1];
        assert_eq!(strip_user_data(&timing), None);
    }
}
