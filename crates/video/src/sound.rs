//! The sound of a video, copied as it is into a file of pictures that were made of that video.
//!
//! Packets are not decoded: they get other times, on the clock of the pictures, and are written between them. MP4 says of each
//! packet when it is played, and has an edit list for what is needed before the first picture. AVI only counts packets:
//! there the sound begins with a whole packet, at the time that the stream's header says, and may not pause.

mod error;
mod pieces;
mod start;

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use ffmpeg_next::ffi::{self, AVCodecID, AVRational};

use crate::demuxer::Demuxer;
use crate::encode::muxer::{Muxer, outcome};
use crate::library::text;
use crate::packet::Packet;
use crate::{Codec, EncodeError, Video, log};

pub use error::SoundError;

use pieces::{Piece, Pieces};

/// The pause that a container which counts packets may be spared by playing one again, in seconds.
const LONGEST_PAUSE: f64 = 0.5;

/// The sound of a video.
pub struct Sound {
    demuxer: Demuxer,
    /// When the first picture is shown, in seconds on the clock of the file.
    begins: f64,
    /// How long there are pictures, in seconds.
    duration: f64,
}

/// What has become of sound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Copied {
    /// Packets that were written.
    pub packets: usize,
    /// Packets that were damaged and left out.
    pub damaged: usize,
    /// FFmpeg's words where reading ended before the end of the file.
    pub breaks_off: Option<String>,
}

impl Video {
    /// The sound of the video, if there is any; of several streams the one that FFmpeg calls the best.
    ///
    /// # Errors
    /// Sound that nothing is known about.
    pub fn sound(&self) -> Result<Option<Sound>, SoundError> {
        let (opened, _) = log::caught(|| self.source.demuxer.sound());
        let damaged = |reason: String| SoundError::Damaged { reason };
        let Some(demuxer) = opened.map_err(|error| damaged(error.to_string()))? else {
            return Ok(None);
        };
        let parameters = demuxer.parameters();
        if parameters.sample_rate <= 0 || parameters.codec_id == AVCodecID::AV_CODEC_ID_NONE {
            return Err(damaged("nothing says how it is to be played".to_owned()));
        }
        Ok(Some(Sound {
            demuxer,
            begins: self.index.begins(),
            duration: self.timeline().duration(),
        }))
    }
}

impl std::fmt::Debug for Sound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sound")
            .field("path", &self.demuxer.path())
            .field("codec", &self.codec())
            .finish_non_exhaustive()
    }
}

impl Sound {
    /// FFmpeg's name of its codec, as in `aac`.
    pub fn codec(&self) -> String {
        // SAFETY: gives a constant for any number.
        text(unsafe { ffi::avcodec_get_name(self.demuxer.parameters().codec_id) })
    }

    /// Writes `pictures`, a file of a [`VideoWriter`](crate::VideoWriter) that shows this video's frames at their times, into
    /// `output` once more, with the sound between them. What is heard before the first picture or after the last is left out.
    /// `go_on` is asked before each packet.
    ///
    /// Memory does not grow with the sound: both files are read side by side.
    ///
    /// # Errors
    /// A container that cannot hold the sound, sound of which no packet is whole or heard with the pictures, a file that cannot be read or written, and
    /// whatever `go_on` says. Then `output` does not exist.
    pub fn join<E: From<SoundError>>(
        self,
        pictures: &Path,
        output: &Path,
        codec: Codec,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Copied, E> {
        log::caught(|| self.copied(pictures, output, codec, &mut go_on)).0
    }

    fn copied<E: From<SoundError>>(
        self,
        pictures: &Path,
        output: &Path,
        codec: Codec,
        go_on: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<Copied, E> {
        let unheld = self.unheld(codec);
        if !self.fits(codec) {
            return Err(unheld.into());
        }
        let (deadline, budget) = (self.demuxer.deadline(), Arc::clone(self.demuxer.budget()));
        let unreadable = |reason: String| SoundError::Pictures { reason };
        let mut shown = Demuxer::open(pictures, deadline, budget)
            .map_err(|error| unreadable(error.to_string()))?;
        let mut pieces = Pieces::new(self.demuxer, self.begins, self.duration, codec.timed());
        let first = pieces.next().ok_or_else(|| pieces.without_any())?;
        let begun = Joined::create(output, codec, (&shown, &pieces, first.samples))?;
        let Some(mut file) = begun else {
            return Err(unheld.into());
        };
        let mut piece = Some(first);
        let mut picture = shown.next_packet().map_err(unreadable)?;
        loop {
            go_on()?;
            let sound_first = match (&picture, &piece) {
                (None, None) => break,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some(picture), Some(piece)) => piece.before(picture, shown.stream().time_base),
            };
            if sound_first {
                if let Some(piece) = piece.take() {
                    file.play(piece)?;
                }
                piece = pieces.next();
            } else {
                if let Some(picture) = picture.take() {
                    file.show(picture, shown.stream().time_base)?;
                }
                picture = shown.next_packet().map_err(unreadable)?;
            }
        }
        let (packets, refused) = file.finish(output)?;
        if !audible(output, &shown) {
            // There is nobody to tell if it cannot go.
            let _ = std::fs::remove_file(output);
            return Err(unheld.into());
        }
        Ok(Copied {
            packets,
            damaged: pieces.damaged + refused,
            breaks_off: pieces.breaks_off,
        })
    }

    /// Whether FFmpeg can write the sound into the container of a codec.
    fn fits(&self, codec: Codec) -> bool {
        let parameters = self.demuxer.parameters();
        let id = parameters.codec_id;
        let Ok(name) = CString::new(codec.container()) else {
            return false;
        };
        // SAFETY: the name ends with a zero; muxers are constants; the parameters are valid and only read.
        unsafe {
            let format = ffi::av_guess_format(name.as_ptr(), std::ptr::null(), std::ptr::null());
            let strictness = ffi::FF_COMPLIANCE_EXPERIMENTAL;
            let held = !format.is_null() && ffi::avformat_query_codec(format, id, strictness) == 1;
            // Packets that are counted must be equally long, or as long as their bytes are many.
            held && (codec.timed()
                || ffi::av_get_bits_per_sample(id) > 0
                || frame_samples(parameters, 1) > 0)
        }
    }

    fn unheld(&self, codec: Codec) -> SoundError {
        let others = [Codec::H264, Codec::Mpeg4].into_iter();
        let other = others
            .filter(|other| *other != codec)
            .find(|other| self.fits(*other));
        SoundError::Container {
            codec: self.codec(),
            container: codec.extension(),
            other: other.map(Codec::extension),
        }
    }
}

/// Whether sound comes out of a file again: FFmpeg writes some codecs into an AVI that it then finds nothing of.
fn audible(path: &Path, like: &Demuxer) -> bool {
    let opened = Demuxer::open(path, like.deadline(), Arc::clone(like.budget()));
    let sound = opened.and_then(|file| file.sound()).ok().flatten();
    let first = sound.and_then(|mut sound| sound.next_packet().ok().flatten());
    first.is_some_and(|packet| packet.size() > 0)
}

/// Samples in a packet of so many bytes by the codec alone; 0 where it does not say.
fn frame_samples(parameters: &ffi::AVCodecParameters, bytes: i32) -> i64 {
    // SAFETY: the function only reads the parameters, in spite of its type.
    i64::from(unsafe {
        ffi::av_get_audio_frame_duration2((&raw const *parameters).cast_mut(), bytes).max(0)
    })
}

/// The file of pictures and sound that is being written.
struct Joined {
    muxer: Muxer,
    /// Of the sound: seconds of one sample.
    tick: AVRational,
    /// How the sound is laid out where packets are counted.
    counted: Option<Counted>,
    written: usize,
    refused: usize,
}

/// Sound in a container that counts packets.
struct Counted {
    /// Samples of one unit of its count.
    unit: i64,
    /// Where the first packet begins, in samples from the first picture.
    start: i64,
    /// Where the next packet begins.
    next: i64,
    /// The last packet, which fills a short pause.
    last: Option<Piece>,
}

/// Numbers of the streams.
const PICTURES: i32 = 0;
const SOUND: i32 = 1;

impl Joined {
    /// Begins with the header; `samples` are those of a packet of sound. `None` where FFmpeg does not take the sound.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn create(
        path: &Path,
        codec: Codec,
        (pictures, pieces, samples): (&Demuxer, &Pieces, i64),
    ) -> Result<Option<Self>, SoundError> {
        let mut muxer = Muxer::create(path, codec)?;
        let tick = pieces.tick();
        // SAFETY: the context is open and has no header yet; new streams are checked for null, and have parameters to copy into.
        // A tag of another container would be refused.
        unsafe {
            let context = muxer.output().as_mut_ptr();
            (*context).strict_std_compliance = ffi::FF_COMPLIANCE_EXPERIMENTAL;
            let streams = [
                (pictures.stream(), pictures.stream().time_base),
                (pieces.stream(), tick),
            ];
            for (from, time_base) in streams {
                let stream = ffi::avformat_new_stream(context, std::ptr::null());
                let code = match stream.is_null() {
                    true => ffi::AVERROR(ffi::ENOMEM),
                    false => ffi::avcodec_parameters_copy((*stream).codecpar, from.codecpar),
                };
                muxer.checked("adding a stream", outcome(code))?;
                (*(*stream).codecpar).codec_tag = 0;
                (*stream).time_base = time_base;
                (*stream).avg_frame_rate = from.avg_frame_rate;
                (*stream).sample_aspect_ratio = from.sample_aspect_ratio;
                if !codec.timed() && !pieces.by_bytes() && std::ptr::eq(from, pieces.stream()) {
                    // What a packet counts for. Demuxers do not always say it.
                    (*(*stream).codecpar).frame_size = i32::try_from(samples).unwrap_or(0);
                }
            }
        }
        match muxer.write_header() {
            Err(EncodeError::Ffmpeg { .. }) => return Ok(None),
            header => header?,
        }
        let mut file = Self {
            muxer,
            tick,
            counted: None,
            written: 0,
            refused: 0,
        };
        if !codec.timed() {
            let unit = rescaled(1, file.time_base(SOUND), tick).max(1);
            if !pieces.by_bytes() && (samples - unit).abs() > unit / 4 {
                return Ok(None);
            }
            file.counted = Some(Counted {
                unit,
                start: 0,
                next: 0,
                last: None,
            });
        }
        Ok(Some(file))
    }

    fn time_base(&mut self, stream: i32) -> AVRational {
        // SAFETY: the context has both streams, from `create` on.
        unsafe {
            (**(*self.muxer.output().as_mut_ptr())
                .streams
                .add(stream as usize))
            .time_base
        }
    }

    /// Writes a packet whose times are in units of `time_base`.
    fn write(
        &mut self,
        packet: &mut Packet,
        stream: i32,
        time_base: AVRational,
    ) -> Result<(), EncodeError> {
        let to = self.time_base(stream);
        // SAFETY: context and packet are valid. Packets come in order, so that none need wait in the muxer.
        let code = unsafe {
            let raw = packet.as_mut_ptr();
            (*raw).stream_index = stream;
            (*raw).pos = -1;
            ffi::av_packet_rescale_ts(raw, time_base, to);
            ffi::av_write_frame(self.muxer.output().as_mut_ptr(), raw)
        };
        self.muxer.checked("writing a packet", outcome(code))
    }

    fn show(&mut self, mut picture: Packet, time_base: AVRational) -> Result<(), SoundError> {
        // SAFETY: the packet is valid. AVI has no times of presentation, and what was written there needs none.
        unsafe {
            let raw = picture.as_mut_ptr();
            if (*raw).pts == ffi::AV_NOPTS_VALUE {
                (*raw).pts = (*raw).dts;
            }
        }
        Ok(self.write(&mut picture, PICTURES, time_base)?)
    }

    /// Writes a piece of sound at its time.
    fn play(&mut self, piece: Piece) -> Result<(), SoundError> {
        let Some(mut counted) = self.counted.take() else {
            let mut piece = piece;
            return self.put(&mut piece, None);
        };
        let played = self.count(&mut counted, piece);
        self.counted = Some(counted);
        played
    }

    /// Writes a piece behind the others, where that is its time.
    fn count(&mut self, counted: &mut Counted, mut piece: Piece) -> Result<(), SoundError> {
        let half = piece.samples / 2;
        match &mut counted.last {
            None => {
                counted.start = piece.time;
                counted.next = piece.time;
            }
            Some(last) => {
                let rate = f64::from(self.tick.den);
                if (piece.time - counted.next) as f64 > LONGEST_PAUSE * rate {
                    return Err(SoundError::Pause {
                        seconds: counted.next as f64 / rate,
                    });
                }
                while counted.next + half < piece.time {
                    self.put(last, Some(counted.next - counted.start))?;
                    counted.next += in_units(last.samples, counted.unit);
                }
                if piece.time + half < counted.next {
                    self.refused += 1;
                    return Ok(());
                }
            }
        }
        self.put(&mut piece, Some(counted.next - counted.start))?;
        counted.next += in_units(piece.samples, counted.unit);
        counted.last = Some(piece);
        Ok(())
    }

    /// Writes a piece of sound at its own time or at another, in samples. One that the muxer cannot make anything of is left out.
    fn put(&mut self, piece: &mut Piece, time: Option<i64>) -> Result<(), SoundError> {
        let tick = self.tick;
        piece.set_time(time.unwrap_or(piece.time));
        match self.write(&mut piece.packet, SOUND, tick) {
            Ok(()) => self.written += 1,
            Err(EncodeError::Ffmpeg { .. }) => self.refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Closes the file; gives how many packets of sound were written, and how many refused.
    fn finish(self, path: &Path) -> Result<(usize, usize), SoundError> {
        if self.written == 0 {
            return Err(SoundError::Damaged {
                reason: "no packet of it can be written".to_owned(),
            });
        }
        self.muxer.finish()?;
        if let Some(Counted { start, unit, .. }) = self.counted {
            let units = (start + unit / 2).div_euclid(unit);
            start::set(path, u32::try_from(units).unwrap_or(0)).map_err(|source| {
                // Sound out of step is worse than none.
                let _ = std::fs::remove_file(path);
                EncodeError::Write {
                    path: path.to_owned(),
                    source,
                }
            })?;
        }
        Ok((self.written, self.refused))
    }
}

/// Samples that a container which counts in units gives to a packet of so many.
fn in_units(samples: i64, unit: i64) -> i64 {
    ((samples + unit / 2) / unit).max(1) * unit
}

/// A time in other units, rounded to the next one.
fn rescaled(time: i64, from: AVRational, to: AVRational) -> i64 {
    // SAFETY: computes with numbers alone.
    unsafe { ffi::av_rescale_q(time, from, to) }
}
