//! Packets of sound on the clock of the pictures.

use ffmpeg_next::ffi::{self, AVRational};

use super::{SoundError, frame_samples, rescaled};
use crate::demuxer::Demuxer;
use crate::packet::Packet;

/// Sound before the first picture that is copied where an edit list can hide it, in seconds: decoders need some packets
/// before the first that is heard (Opus 0.08 s, MP3 two packets).
const LEAD: f64 = 0.1;

/// Seconds between sound and the first picture that no file means.
const ABSURD: f64 = 1e6;

/// A packet of sound.
pub(super) struct Piece {
    pub(super) packet: Packet,
    /// When it is heard, in samples from the first picture.
    pub(super) time: i64,
    /// How long it is heard, in samples; above 0.
    pub(super) samples: i64,
    /// How long it is heard until the pictures end.
    kept: i64,
    tick: AVRational,
}

impl Piece {
    /// Whether it belongs before a packet of pictures.
    pub(super) fn before(&self, picture: &Packet, time_base: AVRational) -> bool {
        let dts = picture.dts().unwrap_or(i64::MIN);
        // SAFETY: computes with numbers alone.
        unsafe { ffi::av_compare_ts(self.time, self.tick, dts, time_base) < 0 }
    }

    /// Has it written at another time, in samples.
    pub(super) fn set_time(&mut self, time: i64) {
        // SAFETY: the packet is valid.
        unsafe {
            let raw = self.packet.as_mut_ptr();
            (*raw).pts = time;
            (*raw).dts = time;
            (*raw).duration = self.kept;
            // What an edit list has hidden lies before the first picture, and another one hides it there.
            (*raw).flags &= !ffi::AV_PKT_FLAG_DISCARD;
        }
    }
}

/// Reads those packets of sound, in order, that are heard while there are pictures.
pub(super) struct Pieces {
    demuxer: Demuxer,
    rate: i32,
    /// When the first picture is shown, in seconds on the file's clock.
    begins: f64,
    /// Samples from the first picture to the end of the last.
    end: i64,
    timed: bool,
    /// FFmpeg's memory of the sample at which the last packet ended.
    memory: i64,
    /// Where the next packet is expected.
    next: i64,
    /// The time of the last.
    last: i64,
    pub(super) damaged: usize,
    pub(super) breaks_off: Option<String>,
}

impl Pieces {
    /// Of pictures that begin at `begins` on the file's clock, and last `duration`, in seconds; `timed` says whether there will
    /// be an edit list, which can hide sound.
    pub(super) fn new(demuxer: Demuxer, begins: f64, duration: f64, timed: bool) -> Self {
        let rate = demuxer.parameters().sample_rate;
        Self {
            rate,
            begins,
            end: (duration * f64::from(rate)).round() as i64,
            timed,
            memory: ffi::AV_NOPTS_VALUE,
            next: 0,
            last: i64::MIN,
            damaged: 0,
            breaks_off: None,
            demuxer,
        }
    }

    /// Why there was not one piece.
    pub(super) fn without_any(&self) -> SoundError {
        match (&self.breaks_off, self.damaged) {
            (None, 0) => SoundError::Apart,
            (Some(words), _) => SoundError::Damaged {
                reason: words.clone(),
            },
            (None, _) => SoundError::Damaged {
                reason: "no packet of it is whole".to_owned(),
            },
        }
    }

    pub(super) fn stream(&self) -> &ffi::AVStream {
        self.demuxer.stream()
    }

    /// Seconds of a sample.
    pub(super) fn tick(&self) -> AVRational {
        AVRational {
            num: 1,
            den: self.rate,
        }
    }

    /// Whether a packet lasts as long as its bytes are many, to the sample.
    pub(super) fn by_bytes(&self) -> bool {
        let parameters = self.demuxer.parameters();
        // SAFETY: knows every number.
        unsafe { ffi::av_get_exact_bits_per_sample(parameters.codec_id) > 0 }
    }

    /// The next piece; `None` at the end of the file, or where it breaks off.
    pub(super) fn next(&mut self) -> Option<Piece> {
        loop {
            let packet = match self.demuxer.next_packet() {
                Ok(packet) => packet?,
                Err(words) => {
                    self.breaks_off = Some(words);
                    return None;
                }
            };
            if packet.size() == 0 || packet.damaged() {
                self.damaged += 1;
                continue;
            }
            let samples = self.samples(&packet);
            let Some(time) = self.time(&packet, samples) else {
                self.damaged += 1;
                continue;
            };
            self.next = time + samples;
            let before = match self.timed {
                true => time + samples <= -((LEAD * f64::from(self.rate)) as i64),
                false => time + samples / 2 < 0,
            };
            if before || time >= self.end || packet.hidden() && time + samples > 0 {
                continue;
            }
            if time <= self.last {
                self.damaged += 1;
                continue;
            }
            self.last = time;
            return Some(Piece {
                packet,
                time,
                samples,
                kept: samples.min(self.end - time),
                tick: self.tick(),
            });
        }
    }

    /// How long a packet is heard: as long as its codec says, unless the container says something quite different.
    fn samples(&self, packet: &Packet) -> i64 {
        let stream = self.demuxer.stream();
        let bytes = i32::try_from(packet.size()).unwrap_or(i32::MAX);
        let coded = frame_samples(self.demuxer.parameters(), bytes);
        let told = rescaled(packet.duration(), stream.time_base, self.tick());
        match (coded, told) {
            (coded, 1..) if (coded - told).abs() > coded / 4 => told,
            (coded, _) => coded.max(1),
        }
    }

    /// When a packet is heard. Containers whose units are coarser than samples round; FFmpeg undoes that, so that packets
    /// follow each other without gaps.
    fn time(&mut self, packet: &Packet, samples: i64) -> Option<i64> {
        let time_base = self.demuxer.stream().time_base;
        let Some(stamp) = packet.pts().or(packet.dts()) else {
            return Some(self.next);
        };
        let seconds = stamp as f64 * self.demuxer.time_base() - self.begins;
        if seconds.abs() > ABSURD {
            return None;
        }
        // SAFETY: the time is known and the duration is not negative, as FFmpeg demands; the memory is ours.
        let time = unsafe {
            ffi::av_rescale_delta(
                time_base,
                stamp,
                self.tick(),
                i32::try_from(samples).ok()?,
                &raw mut self.memory,
                self.tick(),
            )
        };
        Some(time - (self.begins * f64::from(self.rate)).round() as i64)
    }
}
