//! Files for tests, made with the linked FFmpeg: any encoder, container and colours, and packets changed or left
//! out on their way into the file. Each frame tells its number by its grey.

#![allow(dead_code)]

use std::path::Path;
use std::time::Duration;

use fedact_video::{Conversion, Frames, Geometry, Video};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::color;
use ffmpeg_next::{Dictionary, Packet, Rational, ffi, format, frame};

pub const LIMIT: Duration = Duration::from_secs(20);

/// How a file is made.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// FFmpeg's name of the encoder.
    pub encoder: &'static str,
    /// FFmpeg's name of the container.
    pub container: &'static str,
    pub pixel: Pixel,
    pub width: u32,
    pub height: u32,
    pub frames: usize,
    /// Frames from one key frame to the next.
    pub group: u32,
    pub b_frames: usize,
    pub options: &'static [(&'static str, &'static str)],
    pub matrix: color::Space,
    pub range: color::Range,
    pub transfer: color::TransferCharacteristic,
    pub pixel_aspect: (i32, i32),
    pub interlaced: bool,
    /// Presentation time of the first frame, in frames; below 0, an edit list hides the frames up to 0.
    pub start: i64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            encoder: "mpeg4",
            container: "avi",
            pixel: Pixel::YUV420P,
            width: 64,
            height: 48,
            frames: 40,
            group: 12,
            b_frames: 0,
            options: &[],
            matrix: color::Space::Unspecified,
            range: color::Range::Unspecified,
            transfer: color::TransferCharacteristic::Unspecified,
            pixel_aspect: (1, 1),
            interlaced: false,
            start: 0,
        }
    }
}

/// Luma of a frame by its number, four steps apart.
pub fn luma(number: usize) -> u8 {
    (40 + 4 * number % 160) as u8
}

/// The number of a grey frame out of the decoder (below 40), by the middle of its picture.
pub fn number(pixels: &[u8]) -> usize {
    let green = f64::from(pixels[pixels.len() / 2 + 1]);
    let luma = green * 219.0 / 255.0 + 16.0;
    ((luma - 40.0) / 4.0).round().max(0.0) as usize
}

/// Fills the planes of a frame with the values of each.
pub fn fill(picture: &mut frame::Video, values: &[u8]) {
    for (plane, value) in values.iter().enumerate() {
        picture.data_mut(plane).fill(*value);
    }
}

/// Paints the grey that tells the frame's number.
pub fn numbered(number: usize, picture: &mut frame::Video) {
    fill(picture, &[luma(number), 128, 128]);
}

/// What happens to a packet on its way into the file.
pub enum Fate {
    Written,
    LeftOut,
}

impl Recipe {
    /// Whether the linked FFmpeg can make the file; says so on standard error if not.
    pub fn possible(&self) -> bool {
        let there = encoder::find_by_name(self.encoder).is_some();
        if !there {
            eprintln!("skipped: this FFmpeg has no encoder {}", self.encoder);
        }
        there
    }

    /// Makes the file of frames that are grey by their numbers.
    pub fn make(&self, path: &Path) {
        self.paint(path, numbered);
    }

    /// Makes the file of frames that `paint` fills.
    pub fn paint(&self, path: &Path, paint: impl FnMut(usize, &mut frame::Video)) {
        self.edit(path, paint, |_, _| Fate::Written);
    }

    /// The same, with each packet (by its number) through `edit`.
    pub fn edit(
        &self,
        path: &Path,
        mut paint: impl FnMut(usize, &mut frame::Video),
        mut edit: impl FnMut(usize, &mut Packet) -> Fate,
    ) {
        ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Fatal);
        let mut output = format::output_as(path, self.container).unwrap();
        let coder = encoder::find_by_name(self.encoder).unwrap();
        let global = output
            .format()
            .flags()
            .contains(format::Flags::GLOBAL_HEADER);
        let mut encoder = self.open(coder, global);
        let mut stream = output.add_stream(coder).unwrap();
        stream.set_parameters(&encoder);
        stream.set_time_base(Rational(1, 25));
        stream.set_avg_frame_rate(Rational(25, 1));
        // SAFETY: the stream is valid; no safe call sets the shape of its pixels.
        unsafe {
            (*stream.as_mut_ptr()).sample_aspect_ratio =
                Rational(self.pixel_aspect.0, self.pixel_aspect.1).into();
        }
        output.write_header().unwrap();
        let time_base = output.stream(0).unwrap().time_base();
        let mut packets = 0;
        let mut drain = |encoder: &mut encoder::video::Encoder| {
            let mut packet = Packet::empty();
            while encoder.receive_packet(&mut packet).is_ok() {
                packet.set_stream(0);
                packet.set_duration(1);
                packet.rescale_ts(Rational(1, 25), time_base);
                if let Fate::Written = edit(packets, &mut packet) {
                    packet.write_interleaved(&mut output).unwrap();
                }
                packets += 1;
            }
        };
        for number in 0..self.frames {
            let mut picture = frame::Video::new(self.pixel, self.width, self.height);
            paint(number, &mut picture);
            picture.set_pts(Some(self.start + number as i64));
            encoder.send_frame(&picture).unwrap();
            drain(&mut encoder);
        }
        encoder.send_eof().unwrap();
        drain(&mut encoder);
        output.write_trailer().unwrap();
    }

    fn open(&self, coder: ffmpeg::Codec, global: bool) -> encoder::video::Encoder {
        let mut video = codec::context::Context::new_with_codec(coder)
            .encoder()
            .video()
            .unwrap();
        video.set_width(self.width);
        video.set_height(self.height);
        video.set_format(self.pixel);
        video.set_colorspace(self.matrix);
        video.set_color_range(self.range);
        video.set_color_transfer_characteristic(self.transfer);
        video.set_aspect_ratio(Rational(self.pixel_aspect.0, self.pixel_aspect.1));
        video.set_time_base(Rational(1, 25));
        video.set_frame_rate(Some(Rational(25, 1)));
        video.set_gop(self.group);
        video.set_max_b_frames(self.b_frames);
        video.set_threading(codec::threading::Config::count(1));
        let mut flags = codec::Flags::empty();
        if global {
            flags |= codec::Flags::GLOBAL_HEADER;
        }
        if self.interlaced {
            flags |= codec::Flags::INTERLACED_DCT | codec::Flags::INTERLACED_ME;
        }
        let mut options = Dictionary::new();
        if self.encoder == "libx264" {
            options.set("crf", "6");
        } else if matches!(self.encoder, "mpeg4" | "mpeg2video") {
            flags |= codec::Flags::QSCALE;
            video.set_global_quality(2 * ffi::FF_QP2LAMBDA);
        }
        for (key, value) in self.options {
            options.set(key, value);
        }
        video.set_flags(flags);
        video.open_with(options).unwrap()
    }
}

/// An MP4 file of one track with another display matrix (the four numbers that turn and mirror).
pub fn turn(file: &[u8], matrix: [i32; 4]) -> Vec<u8> {
    let header = file.windows(4).position(|window| window == b"tkhd");
    // Behind the name of the box: version, times, number, duration, layer, volume.
    let start = header.unwrap() + 4 + 40;
    let mut turned = file.to_vec();
    for (value, offset) in matrix.into_iter().zip([0, 4, 12, 16]) {
        turned[start + offset..][..4].copy_from_slice(&value.to_be_bytes());
    }
    turned
}

pub fn whole(side: u32) -> Geometry {
    Geometry {
        resize: side,
        size: side,
    }
}

/// Opens the video and decodes these frames as squares of the side.
pub fn decode(path: &Path, wanted: &[usize], conversion: impl Into<Conversion>) -> Frames {
    Video::open(path, LIMIT)
        .unwrap()
        .frames(wanted, conversion)
        .unwrap()
}

/// The numbers that all frames of a video show, each decoded by itself, so that every one is sought.
pub fn one_by_one(path: &Path) -> Vec<usize> {
    let mut video = Video::open(path, LIMIT).unwrap();
    (0..video.timeline().len())
        .map(|frame| {
            let frames = video.frames(&[frame], whole(32)).unwrap();
            assert_eq!(
                (frames.missing, frames.damaged),
                (0, 0),
                "frame {frame} of {}",
                path.display()
            );
            number(&frames.pixels)
        })
        .collect()
}

/// The numbers that all frames show, decoded in one go.
pub fn at_once(path: &Path) -> Vec<usize> {
    let mut video = Video::open(path, LIMIT).unwrap();
    let wanted: Vec<usize> = (0..video.timeline().len()).collect();
    let geometry = whole(32);
    let frames = video.frames(&wanted, geometry).unwrap();
    let squares = frames.pixels.chunks(geometry.frame_bytes());
    squares.map(number).collect()
}
