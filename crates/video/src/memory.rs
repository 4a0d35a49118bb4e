//! What the pictures of one video may take: every picture that a decoder asks for is counted until nobody refers to
//! it any more.
//!
//! FFmpeg lets a program provide the memory of pictures (`get_buffer2`). Here FFmpeg's own way does so, and an empty
//! buffer goes with the picture, whose release is told to the count.

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ffmpeg_next::ffi::{self, AVPixelFormat};

/// The count of one decoder, shared with its pictures, which may outlive it.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    exceeded: AtomicBool,
}

/// What goes with a picture.
struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
        })
    }

    /// Whether a picture was refused.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Makes a decoder count.
    ///
    /// # Safety
    /// The context is valid and not open yet, and the budget outlives it.
    pub(crate) unsafe fn watch(self: &Arc<Self>, context: *mut ffi::AVCodecContext) {
        // SAFETY: by this function's contract; `opaque` is the program's own.
        unsafe {
            (*context).opaque = Arc::as_ptr(self).cast_mut().cast();
            (*context).get_buffer2 = Some(allocate);
        }
    }
}

/// FFmpeg's request for the memory of a picture.
unsafe extern "C" fn allocate(
    context: *mut ffi::AVCodecContext,
    frame: *mut ffi::AVFrame,
    flags: c_int,
) -> c_int {
    // SAFETY: `opaque` is the budget that outlives the context; the frame has the size and one of FFmpeg's
    // formats when its memory is asked for.
    unsafe {
        let budget: *const Budget = (*context).opaque.cast();
        Arc::increment_strong_count(budget);
        let budget = Arc::from_raw(budget);
        let format: AVPixelFormat = std::mem::transmute((*frame).format);
        let bytes = ffi::av_image_get_buffer_size(format, (*frame).width, (*frame).height, 32);
        let bytes = u64::try_from(bytes).unwrap_or(0);
        if budget.used.load(Ordering::Relaxed) + bytes > budget.limit {
            budget.exceeded.store(true, Ordering::Relaxed);
            return ffi::AVERROR(ffi::ENOMEM);
        }
        let code = ffi::avcodec_default_get_buffer2(context, frame, flags);
        if code < 0 {
            return code;
        }
        if let Some(place) = (*frame).buf.iter_mut().find(|buffer| buffer.is_null()) {
            let share = Box::into_raw(Box::new(Share {
                budget: Arc::clone(&budget),
                bytes,
            }));
            *place = ffi::av_buffer_create(
                share.cast(),
                size_of::<Share>(),
                Some(release),
                share.cast(),
                0,
            );
            if place.is_null() {
                drop(Box::from_raw(share));
                return ffi::AVERROR(ffi::ENOMEM);
            }
            budget.used.fetch_add(bytes, Ordering::Relaxed);
        }
        code
    }
}

/// Nobody refers to a picture any more.
unsafe extern "C" fn release(share: *mut c_void, _: *mut u8) {
    // SAFETY: made by `allocate`, and released once.
    let share = unsafe { Box::from_raw(share.cast::<Share>()) };
    share.budget.used.fetch_sub(share.bytes, Ordering::Relaxed);
}
