//! One video file: its times at once, its frames on demand.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::{self, AVPixelFormat};
use serde::Serialize;

use crate::decoder::{Answer, Decoder, Frame};
use crate::demuxer::{Deadline, Demuxer, Packet};
use crate::index::{Entry, Index};
use crate::library::text;
use crate::limits::Budget;
use crate::scaler::Scaler;
use crate::{Geometry, Limits, Timeline, VideoError, log, tone};

/// Compressed data of one video that is kept in memory, so that a short video is read once. Longer
/// ones are read again.
const KEPT_BYTES: usize = 64 << 20;

/// Bytes that a packet takes besides its data: FFmpeg's structures around it, and its place in the index.
const PACKET_BYTES: usize = 512;

/// Bytes that the index takes for a packet.
const ENTRY_BYTES: u64 = 128;

/// FFmpeg's words for a picture of more pixels than `max_pixels`; its code (`EINVAL`) says nothing.
const TOO_LARGE: &str = "exceeds specified max pixel count";

/// Packets at the end of a video without presentation times that may hold no frame of their own: packed
/// MPEG-4 streams end with such.
const EMPTY_TAIL: usize = 2;

/// What a video file is, as far as can be told without decoding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// FFmpeg's name of the container, as in `avi`.
    pub container: String,
    /// FFmpeg's name of the codec, as in `h264`.
    pub codec: String,
    /// As in `yuv420p10le`; empty where only a decoded frame would tell.
    pub pixel_format: String,
    /// Pixels from left to right as stored, before aspect ratio and orientation are applied.
    pub width: u32,
    /// Pixels from top to bottom as stored.
    pub height: u32,
    /// Width of a pixel by its height.
    pub pixel_aspect: f64,
    /// Whether the display matrix turns or mirrors the picture.
    pub turned: bool,
    /// `PQ` or `HLG` where the picture has a high dynamic range and is tone-mapped.
    pub high_dynamic_range: Option<&'static str>,
    /// Frames that the container promises; 0 where it says nothing.
    pub promised_frames: u64,
    /// FFmpeg's words where reading ended before the end of the file.
    pub breaks_off: Option<String>,
}

/// An open video.
pub struct Video {
    source: Source,
    entries: Vec<Entry>,
    index: Index,
    info: Info,
    messages: Vec<String>,
}

/// Decoded, scaled, turned and cropped frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Packed RGB: frames x size x size x 3, in the order in which they were asked for.
    pub pixels: Vec<u8>,
    /// Frames that did not decode, for which the one before (else the one after) stands in.
    pub missing: usize,
    /// Frames of which the decoder says that they are damaged.
    pub damaged: usize,
    /// Time spent reading and decoding.
    pub decoding: Duration,
    /// Time spent cropping, scaling, converting and turning.
    pub scaling: Duration,
    /// What FFmpeg complained about since the file was opened.
    pub messages: Vec<String>,
}

impl Video {
    /// Opens a file and reads the times of all its frames; nothing is decoded unless the file starts
    /// with frames that may not be decodable. `limits` cover everything done with the video.
    ///
    /// # Errors
    /// Files that cannot be read, are no videos, have no frame or no decoder, or take too long.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, VideoError> {
        Self::opened(limits, |deadline, budget| {
            Demuxer::open(path, deadline, budget)
        })
    }

    /// Opens a folder of pictures, [`crate::pictures()`], as a video that shows `rate` of them a second.
    ///
    /// # Errors
    /// Folders whose pictures do not make a video; otherwise as [`open`](Self::open).
    pub fn open_pictures(folder: &Path, rate: f64, limits: Limits) -> Result<Self, VideoError> {
        Self::opened(limits, |deadline, budget| {
            Demuxer::open_pictures(folder, rate, deadline, budget)
        })
    }

    fn opened(
        limits: Limits,
        open: impl FnOnce(Deadline, Arc<Budget>) -> Result<Demuxer, VideoError>,
    ) -> Result<Self, VideoError> {
        let (result, messages) = log::caught(|| {
            let budget = Budget::of(limits);
            let demuxer = open(Deadline::after(limits.time), Arc::clone(&budget))?;
            Self::scan(demuxer, &budget)
        });
        match result {
            Ok(video) => Ok(Self { messages, ..video }),
            Err(error) => Err(error.with_messages(messages)),
        }
    }

    fn scan(mut demuxer: Demuxer, budget: &Budget) -> Result<Self, VideoError> {
        let (path, deadline) = (demuxer.path().to_owned(), demuxer.deadline());
        let mut decoder = Decoder::open(&demuxer)?;
        let mut entries = Vec::new();
        let mut kept = Some(Vec::new());
        let mut bytes = 0;
        let breaks_off = loop {
            deadline.check(&path)?;
            let packet = match demuxer.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break None,
                Err(words) => break Some(words),
            };
            // AVI says with an empty packet that the last frame stays on.
            if packet.size() == 0 {
                continue;
            }
            entries.push(Entry {
                pts: packet.pts(),
                dts: packet.dts(),
                duration: packet.duration(),
                key: packet.key(),
                hidden: packet.hidden(),
            });
            if !budget.take(ENTRY_BYTES) {
                return Err(budget.exceeded_by(&path, "its index"));
            }
            bytes += packet.size() + PACKET_BYTES;
            if bytes > budget.kept(KEPT_BYTES) {
                kept = None;
            } else if let Some(kept) = &mut kept {
                kept.push(packet);
            }
        };
        deadline.check(&path)?;
        budget.check(&path)?;
        let info = info(&demuxer, breaks_off);
        // AVI has decode times only; where frames are reordered, presentation times made up from them
        // are one frame late.
        let trusted = info.container != "avi" || demuxer.parameters().video_delay == 0;
        let index = Index::new(
            &entries,
            demuxer.time_base(),
            demuxer.nominal_rate(),
            trusted,
        );
        let at = entries.len();
        let mut video = Self {
            source: Source {
                demuxer,
                kept,
                at,
                current: None,
            },
            entries,
            index,
            info,
            messages: Vec::new(),
        };
        if video.index.timeline().is_empty() {
            return Err(video.undecodable("it has no frames"));
        }
        if video.index.leading()
            && let Some(first) = video.first_decodable(&mut decoder)?
        {
            video.index.begin_at(first);
        }
        Ok(video)
    }

    /// What the file is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// When each frame is shown.
    pub fn timeline(&self) -> &Timeline {
        self.index.timeline()
    }

    /// Decodes frames by their numbers in the [`timeline`](Self::timeline), in any order and with
    /// repetitions.
    ///
    /// Frames in between are not decoded where no wanted frame refers to them: key frames are jumped
    /// to, and frames without dependants left out. If a wanted frame does not come out that way, everything
    /// is decoded.
    ///
    /// # Errors
    /// A video of which no frame decodes or whose pixel format cannot be converted; the time limit.
    ///
    /// # Panics
    /// If a number is not below the timeline's length.
    pub fn frames(&mut self, wanted: &[usize], geometry: Geometry) -> Result<Frames, VideoError> {
        let mut slots = wanted.to_vec();
        slots.sort_unstable();
        slots.dedup();
        let (result, messages) = log::caught(|| {
            if let Some(decoded) = self.decode(&slots, geometry, true)? {
                return Ok(decoded);
            }
            self.decode(&slots, geometry, false)?
                .ok_or_else(|| self.undecodable("not one frame of it can be decoded"))
        });
        let mut said = self.messages.clone();
        said.extend(messages);
        let result = self.within_memory(result, &said);
        let decoded = match result {
            Ok(decoded) => decoded,
            Err(error) => return Err(error.with_messages(said)),
        };
        let bytes = geometry.frame_bytes();
        let mut pixels = Vec::with_capacity(wanted.len() * bytes);
        for slot in wanted {
            let position = slots.partition_point(|one| one < slot);
            pixels.extend_from_slice(&decoded.pixels[position * bytes..][..bytes]);
        }
        Ok(Frames {
            pixels,
            messages: said,
            ..decoded
        })
    }

    /// Decodes `slots` (ascending, each once). `None` if one did not come out, and `quickly` is set or
    /// no other can stand in.
    fn decode(
        &mut self,
        slots: &[usize],
        geometry: Geometry,
        quickly: bool,
    ) -> Result<Option<Frames>, VideoError> {
        let began = Instant::now();
        let quickly = quickly && self.index.timed();
        let mut decoder = Decoder::open(&self.source.demuxer)?;
        let mut wanted = vec![!quickly; self.entries.len()];
        for slot in slots {
            wanted[self.index.packet(*slot)] = true;
        }
        let mut collector = Collector::new(self, slots, geometry, quickly)?;
        let mut packet = self.index.first();
        let mut number = 0;
        let mut frame = Frame::empty();
        'packets: while collector.next < slots.len() {
            self.source
                .demuxer
                .deadline()
                .check(self.source.demuxer.path())?;
            if quickly {
                let start = self.index.start(slots[collector.next], &self.entries);
                if start > packet {
                    decoder.flush();
                    packet = start;
                }
            }
            match self.source.packet(packet, &self.entries)? {
                Some(compressed) => decoder.send(compressed, wanted[packet]),
                None => decoder.finish(),
            }
            packet += 1;
            loop {
                match decoder.receive(&mut frame) {
                    Answer::Frame => {}
                    Answer::Hungry => break,
                    Answer::End if packet > self.entries.len() => break 'packets,
                    Answer::End => break,
                }
                if let Some(slot) = self.index.slot(frame.pts(), number) {
                    match collector.take(&mut frame, slot) {
                        Ok(true) => {}
                        Ok(false) => return Ok(None),
                        Err(reason) => return Err(self.undecodable(&reason)),
                    }
                }
                number += 1;
                if collector.next == slots.len() {
                    break;
                }
            }
        }
        Ok(collector.finish(began))
    }

    /// The first frame that comes out when decoding begins at the start of the file.
    fn first_decodable(&mut self, decoder: &mut Decoder) -> Result<Option<usize>, VideoError> {
        let mut frame = Frame::empty();
        for packet in self.index.first()..=self.entries.len() {
            self.source
                .demuxer
                .deadline()
                .check(self.source.demuxer.path())?;
            match self.source.packet(packet, &self.entries)? {
                Some(compressed) => decoder.send(compressed, true),
                None => decoder.finish(),
            }
            if matches!(decoder.receive(&mut frame), Answer::Frame) {
                return Ok(self.index.slot(frame.pts(), 0));
            }
        }
        Ok(None)
    }

    /// What a lack of memory has spoilt is no result, and no other error.
    fn within_memory<T>(
        &self,
        result: Result<T, VideoError>,
        said: &[String],
    ) -> Result<T, VideoError> {
        let (budget, path) = (self.source.demuxer.budget(), self.source.demuxer.path());
        budget.check(path)?;
        let too_large = |message: &String| message.contains(TOO_LARGE);
        if result.is_err() && said.iter().any(too_large) {
            return Err(budget.exceeded_by(path, "its pictures"));
        }
        result
    }

    fn undecodable(&self, reason: &str) -> VideoError {
        VideoError::Undecodable {
            path: self.source.demuxer.path().to_owned(),
            reason: reason.to_owned(),
            messages: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Video {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Video")
            .field("path", &self.source.demuxer.path())
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

fn info(demuxer: &Demuxer, breaks_off: Option<String>) -> Info {
    let parameters = demuxer.parameters();
    // SAFETY: the names are constants; the pixel format of a video stream is one of the enum's or -1,
    // which is AV_PIX_FMT_NONE; the transfer curve is read as the number behind the enum.
    let (codec, pixel_format, transfer) = unsafe {
        let format: AVPixelFormat = std::mem::transmute(parameters.format);
        (
            text(ffi::avcodec_get_name(parameters.codec_id)),
            text(ffi::av_get_pix_fmt_name(format)),
            (&raw const parameters.color_trc).cast::<u32>().read(),
        )
    };
    Info {
        container: demuxer.container(),
        codec,
        pixel_format,
        width: u32::try_from(parameters.width).unwrap_or(0),
        height: u32::try_from(parameters.height).unwrap_or(0),
        pixel_aspect: demuxer.pixel_aspect(),
        turned: demuxer.orientation() != crate::Orientation::default(),
        high_dynamic_range: tone::Transfer::from_number(transfer).map(tone::Transfer::name),
        promised_frames: demuxer.promised_frames(),
        breaks_off,
    }
}

/// The compressed packets of the video, from memory or from the file.
struct Source {
    demuxer: Demuxer,
    kept: Option<Vec<Packet>>,
    /// The packet that the demuxer reads next.
    at: usize,
    current: Option<Packet>,
}

impl Source {
    /// A packet by its number; `None` after the last. Reading them one after the other is cheap.
    fn packet(&mut self, index: usize, entries: &[Entry]) -> Result<Option<&Packet>, VideoError> {
        if self.kept.is_some() {
            return Ok(self.kept.as_ref().and_then(|kept| kept.get(index)));
        }
        let Some(entry) = entries.get(index) else {
            return Ok(None);
        };
        if index != self.at && !self.jump(index, entry)? {
            self.demuxer = self.demuxer.reopened()?;
            self.at = 0;
        }
        while self.at <= index {
            self.current = self.read()?;
            if self.current.is_none() {
                return Ok(None);
            }
            self.at += 1;
        }
        Ok(self.current.as_ref())
    }

    /// Goes to a key frame by seeking; says whether the demuxer now stands right before it.
    fn jump(&mut self, index: usize, entry: &Entry) -> Result<bool, VideoError> {
        let Some(time) = entry.dts.or(entry.pts) else {
            return Ok(false);
        };
        if index == 0 || !self.demuxer.seek(time) {
            return Ok(false);
        }
        while let Some(packet) = self.read()? {
            if packet.pts() == entry.pts && packet.dts() == entry.dts {
                self.current = Some(packet);
                self.at = index + 1;
                return Ok(true);
            }
            if packet.dts() > entry.dts {
                break;
            }
        }
        Ok(false)
    }

    /// The next packet that is not empty.
    fn read(&mut self) -> Result<Option<Packet>, VideoError> {
        loop {
            self.demuxer.deadline().check(self.demuxer.path())?;
            match self.demuxer.next_packet() {
                Ok(Some(packet)) if packet.size() == 0 => {}
                Ok(packet) => return Ok(packet),
                Err(_) => return Ok(None),
            }
        }
    }
}

/// Picks the wanted frames from what the decoder gives, and finds stand-ins.
struct Collector<'a> {
    slots: &'a [usize],
    /// Position in `slots` of the first that has not come out.
    next: usize,
    scaler: Scaler,
    bytes: usize,
    pixels: Vec<u8>,
    /// The frame before, for those that are missing.
    previous: Option<Frame>,
    last_slot: Option<usize>,
    complete: bool,
    /// The first frame at the end that need not be there.
    tail: usize,
    missing: usize,
    damaged: usize,
    scaling: Duration,
}

impl<'a> Collector<'a> {
    fn new(
        video: &Video,
        slots: &'a [usize],
        geometry: Geometry,
        complete: bool,
    ) -> Result<Self, VideoError> {
        let demuxer = &video.source.demuxer;
        let scaler = Scaler::new(geometry, demuxer.pixel_aspect(), demuxer.orientation())
            .map_err(|reason| video.undecodable(&reason))?;
        Ok(Self {
            slots,
            next: 0,
            scaler,
            bytes: geometry.frame_bytes(),
            pixels: vec![0; slots.len() * geometry.frame_bytes()],
            previous: None,
            last_slot: None,
            complete,
            tail: if video.index.timed() {
                usize::MAX
            } else {
                video.timeline().len().saturating_sub(EMPTY_TAIL)
            },
            missing: 0,
            damaged: 0,
            scaling: Duration::ZERO,
        })
    }

    /// Takes a decoded frame; false if a wanted frame did not come out before it, and none may stand in.
    fn take(&mut self, frame: &mut Frame, slot: usize) -> Result<bool, String> {
        if self.last_slot.is_some_and(|last| slot <= last) {
            return Ok(true);
        }
        self.last_slot = Some(slot);
        while self.next < self.slots.len() && self.slots[self.next] < slot {
            if self.complete {
                return Ok(false);
            }
            self.missing += 1;
            match self.previous.take() {
                Some(previous) => {
                    self.store(&previous)?;
                    self.previous = Some(previous);
                }
                None => self.store(frame)?,
            }
        }
        let wanted = self.slots.get(self.next) == Some(&slot);
        if wanted {
            self.damaged += usize::from(frame.damaged());
            self.store(frame)?;
        }
        if !self.complete {
            self.previous = Some(std::mem::replace(frame, Frame::empty()));
        }
        Ok(true)
    }

    fn store(&mut self, frame: &Frame) -> Result<(), String> {
        let began = Instant::now();
        let pixels = &mut self.pixels[self.next * self.bytes..][..self.bytes];
        self.scaler.scale(frame, pixels)?;
        self.scaling += began.elapsed();
        self.next += 1;
        Ok(())
    }

    /// What came out; `None` if something is missing for which nothing may stand in.
    fn finish(mut self, began: Instant) -> Option<Frames> {
        if self.next < self.slots.len() {
            let previous = self.previous.take()?;
            while self.next < self.slots.len() {
                self.missing += usize::from(self.slots[self.next] < self.tail);
                self.store(&previous).ok()?;
            }
        }
        Some(Frames {
            pixels: self.pixels,
            missing: self.missing,
            damaged: self.damaged,
            decoding: began.elapsed().saturating_sub(self.scaling),
            scaling: self.scaling,
            messages: Vec::new(),
        })
    }
}
