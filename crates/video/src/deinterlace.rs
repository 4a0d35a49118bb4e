//! From two fields that were taken at two moments to one picture of the first.
//!
//! FFmpeg's `bwdif` (Bob Weaver: BBC R&D's w3fdif with yadif's checks) keeps the lines of the first field and
//! estimates those between them from the frames before and after.

use std::ffi::{CStr, CString, c_int};
use std::mem::ManuallyDrop;
use std::ptr;

use ffmpeg_next::ffi;

use crate::decoder::Frame;
use crate::error::words;

/// Pictures with fewer rows or columns have no lines to estimate from, and stay as they are.
const LEAST_SIDE: c_int = 4;

/// Size and pixel format.
type Shape = (c_int, c_int, c_int);

/// Makes pictures of interlaced frames. Frames may change their size and format on the way.
pub(crate) struct Deinterlacer {
    graph: *mut ffi::AVFilterGraph,
    entry: *mut ffi::AVFilterContext,
    exit: *mut ffi::AVFilterContext,
    made_for: Option<Shape>,
    /// Frames handed to the filter, each of which has its number as time.
    sent: i64,
}

// SAFETY: a filter graph may be used from any thread, by one at a time.
unsafe impl Send for Deinterlacer {}

impl Deinterlacer {
    pub(crate) fn new() -> Self {
        Self {
            graph: ptr::null_mut(),
            entry: ptr::null_mut(),
            exit: ptr::null_mut(),
            made_for: None,
            sent: 0,
        }
    }

    /// The picture of `frame`'s first field. Where there is no frame before or after, or one of another
    /// shape, the frame itself takes its place.
    ///
    /// # Errors
    /// FFmpeg's words, where it has no such filter or cannot filter this pixel format.
    pub(crate) fn apply(
        &mut self,
        before: Option<&Frame>,
        frame: &Frame,
        after: Option<&Frame>,
    ) -> Result<Frame, String> {
        let mut picture = Frame::empty();
        let shape = shape(frame);
        if shape.0 < LEAST_SIDE || shape.1 < LEAST_SIDE {
            picture.refer_to(frame)?;
            return Ok(picture);
        }
        self.prepare(shape)?;
        let alike =
            |other: Option<&'_ Frame>| other.filter(|other| self::shape(other) == shape).is_some();
        let (has_before, has_after) = (alike(before), alike(after));
        self.send(before.filter(|_| has_before).unwrap_or(frame))?;
        self.send(frame)?;
        let wanted = self.sent;
        self.send(after.filter(|_| has_after).unwrap_or(frame))?;
        // The filter gives each frame when it has seen the next, so the wanted one comes last.
        while self.receive(&mut picture)? {
            if self.number(&picture) != wanted {
                continue;
            }
            // SAFETY: both frames are valid; properties are copied, the picture stays.
            let code = unsafe { ffi::av_frame_copy_props(picture.as_mut_ptr(), frame.as_ptr()) };
            return if code < 0 {
                Err(words(code))
            } else {
                Ok(picture)
            };
        }
        Err("the deinterlacer gave nothing".to_owned())
    }

    /// Makes a graph unless the last one fits.
    fn prepare(&mut self, shape: Shape) -> Result<(), String> {
        if self.made_for == Some(shape) {
            return Ok(());
        }
        self.made_for = None;
        self.sent = 0;
        let (width, height, format) = shape;
        let arguments = CString::new(format!(
            "video_size={width}x{height}:pix_fmt={format}:time_base=1/1:pixel_aspect=1/1"
        ))
        .map_err(|error| error.to_string())?;
        // SAFETY: a graph frees its filters; it is freed before it is replaced and on drop. Null is
        // allowed wherever a filter takes no arguments, and to free.
        unsafe {
            ffi::avfilter_graph_free(&raw mut self.graph);
            self.graph = ffi::avfilter_graph_alloc();
            if self.graph.is_null() {
                return Err("out of memory".to_owned());
            }
            // One video uses one thread.
            (*self.graph).nb_threads = 1;
            self.entry = self.add(c"buffer", Some(&arguments))?;
            let filter = self.add(c"bwdif", Some(c"mode=send_frame:parity=auto:deint=all"))?;
            self.exit = self.add(c"buffersink", None)?;
            for (from, to) in [(self.entry, filter), (filter, self.exit)] {
                checked(ffi::avfilter_link(from, 0, to, 0))?;
            }
            checked(ffi::avfilter_graph_config(self.graph, ptr::null_mut()))?;
        }
        self.made_for = Some(shape);
        Ok(())
    }

    /// # Safety
    /// `graph` is valid and not configured yet.
    unsafe fn add(
        &mut self,
        name: &CStr,
        arguments: Option<&CStr>,
    ) -> Result<*mut ffi::AVFilterContext, String> {
        let mut context = ptr::null_mut();
        // SAFETY: by this function's contract; names and arguments outlive the call.
        unsafe {
            let filter = ffi::avfilter_get_by_name(name.as_ptr());
            if filter.is_null() {
                return Err(format!(
                    "this FFmpeg has no filter {}",
                    name.to_string_lossy()
                ));
            }
            checked(ffi::avfilter_graph_create_filter(
                &raw mut context,
                filter,
                name.as_ptr(),
                arguments.map_or(ptr::null(), CStr::as_ptr),
                ptr::null_mut(),
                self.graph,
            ))?;
        }
        Ok(context)
    }

    fn send(&mut self, frame: &Frame) -> Result<(), String> {
        let mut numbered = Frame::empty();
        numbered.refer_to(frame)?;
        self.sent += 1;
        // SAFETY: the frame is a reference of our own, which the filter takes over; the time is a plain
        // number of it.
        unsafe {
            (*numbered.as_mut_ptr()).pts = self.sent;
            checked(ffi::av_buffersrc_add_frame(
                self.entry,
                numbered.as_mut_ptr(),
            ))
        }
    }

    /// Takes a picture, if there is one.
    fn receive(&mut self, picture: &mut Frame) -> Result<bool, String> {
        // SAFETY: the sink and the frame are valid; the frame is emptied before it is filled.
        let code = unsafe {
            ffi::av_frame_unref(picture.as_mut_ptr());
            ffi::av_buffersink_get_frame(self.exit, picture.as_mut_ptr())
        };
        if code == ffi::AVERROR(ffi::EAGAIN) {
            return Ok(false);
        }
        checked(code).map(|()| true)
    }

    /// Which of the frames handed in a picture shows: the filter counts in units of its own.
    fn number(&self, picture: &Frame) -> i64 {
        // SAFETY: the sink is part of a configured graph.
        let unit = unsafe { ffi::av_buffersink_get_time_base(self.exit) };
        picture.raw().pts * i64::from(unit.num) / i64::from(unit.den.max(1))
    }
}

impl Drop for Deinterlacer {
    fn drop(&mut self) {
        // SAFETY: null or made by avfilter_graph_alloc, freed once, with its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut self.graph) };
    }
}

fn shape(frame: &Frame) -> Shape {
    (frame.raw().width, frame.raw().height, frame.raw().format)
}

fn checked(code: c_int) -> Result<(), String> {
    if code < 0 { Err(words(code)) } else { Ok(()) }
}

/// Whether a frame is flagged as two fields of two moments.
pub(crate) fn interlaced(frame: &Frame) -> bool {
    // SAFETY: the wrapper is only asked for the flag, whose place differs between versions of FFmpeg, and is
    // forgotten, so that it does not free the frame.
    let frame =
        ManuallyDrop::new(unsafe { ffmpeg_next::frame::Video::wrap(frame.as_ptr().cast_mut()) });
    frame.is_interlaced()
}
