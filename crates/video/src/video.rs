//! One video file: its times at once, its frames on demand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_next::ffi::{self, AVPixelFormat};
use serde::Serialize;

use crate::decoder::{Answer, Decoder, Frame};
use crate::demuxer::{Deadline, Demuxer};
use crate::index::Index;
use crate::library::text;
use crate::limits::Budget;
use crate::source::Source;
use crate::{Limits, Size, Timeline, VideoError, fault, log, tone};

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
    /// Whether the container or its first frames say that frames are two fields of two moments.
    pub interlaced: bool,
    /// `PQ` or `HLG` where the picture has a high dynamic range.
    pub high_dynamic_range: Option<&'static str>,
    /// Frames that the container promises; 0 where it says nothing.
    pub promised_frames: u64,
    /// FFmpeg's words where reading ended before the end of the file.
    pub breaks_off: Option<String>,
}

/// An open video.
pub struct Video {
    pub(crate) source: Source,
    pub(crate) index: Index,
    info: Info,
    /// What FFmpeg complained about when the file was opened.
    pub(crate) messages: Vec<String>,
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
    /// Frames that are interlaced and were deinterlaced.
    pub deinterlaced: usize,
    /// Time spent reading and decoding.
    pub decoding: Duration,
    /// Time spent deinterlacing, cropping, scaling, converting and turning.
    pub scaling: Duration,
    /// What FFmpeg complained about since the file was opened.
    pub messages: Vec<String>,
}

impl Video {
    /// Opens a file and reads the times of all its frames; nothing is decoded unless the file starts
    /// with frames that may not be decodable. The limits cover everything done with the video; a duration is
    /// a limit of time.
    ///
    /// # Errors
    /// Files that cannot be read, are no videos, have no frame or no decoder, or take too long.
    pub fn open(path: &Path, limits: impl Into<Limits>) -> Result<Self, VideoError> {
        Self::opened(path, limits.into(), |deadline, budget| {
            Demuxer::open(path, deadline, budget)
        })
    }

    /// Opens a folder of pictures, [`crate::pictures()`], as a video that shows `rate` of them a second.
    ///
    /// # Errors
    /// Folders whose pictures do not make a video; otherwise as [`open`](Self::open).
    pub fn open_pictures(
        folder: &Path,
        rate: f64,
        limits: impl Into<Limits>,
    ) -> Result<Self, VideoError> {
        Self::opened(folder, limits.into(), |deadline, budget| {
            Demuxer::open_pictures(folder, rate, deadline, budget)
        })
    }

    fn opened(
        path: &Path,
        limits: Limits,
        open: impl FnOnce(Deadline, Arc<Budget>) -> Result<Demuxer, VideoError>,
    ) -> Result<Self, VideoError> {
        fault::opened();
        let budget = Budget::of(limits);
        let (result, messages) =
            log::caught(|| Self::scan(open(Deadline::after(limits.time), Arc::clone(&budget))?));
        match budget.judge(path, result, &messages) {
            Ok(video) => Ok(Self { messages, ..video }),
            Err(error) => Err(error.with_messages(messages)),
        }
    }

    fn scan(demuxer: Demuxer) -> Result<Self, VideoError> {
        let mut decoder = Decoder::open(&demuxer)?;
        let (source, entries, breaks_off) = Source::scan(demuxer)?;
        let demuxer = &source.demuxer;
        let info = info(demuxer, breaks_off);
        // AVI has decode times only; where frames are reordered, presentation times made up from them
        // are one frame late.
        let trusted = info.container != "avi" || demuxer.parameters().video_delay == 0;
        let index = Index::new(
            entries,
            demuxer.time_base(),
            demuxer.nominal_rate(),
            trusted,
        );
        let mut video = Self {
            source,
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

    /// How large pictures are the right way up on a screen of square pixels; as many rows as are stored.
    pub fn size(&self) -> Size {
        let Info { width, height, .. } = self.info;
        let stored = Size {
            width: (f64::from(width) * self.info.pixel_aspect).round().max(1.0) as u32,
            height: height.max(1),
        };
        match self.source.demuxer.orientation().transpose {
            true => stored.transposed(),
            false => stored,
        }
    }

    /// When each frame is shown.
    pub fn timeline(&self) -> &Timeline {
        self.index.timeline()
    }

    /// The first frame that comes out when decoding begins at the start of the file.
    fn first_decodable(&mut self, decoder: &mut Decoder) -> Result<Option<usize>, VideoError> {
        let mut frame = Frame::empty();
        for packet in self.index.first()..=self.index.entries().len() {
            match self.source.packet(packet, self.index.entries())? {
                Some(compressed) => decoder.send(compressed, true),
                None => decoder.finish(),
            }
            if matches!(decoder.receive(&mut frame), Answer::Frame) {
                return Ok(self.index.slot(frame.pts(), 0));
            }
        }
        Ok(None)
    }

    pub(crate) fn undecodable(&self, reason: &str) -> VideoError {
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
        interlaced: demuxer.interlaced(),
        turned: demuxer.orientation() != crate::Orientation::default(),
        high_dynamic_range: tone::Transfer::from_number(transfer).map(tone::Transfer::name),
        promised_frames: demuxer.promised_frames(),
        breaks_off,
    }
}
