//! A decoder of one video stream, in one thread.

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

use ffmpeg_next::ffi::{self, AVCodecID, AVDiscard};

use crate::VideoError;
use crate::demuxer::Demuxer;
use crate::error::words;
use crate::library::text;
use crate::limits::Budget;
use crate::packet::{Packet, known};

/// A decoded picture.
pub(crate) struct Frame(*mut ffi::AVFrame);

// SAFETY: a frame owns its data (reference-counted atomically) and is used by one thread at a time.
unsafe impl Send for Frame {}

impl Frame {
    pub(crate) fn empty() -> Self {
        // SAFETY: gives null only when memory is exhausted, which the assertion turns into a panic.
        let frame = unsafe { ffi::av_frame_alloc() };
        assert!(!frame.is_null(), "out of memory");
        Self(frame)
    }

    pub(crate) fn as_ptr(&self) -> *const ffi::AVFrame {
        self.0
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.0
    }

    pub(crate) fn raw(&self) -> &ffi::AVFrame {
        // SAFETY: the pointer is valid from `empty` to `drop`.
        unsafe { &*self.0 }
    }

    /// Presentation time in units of the stream's time base.
    pub(crate) fn pts(&self) -> Option<i64> {
        known(self.raw().pts).or_else(|| known(self.raw().best_effort_timestamp))
    }

    /// Shows the same picture as `other`, without copying it.
    pub(crate) fn refer_to(&mut self, other: &Self) -> Result<(), String> {
        // SAFETY: both frames are valid; this one is emptied before it takes the reference.
        let code = unsafe {
            ffi::av_frame_unref(self.0);
            ffi::av_frame_ref(self.0, other.0)
        };
        if code < 0 { Err(words(code)) } else { Ok(()) }
    }

    /// Whether the decoder knows that the picture is not what was encoded.
    pub(crate) fn damaged(&self) -> bool {
        self.raw().flags & ffi::AV_FRAME_FLAG_CORRUPT != 0 || self.raw().decode_error_flags != 0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: made by av_frame_alloc, freed once.
        unsafe { ffi::av_frame_free(&raw mut self.0) };
    }
}

/// What a decoder answers when asked for a frame.
pub(crate) enum Answer {
    Frame,
    /// It wants another packet.
    Hungry,
    /// The stream has ended, or cannot be decoded on.
    End,
}

/// A decoder of one video stream, in one thread.
pub(crate) struct Decoder {
    context: *mut ffi::AVCodecContext,
    skips: bool,
    /// The context points to it, and is freed first.
    budget: Arc<Budget>,
}

// SAFETY: an AVCodecContext may be used from any thread, by one at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    pub(crate) fn open(demuxer: &Demuxer) -> Result<Self, VideoError> {
        let undecodable = |reason: String| VideoError::Undecodable {
            path: demuxer.path().to_owned(),
            reason,
            messages: Vec::new(),
        };
        let parameters = demuxer.parameters();
        let id = parameters.codec_id;
        // SAFETY: FFmpeg's documented order: find, allocate, copy parameters, set options, open; the
        // context is owned by `decoder` from its allocation on.
        unsafe {
            let codec = ffi::avcodec_find_decoder(id);
            if codec.is_null() {
                let name = match id {
                    AVCodecID::AV_CODEC_ID_NONE => four_letters(parameters.codec_tag),
                    id => text(ffi::avcodec_get_name(id)),
                };
                return Err(undecodable(format!(
                    "this FFmpeg has no decoder for {name}"
                )));
            }
            let decoder = Self {
                context: ffi::avcodec_alloc_context3(codec),
                skips: matches!(
                    id,
                    AVCodecID::AV_CODEC_ID_H264
                        | AVCodecID::AV_CODEC_ID_HEVC
                        | AVCodecID::AV_CODEC_ID_MPEG4
                        | AVCodecID::AV_CODEC_ID_MPEG2VIDEO
                ),
                budget: Arc::clone(demuxer.budget()),
            };
            assert!(!decoder.context.is_null(), "out of memory");
            let code = ffi::avcodec_parameters_to_context(decoder.context, parameters);
            if code < 0 {
                return Err(undecodable(words(code)));
            }
            let context = &mut *decoder.context;
            context.thread_count = 1;
            context.pkt_timebase = demuxer.stream().time_base;
            decoder.budget.count_pictures(context);
            // Crops by the stream's own rectangle to the pixel, where FFmpeg would round for alignment.
            context.flags |= ffi::AV_CODEC_FLAG_UNALIGNED as c_int;
            let code = ffi::avcodec_open2(decoder.context, codec, ptr::null_mut());
            if code < 0 {
                return Err(undecodable(words(code)));
            }
            Ok(decoder)
        }
    }

    /// Hands in a packet; with `wanted` false, its picture need not come out if no other refers to it.
    /// A packet that the decoder refuses is its loss alone: the frames that are missing are noticed
    /// when they do not come out.
    pub(crate) fn send(&mut self, packet: &Packet, wanted: bool) {
        // SAFETY: context and packet are valid; `skip_frame` may be set before each packet.
        unsafe {
            (*self.context).skip_frame = if wanted || !self.skips {
                AVDiscard::AVDISCARD_DEFAULT
            } else {
                AVDiscard::AVDISCARD_NONREF
            };
            ffi::avcodec_send_packet(self.context, packet.as_ptr());
        }
    }

    /// Says that no packet follows.
    pub(crate) fn finish(&mut self) {
        // SAFETY: null is the documented end of the stream.
        unsafe { ffi::avcodec_send_packet(self.context, ptr::null()) };
    }

    /// Forgets everything, for a key frame somewhere else in the stream.
    pub(crate) fn flush(&mut self) {
        // SAFETY: the context is open.
        unsafe { ffi::avcodec_flush_buffers(self.context) };
    }

    /// Takes the next frame in order of presentation.
    pub(crate) fn receive(&mut self, frame: &mut Frame) -> Answer {
        // SAFETY: context and frame are valid; the frame is emptied by the call.
        match unsafe { ffi::avcodec_receive_frame(self.context, frame.as_mut_ptr()) } {
            0 => Answer::Frame,
            code if code == ffi::AVERROR(ffi::EAGAIN) => Answer::Hungry,
            _ => Answer::End,
        }
    }
}

/// The container's name of a codec that FFmpeg does not know, as in `vvc1`.
fn four_letters(tag: u32) -> String {
    let letters = tag.to_le_bytes().map(char::from);
    if letters.iter().all(char::is_ascii_graphic) {
        letters.iter().collect()
    } else {
        "its unnamed codec".to_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by avcodec_alloc_context3, freed once.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) };
    }
}
