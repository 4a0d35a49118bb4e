//! What one file may take of the machine, and who counts it.
//!
//! A header of a few bytes may promise a picture of gigabytes, or an index of billions of frames. So three things
//! are limited: what FFmpeg allocates at once, all decoded pictures that are alive at a time, and what is kept of the
//! compressed file. Pictures are counted where the decoder asks for them (`get_buffer2`); decoders that
//! allocate by themselves (dav1d, libvpx) are held by the size of their pictures.

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ffmpeg_next::ffi;

use crate::VideoError;

/// Bytes that a decoder keeps for each pixel of the picture: eleven pictures of one and a half bytes a pixel, as a
/// decoder of AV1 or VP9 has them with its eight references.
const BYTES_PER_PIXEL: u64 = 16;

/// The least that FFmpeg may allocate at once, in bytes, whatever the limit of a file.
const LEAST_ALLOCATION: usize = 64 << 20;

/// FFmpeg's words for a picture of more pixels than `max_pixels`; its code (`EINVAL`) says nothing.
const TOO_LARGE: &str = "exceeds specified max pixel count";

/// What one file may take; what goes beyond is that file's problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For everything that is done with it.
    pub time: Duration,
    /// Bytes of memory, not counting the frames that were asked for.
    pub memory: u64,
}

impl From<Duration> for Limits {
    /// With 1 GiB.
    fn from(time: Duration) -> Self {
        Self {
            time,
            memory: 1 << 30,
        }
    }
}

/// The memory that the work on one file takes.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    taken: AtomicU64,
    /// What wanted more than there is.
    exceeded: OnceLock<&'static str>,
}

impl Budget {
    pub(crate) fn of(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limit: limits.memory,
            taken: AtomicU64::new(0),
            exceeded: OnceLock::new(),
        })
    }

    /// Bytes of the compressed file that may be kept, out of `wanted`.
    pub(crate) fn kept(&self, wanted: usize) -> usize {
        wanted.min(usize::try_from(self.limit / 4).unwrap_or(usize::MAX))
    }

    /// The largest picture that fits, in pixels.
    pub(crate) fn pixels(&self) -> i64 {
        // FFmpeg takes no more than an `int` as the value of the option.
        i64::from(i32::try_from(self.limit / BYTES_PER_PIXEL).unwrap_or(i32::MAX))
    }

    /// Takes so many bytes, if they are left.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes that something wanted more than there is.
    pub(crate) fn exceed(&self, what: &'static str) {
        let _ = self.exceeded.set(what);
    }

    /// # Errors
    /// Where something wanted more than there is.
    pub(crate) fn check(&self, path: &Path) -> Result<(), VideoError> {
        match self.exceeded.get() {
            Some(what) => Err(self.exceeded_by(path, *what)),
            None => Ok(()),
        }
    }

    /// The result, unless something wanted more memory than there is: a decoder goes on without the picture that it
    /// did not get, and for one of too many pixels there are only FFmpeg's words.
    pub(crate) fn judge<T>(
        &self,
        path: &Path,
        result: Result<T, VideoError>,
        said: &[String],
    ) -> Result<T, VideoError> {
        self.check(path)?;
        let too_large = |message: &String| message.contains(TOO_LARGE);
        if result.is_err() && said.iter().any(too_large) {
            return Err(self.exceeded_by(path, "its pictures"));
        }
        result
    }

    /// The error for a file that wants more than there is.
    pub(crate) fn exceeded_by(&self, path: &Path, what: impl Into<String>) -> VideoError {
        VideoError::MemoryLimit {
            path: path.to_owned(),
            what: what.into(),
            limit: self.limit,
            messages: Vec::new(),
        }
    }

    /// Keeps FFmpeg from allocating more than the limit at once. FFmpeg has one such limit for the whole process: of
    /// several files with different limits the last to be opened counts. So it is never so small that the others
    /// could not work.
    pub(crate) fn limit_allocations(&self) {
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let most = most.max(LEAST_ALLOCATION);
        // SAFETY: sets a number that FFmpeg reads atomically.
        unsafe { ffi::av_max_alloc(most) };
    }

    /// Counts the pictures of a decoder that is not open yet. The budget must live as long as the context, which
    /// points to it.
    pub(crate) fn count_pictures(self: &Arc<Self>, context: &mut ffi::AVCodecContext) {
        context.max_pixels = self.pixels();
        context.opaque = Arc::as_ptr(self).cast_mut().cast();
        context.get_buffer2 = Some(get_buffer);
    }
}

/// A picture's first buffer, and what it counts.
struct Counted {
    buffer: *mut ffi::AVBufferRef,
    bytes: u64,
    budget: Arc<Budget>,
}

/// Gets the buffers of a picture as FFmpeg does, if they are within the budget, and has their end told to it.
unsafe extern "C" fn get_buffer(
    context: *mut ffi::AVCodecContext,
    frame: *mut ffi::AVFrame,
    flags: c_int,
) -> c_int {
    // SAFETY: FFmpeg passes a valid context and frame; `opaque` points to a budget that is alive in an `Arc`
    // (`count_pictures`), of which this makes another handle. The default function fills `buf` with references that belong to the frame; the first is exchanged for
    // one that owns it. FFmpeg empties the frame of a failed call itself.
    unsafe {
        let code = ffi::avcodec_default_get_buffer2(context, frame, flags);
        if code < 0 {
            return code;
        }
        let budget: *const Budget = (*context).opaque.cast();
        Arc::increment_strong_count(budget);
        let budget = Arc::from_raw(budget);
        let bytes = (*frame)
            .buf
            .iter()
            .filter(|buffer| !buffer.is_null())
            .map(|buffer| (**buffer).size as u64)
            .sum();
        let first = (*frame).buf[0];
        if first.is_null() {
            return code;
        }
        if !budget.take(bytes) {
            budget.exceed("its pictures");
            return ffi::AVERROR(ffi::ENOMEM);
        }
        let counted = Box::into_raw(Box::new(Counted {
            buffer: first,
            bytes,
            budget,
        }));
        let outer = ffi::av_buffer_create(
            (*first).data,
            (*first).size,
            Some(release),
            counted.cast(),
            0,
        );
        if outer.is_null() {
            let Counted { bytes, budget, .. } = *Box::from_raw(counted);
            budget.give_back(bytes);
            return ffi::AVERROR(ffi::ENOMEM);
        }
        (*frame).buf[0] = outer;
        code
    }
}

/// The end of a picture.
unsafe extern "C" fn release(counted: *mut c_void, _data: *mut u8) {
    // SAFETY: made by `get_buffer`, and called once, when the last reference to the buffer goes.
    unsafe {
        let mut counted = Box::from_raw(counted.cast::<Counted>());
        ffi::av_buffer_unref(&raw mut counted.buffer);
        counted.budget.give_back(counted.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Answer, Decoder, Frame};
    use crate::demuxer::{Deadline, Demuxer};
    use crate::{Codec, VideoWriter};

    const PICTURE: u64 = 64 * 48 * 3 / 2;

    /// A decoder of a small video, and its budget.
    fn decoder(folder: &Path) -> (Demuxer, Decoder, Arc<Budget>) {
        let path = folder.join("video.avi");
        let mut writer = VideoWriter::create(&path, 64, 48, 25, Codec::Mpeg4).unwrap();
        (0..4u8).for_each(|level| writer.write(&[level; 64 * 48 * 3]).unwrap());
        writer.finish().unwrap();
        let limits = Limits {
            time: Duration::from_secs(20),
            memory: 1 << 20,
        };
        let budget = Budget::of(limits);
        let deadline = Deadline::after(limits.time);
        let demuxer = Demuxer::open(&path, deadline, Arc::clone(&budget)).unwrap();
        let decoder = Decoder::open(&demuxer).unwrap();
        (demuxer, decoder, budget)
    }

    fn taken(budget: &Budget) -> u64 {
        budget.taken.load(Ordering::Relaxed)
    }

    #[test]
    fn pictures_count_as_long_as_somebody_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let (mut demuxer, mut decoder, budget) = decoder(folder.path());
        let mut frame = Frame::empty();
        while let Some(packet) = demuxer.next_packet().unwrap() {
            decoder.send(&packet, true);
            if matches!(decoder.receive(&mut frame), Answer::Frame) {
                break;
            }
        }
        assert!(taken(&budget) >= PICTURE, "{}", taken(&budget));
        drop(decoder);
        assert!(
            (PICTURE..4 * PICTURE).contains(&taken(&budget)),
            "the frame is still there"
        );
        drop(frame);
        assert_eq!(taken(&budget), 0);
    }

    #[test]
    fn a_picture_that_does_not_fit_is_not_decoded_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let (mut demuxer, mut decoder, budget) = decoder(folder.path());
        assert!(budget.take((1 << 20) - PICTURE / 2));
        let mut frame = Frame::empty();
        while let Some(packet) = demuxer.next_packet().unwrap() {
            decoder.send(&packet, true);
            assert!(!matches!(decoder.receive(&mut frame), Answer::Frame));
        }
        let error = budget.check(demuxer.path()).unwrap_err();
        assert!(matches!(error, VideoError::MemoryLimit { .. }), "{error:?}");
        drop((frame, decoder));
        assert_eq!(taken(&budget), (1 << 20) - PICTURE / 2);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_a_refusal_takes_nothing() {
        let budget = Budget::of(Limits {
            time: Duration::ZERO,
            memory: 100,
        });
        assert!(budget.take(60) && budget.take(40));
        budget.give_back(60);
        assert!(budget.take(60));
        assert!(!budget.take(1) && !budget.take(u64::MAX));
        budget.give_back(100);
        assert!(budget.take(100));
        budget.check(Path::new("x.mp4")).unwrap();
        budget.exceed("its index");
        let error = budget.check(Path::new("x.mp4")).unwrap_err().to_string();
        assert!(
            error.contains("x.mp4") && error.contains("its index"),
            "{error}"
        );
    }
}
