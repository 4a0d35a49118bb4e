//! Videos with sound: at one second the picture turns white, and a tone begins. And when both do so in a file.

#![allow(dead_code)]

use std::path::Path;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::media::Type;
use ffmpeg_next::{ChannelLayout, Dictionary, Packet, Rational, ffi, format, frame};

/// Frames a second.
const RATE: i32 = 25;

/// The second at which the picture turns white and the tone begins.
const EVENT: f64 = 1.0;

/// How a file is made.
#[derive(Debug, Clone)]
pub struct Film {
    pub container: &'static str,
    /// FFmpeg's name of the encoder of the pictures; `libx264` reorders them.
    pub pictures: &'static str,
    /// FFmpeg's names of the encoders of the sound, one a stream.
    pub sounds: &'static [&'static str],
    /// Samples a second.
    pub rate: i32,
    pub frames: i64,
    /// Seconds of sound.
    pub seconds: f64,
    /// When the first picture is shown, in frames; the sound begins at 0.
    pub picture_start: i64,
    /// When the sound begins, in seconds.
    pub sound_start: f64,
}

impl Default for Film {
    fn default() -> Self {
        Self {
            container: "mp4",
            pictures: "mpeg4",
            sounds: &["aac"],
            rate: 48_000,
            frames: 75,
            seconds: 3.0,
            picture_start: 0,
            sound_start: 0.0,
        }
    }
}

impl Film {
    /// Whether the linked FFmpeg can make the file; says so on standard error if not.
    pub fn possible(&self) -> bool {
        let mut encoders = self.sounds.iter().chain([&self.pictures]);
        let missing = encoders.find(|name| encoder::find_by_name(name).is_none());
        if let Some(name) = missing {
            eprintln!("SKIPPED: this FFmpeg has no encoder {name}");
        }
        missing.is_none()
    }

    /// Makes the file.
    pub fn make(&self, path: &Path) {
        self.edit(path, |_, _| true);
    }

    /// The same, with each packet of sound (by its number) through `edit`, which says whether it is written.
    pub fn edit(&self, path: &Path, mut edit: impl FnMut(usize, &mut Packet) -> bool) {
        ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Fatal);
        let mut output = format::output_as(path, self.container).unwrap();
        // SAFETY: the context is open; FFmpeg calls some codecs in some containers experiments.
        unsafe { (*output.as_mut_ptr()).strict_std_compliance = ffi::FF_COMPLIANCE_EXPERIMENTAL };
        let flags = output.format().flags();
        let global = flags.contains(format::Flags::GLOBAL_HEADER);
        let mut all = Vec::new();
        {
            let mut encoder = self.picture_encoder(global);
            output
                .add_stream(encoder.codec())
                .unwrap()
                .set_parameters(&encoder);
            self.encode_pictures(&mut encoder, &mut all);
        }
        for (number, name) in self.sounds.iter().enumerate() {
            let mut encoder = self.sound_encoder(name, global);
            output
                .add_stream(encoder.codec())
                .unwrap()
                .set_parameters(&encoder);
            self.encode_sound(number + 1, &mut encoder, &mut all);
        }
        for (number, base) in self.time_bases().into_iter().enumerate() {
            output.stream_mut(number).unwrap().set_time_base(base);
        }
        output.write_header().unwrap();
        let seconds = |(packet, base): &(Packet, Rational)| {
            packet.dts().or(packet.pts()).unwrap() as f64 * f64::from(*base)
        };
        all.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        let mut number = 0;
        for (mut packet, base) in all {
            let to = output.stream(packet.stream()).unwrap().time_base();
            packet.rescale_ts(base, to);
            let written = packet.stream() == 0 || {
                number += 1;
                edit(number - 1, &mut packet)
            };
            if written {
                packet.write_interleaved(&mut output).unwrap();
            }
        }
        output.write_trailer().unwrap();
    }

    fn time_bases(&self) -> Vec<Rational> {
        let sounds = self.sounds.iter().map(|_| Rational(1, self.rate));
        std::iter::once(Rational(1, RATE)).chain(sounds).collect()
    }

    fn picture_encoder(&self, global: bool) -> encoder::video::Encoder {
        let coder = encoder::find_by_name(self.pictures).unwrap();
        let context = codec::context::Context::new_with_codec(coder);
        let mut video = context.encoder().video().unwrap();
        video.set_width(320);
        video.set_height(240);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(Rational(1, RATE));
        video.set_frame_rate(Some(Rational(RATE, 1)));
        video.set_gop(25);
        video.set_bit_rate(400_000);
        video.set_max_b_frames(if self.pictures == "libx264" { 2 } else { 0 });
        if global {
            video.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        video.open_with(Dictionary::new()).unwrap()
    }

    fn encode_pictures(
        &self,
        encoder: &mut encoder::video::Encoder,
        all: &mut Vec<(Packet, Rational)>,
    ) {
        let mut drain = |encoder: &mut encoder::video::Encoder| {
            let mut packet = Packet::empty();
            while encoder.receive_packet(&mut packet).is_ok() {
                packet.set_stream(0);
                packet.set_duration(1);
                all.push((
                    std::mem::replace(&mut packet, Packet::empty()),
                    Rational(1, RATE),
                ));
            }
        };
        for number in self.picture_start..self.picture_start + self.frames {
            let mut picture = frame::Video::new(Pixel::YUV420P, 320, 240);
            let white = number as f64 / f64::from(RATE) >= EVENT;
            picture.data_mut(0).fill(if white { 235 } else { 16 });
            (1..3).for_each(|plane| picture.data_mut(plane).fill(128));
            picture.set_pts(Some(number));
            encoder.send_frame(&picture).unwrap();
            drain(encoder);
        }
        encoder.send_eof().unwrap();
        drain(encoder);
    }

    fn sound_encoder(&self, name: &str, global: bool) -> encoder::audio::Encoder {
        let coder = encoder::find_by_name(name).unwrap();
        let context = codec::context::Context::new_with_codec(coder);
        let mut audio = context.encoder().audio().unwrap();
        audio.set_rate(self.rate);
        audio.set_channel_layout(ChannelLayout::MONO);
        let mut formats = coder.audio().unwrap().formats().unwrap();
        audio.set_format(formats.next().unwrap());
        audio.set_time_base(Rational(1, self.rate));
        audio.set_bit_rate(96_000);
        if global {
            audio.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        audio.compliance(codec::Compliance::Experimental);
        audio.open_with(Dictionary::new()).unwrap()
    }

    fn encode_sound(
        &self,
        stream: usize,
        encoder: &mut encoder::audio::Encoder,
        all: &mut Vec<(Packet, Rational)>,
    ) {
        let rate = f64::from(self.rate);
        let start = (self.sound_start * rate).round() as i64;
        let mut drain = |encoder: &mut encoder::audio::Encoder| {
            let mut packet = Packet::empty();
            while encoder.receive_packet(&mut packet).is_ok() {
                packet.set_stream(stream);
                let packet = std::mem::replace(&mut packet, Packet::empty());
                all.push((packet, Rational(1, self.rate)));
            }
        };
        let size = match encoder.frame_size() {
            0 => 1024,
            size => i64::from(size),
        };
        for number in 0..(self.seconds * rate) as i64 / size {
            let first = start + number * size;
            let mut piece = frame::Audio::new(encoder.format(), size as usize, ChannelLayout::MONO);
            piece.set_rate(self.rate as u32);
            piece.set_pts(Some(first));
            let value = |at: usize| {
                let second = (first + at as i64) as f64 / rate;
                // A tone of its own for each stream.
                let tone = 500.0 * stream as f64;
                let heard = (EVENT..EVENT + 0.5).contains(&second);
                f64::from(u8::from(heard)) * 0.8 * (std::f64::consts::TAU * tone * second).cos()
            };
            match encoder.format() {
                Sample::I16(_) => {
                    for (at, sample) in piece.plane_mut::<i16>(0).iter_mut().enumerate() {
                        *sample = (value(at) * 32767.0) as i16;
                    }
                }
                Sample::I32(_) => {
                    for (at, sample) in piece.plane_mut::<i32>(0).iter_mut().enumerate() {
                        *sample = (value(at) * 2_147_483_647.0) as i32;
                    }
                }
                Sample::F32(_) => {
                    for (at, sample) in piece.plane_mut::<f32>(0).iter_mut().enumerate() {
                        *sample = value(at) as f32;
                    }
                }
                other => panic!("no test needs {other:?}"),
            }
            encoder.send_frame(&piece).unwrap();
            drain(encoder);
        }
        encoder.send_eof().unwrap();
        drain(encoder);
    }
}

/// What is heard and seen in a file.
#[derive(Clone, Default)]
pub struct Heard {
    pub codec: String,
    pub packets: Vec<Vec<u8>>,
    /// Samples that come out of the decoder.
    pub samples: usize,
    /// When the tone begins, in seconds from the first picture.
    pub tone: f64,
    /// When the picture turns white, in seconds from the first picture.
    pub white: f64,
    /// When the last sample is over, in seconds from the first picture.
    pub end: f64,
    /// When the last picture begins.
    pub last_picture: f64,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            tone, white, end, ..
        } = self;
        write!(
            f,
            "{} packets of {}: tone {tone:.3}, white {white:.3}, end {end:.3}, last picture {:.3}",
            self.packets.len(),
            self.codec,
            self.last_picture
        )
    }
}

/// What is heard in a file; `None` where it has no sound. Of several streams the one that FFmpeg calls the best.
pub fn heard(path: &Path) -> Option<Heard> {
    let mut input = format::input(path).unwrap();
    let sound = input.streams().best(Type::Audio)?;
    let (number, base) = (sound.index(), f64::from(sound.time_base()));
    let context = codec::context::Context::from_parameters(sound.parameters()).unwrap();
    let mut decoder = context.decoder().audio().unwrap();
    decoder.set_packet_time_base(sound.time_base());
    let pictures = input.streams().best(Type::Video).unwrap();
    let (picture_number, picture_base) = (pictures.index(), f64::from(pictures.time_base()));
    let context = codec::context::Context::from_parameters(pictures.parameters()).unwrap();
    let mut viewer = context.decoder().video().unwrap();
    let mut heard = Heard {
        codec: sound.parameters().id().name().to_owned(),
        ..Heard::default()
    };
    let (mut tone, mut white, mut first) = (None, None, f64::INFINITY);
    let mut listen = |decoder: &mut codec::decoder::Audio, heard: &mut Heard| {
        let mut piece = frame::Audio::empty();
        while decoder.receive_frame(&mut piece).is_ok() {
            let rate = f64::from(piece.rate());
            let begins = piece.pts().unwrap_or(0) as f64 * base;
            heard.samples += piece.samples();
            heard.end = begins + piece.samples() as f64 / rate;
            let onset = loud(&piece);
            tone = tone.or(onset.map(|at| begins + at as f64 / rate));
        }
    };
    let mut watch = |viewer: &mut codec::decoder::Video, heard: &mut Heard| {
        let mut picture = frame::Video::empty();
        while viewer.receive_frame(&mut picture).is_ok() {
            let shown = picture.timestamp().unwrap_or(0) as f64 * picture_base;
            first = first.min(shown);
            heard.last_picture = heard.last_picture.max(shown);
            if picture.data(0)[5000] > 128 {
                white = white.or(Some(shown));
            }
        }
    };
    for (stream, packet) in input.packets() {
        if stream.index() == number {
            heard
                .packets
                .push(packet.data().unwrap_or_default().to_vec());
            let _ = decoder.send_packet(&packet);
            listen(&mut decoder, &mut heard);
        } else if stream.index() == picture_number {
            let _ = viewer.send_packet(&packet);
            watch(&mut viewer, &mut heard);
        }
    }
    decoder.send_eof().unwrap();
    listen(&mut decoder, &mut heard);
    viewer.send_eof().unwrap();
    watch(&mut viewer, &mut heard);
    heard.tone = tone.map_or(f64::NAN, |tone| tone - first);
    heard.white = white.map_or(f64::NAN, |white| white - first);
    heard.end -= first;
    heard.last_picture -= first;
    Some(heard)
}

/// The first loud sample of a piece.
fn loud(piece: &frame::Audio) -> Option<usize> {
    let channels = usize::from(piece.channels());
    let (packed, loud) = match piece.format() {
        Sample::I16(kind) => (
            kind,
            first(piece.plane::<i16>(0), |one| one.unsigned_abs() > 8000),
        ),
        Sample::I32(kind) => (
            kind,
            first(piece.plane::<i32>(0), |one| one.unsigned_abs() > 1 << 29),
        ),
        Sample::F32(kind) => (kind, first(piece.plane::<f32>(0), |one| one.abs() > 0.25)),
        other => panic!("no test needs {other:?}"),
    };
    let step = if packed == sample::Type::Packed {
        channels
    } else {
        1
    };
    loud.map(|at| at / step)
}

fn first<T: Copy>(samples: &[T], loud: impl Fn(T) -> bool) -> Option<usize> {
    samples.iter().position(|one| loud(*one))
}
