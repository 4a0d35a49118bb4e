//! An open container, or a folder of pictures, read packet by packet.

use std::ffi::{CStr, CString, c_int, c_void};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::{self, AVFieldOrder, AVMediaType};

use crate::error::words;
use crate::library::text;
use crate::limits::Budget;
use crate::packet::Packet;
use crate::{Orientation, VideoError, pictures};

/// Demuxers that read anything as a picture, single pictures, or lists of other files.
const NO_VIDEOS: [(&str, &str); 8] = [
    ("image2", "it is a still picture"),
    ("_pipe", "it is a still picture"),
    ("ico", "it is a still picture"),
    ("tty", "it is text"),
    ("rawvideo", "it has no container that says what is in it"),
    ("hls", "it is a list of other files"),
    ("concat", "it is a list of other files"),
    ("dash", "it is a list of other files"),
];

/// Bytes of a file's beginning by which playlists are told.
const PROBED_BYTES: usize = 4096;

/// Why a demuxer's files are no videos, if so.
fn refusal(container: &str) -> Option<&'static str> {
    NO_VIDEOS
        .iter()
        .find(|(name, _)| {
            container == *name || (name.starts_with('_') && container.ends_with(name))
        })
        .map(|(_, reason)| *reason)
}

/// Why a container cannot be opened, in words that say what to do about it where FFmpeg's do not.
fn opening_failed(code: c_int) -> String {
    if code == ffi::AVERROR_EOF {
        "it ends before its first frame".to_owned()
    } else {
        words(code)
    }
}

/// The demuxer that FFmpeg would choose by the first `length` bytes.
fn probed(path: &Path, mut head: Vec<u8>, length: usize) -> Option<String> {
    head.resize(head.len() + ffi::AVPROBE_PADDING_SIZE as usize, 0);
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the buffer is followed by the zeros that FFmpeg asks for, and, like the name, outlives the
    // call; demuxers are constants.
    unsafe {
        let data = ffi::AVProbeData {
            filename: name.as_ptr(),
            buf: head.as_mut_ptr(),
            buf_size: length as c_int,
            mime_type: ptr::null(),
        };
        let format = ffi::av_probe_input_format(&raw const data, 1);
        (!format.is_null()).then(|| text((*format).name))
    }
}

/// An open container and the one stream of it that is read: its video, or the sound of it.
pub(crate) struct Demuxer {
    context: *mut ffi::AVFormatContext,
    stream: *mut ffi::AVStream,
    path: PathBuf,
    deadline: Box<Deadline>,
    budget: Arc<Budget>,
    /// Pictures a second, where it reads a folder of them.
    picture_rate: Option<f64>,
}

// SAFETY: an AVFormatContext may be used from any thread, by one at a time.
unsafe impl Send for Demuxer {}

/// When work on a file must end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// # Errors
    /// When the time is over.
    pub(crate) fn check(&self, path: &Path) -> Result<(), VideoError> {
        if Instant::now() < self.at {
            return Ok(());
        }
        Err(VideoError::TimeLimit {
            path: path.to_owned(),
            limit: self.limit,
            messages: Vec::new(),
        })
    }
}

/// FFmpeg asks this while it reads, and stops when the answer is not 0.
unsafe extern "C" fn interrupt(deadline: *mut c_void) -> c_int {
    // SAFETY: the pointer is the demuxer's boxed deadline, which outlives the context.
    let deadline = unsafe { &*deadline.cast::<Deadline>() };
    c_int::from(Instant::now() >= deadline.at)
}

impl Demuxer {
    /// Opens a file and finds its video stream. Only this file is ever opened: containers that refer to
    /// other files or to the network are refused.
    pub(crate) fn open(
        path: &Path,
        deadline: Deadline,
        budget: Arc<Budget>,
    ) -> Result<Self, VideoError> {
        let unreadable = |source| VideoError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let not_a_video = |reason: &str| VideoError::NotAVideo {
            path: path.to_owned(),
            reason: reason.to_owned(),
            messages: Vec::new(),
        };
        if !metadata.is_file() {
            return Err(not_a_video("it is not a regular file"));
        }
        if metadata.len() == 0 {
            return Err(not_a_video("it is empty"));
        }
        let mut head = vec![0; PROBED_BYTES];
        let length = file.read(&mut head).map_err(unreadable)?;
        // Before it is opened: opening a playlist already tries to fetch what it lists.
        if let Some(reason) = probed(path, head, length).as_deref().and_then(refusal) {
            return Err(not_a_video(reason));
        }
        drop(file);
        // The prefix keeps a colon in the name from being read as a protocol.
        let url = CString::new([b"file:", path.as_os_str().as_bytes()].concat())
            .map_err(|error| unreadable(error.into()))?;
        let demuxer = Self::connect(path, &url, ptr::null(), &[], deadline, budget)?;
        if let Some(reason) = refusal(&demuxer.container()) {
            return Err(demuxer.not_a_video(reason));
        }
        demuxer.with_stream()
    }

    /// Opens a folder of numbered pictures, which are shown `rate` a second.
    pub(crate) fn open_pictures(
        folder: &Path,
        rate: f64,
        deadline: Deadline,
        budget: Arc<Budget>,
    ) -> Result<Self, VideoError> {
        let pattern = pictures::pattern(folder)?;
        let rate_text = CString::new(rate.to_string()).unwrap_or_default();
        // SAFETY: the name ends with a zero; demuxers are constants.
        let format = unsafe { ffi::av_find_input_format(c"image2".as_ptr()) };
        let options = [(c"pattern_type", c"glob"), (c"framerate", &*rate_text)];
        let mut demuxer = Self::connect(folder, &pattern, format, &options, deadline, budget)?;
        demuxer.picture_rate = Some(rate);
        demuxer.with_stream()
    }

    /// The same file or folder from its start.
    pub(crate) fn reopened(&self) -> Result<Self, VideoError> {
        let (deadline, budget) = (*self.deadline, Arc::clone(&self.budget));
        match self.picture_rate {
            Some(rate) => Self::open_pictures(&self.path, rate, deadline, budget),
            None => Self::open(&self.path, deadline, budget),
        }
    }

    /// Opens what `url` says, without looking for the video stream. `format` is null where FFmpeg is to find out.
    fn connect(
        path: &Path,
        url: &CStr,
        format: *const ffi::AVInputFormat,
        options: &[(&CStr, &CStr)],
        deadline: Deadline,
        budget: Arc<Budget>,
    ) -> Result<Self, VideoError> {
        let deadline = Box::new(deadline);
        budget.limit_allocations();
        // SAFETY: FFmpeg's documented order: allocate, set the interrupt callback (whose argument is
        // boxed and lives as long as the context), open; a failed open frees the context, a later
        // failure drops `demuxer`, which closes it. Options are copied.
        unsafe {
            let mut context = ffi::avformat_alloc_context();
            if context.is_null() {
                return Err(VideoError::Unreadable {
                    path: path.to_owned(),
                    source: std::io::ErrorKind::OutOfMemory.into(),
                });
            }
            (*context).interrupt_callback = ffi::AVIOInterruptCB {
                callback: Some(interrupt),
                opaque: (&raw const *deadline).cast_mut().cast(),
            };
            let mut dictionary = ptr::null_mut();
            for (name, value) in [(c"protocol_whitelist", c"file")].iter().chain(options) {
                ffi::av_dict_set(&raw mut dictionary, name.as_ptr(), value.as_ptr(), 0);
            }
            let code = ffi::avformat_open_input(
                &raw mut context,
                url.as_ptr(),
                format,
                &raw mut dictionary,
            );
            ffi::av_dict_free(&raw mut dictionary);
            if code < 0 {
                deadline.check(path)?;
                if code == ffi::AVERROR(ffi::ENOMEM) {
                    return Err(budget.exceeded_by(path, "its header"));
                }
                return Err(VideoError::NotAVideo {
                    path: path.to_owned(),
                    reason: opening_failed(code),
                    messages: Vec::new(),
                });
            }
            Ok(Self {
                context,
                stream: ptr::null_mut(),
                path: path.to_owned(),
                deadline,
                budget,
                picture_rate: None,
            })
        }
    }

    fn with_stream(mut self) -> Result<Self, VideoError> {
        // SAFETY: the context is open; the stream index comes from FFmpeg and is checked for errors;
        // streams live as long as the context.
        unsafe {
            let code = self.probe_streams();
            self.deadline.check(&self.path)?;
            if code == ffi::AVERROR(ffi::ENOMEM) {
                return Err(self.budget.exceeded_by(&self.path, "its streams"));
            }
            if code < 0 {
                return Err(self.not_a_video(&words(code)));
            }
            let best = self.best(AVMediaType::AVMEDIA_TYPE_VIDEO, -1);
            if best < 0 {
                let reason = if (*self.context).nb_streams > 0 {
                    "it has no video stream"
                } else {
                    "it has no stream at all"
                };
                return Err(self.not_a_video(reason));
            }
            self.choose(best);
            if (*self.stream).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0 {
                return Err(self.not_a_video("its only picture is a cover"));
            }
        }
        Ok(self)
    }

    /// The stream of this kind that FFmpeg calls the best, of the same programme as `related`; negative if none will do.
    fn best(&self, kind: ffi::AVMediaType, related: c_int) -> c_int {
        // SAFETY: the context is open; a decoder need not be given back.
        unsafe { ffi::av_find_best_stream(self.context, kind, -1, related, ptr::null_mut(), 0) }
    }

    /// Reads packets of this stream from now on, and no others.
    fn choose(&mut self, index: c_int) {
        for stream in self.streams() {
            // SAFETY: the stream lives as long as the context, and nobody else refers to it now.
            unsafe {
                if (*stream).index == index {
                    self.stream = stream;
                    (*stream).discard = ffi::AVDiscard::AVDISCARD_DEFAULT;
                } else {
                    (*stream).discard = ffi::AVDiscard::AVDISCARD_ALL;
                }
            }
        }
    }

    /// All streams that are known by now.
    fn streams(&self) -> Vec<*mut ffi::AVStream> {
        // SAFETY: an open context has that many streams.
        unsafe {
            (0..(*self.context).nb_streams as usize)
                .map(|index| *(*self.context).streams.add(index))
                .collect()
        }
    }

    /// The same file from its start, as a reader of the sound that belongs to its pictures: of several streams the one
    /// that FFmpeg calls the best, or one of which it can say nothing. `None` where there is no sound.
    ///
    /// # Errors
    /// A file that cannot be opened again.
    pub(crate) fn sound(&self) -> Result<Option<Self>, VideoError> {
        if self.picture_rate.is_some() {
            return Ok(None);
        }
        let mut demuxer = self.reopened()?;
        let best = demuxer.best(AVMediaType::AVMEDIA_TYPE_AUDIO, demuxer.stream().index);
        // SAFETY: streams and their parameters live as long as the context.
        let audible = |stream: *mut ffi::AVStream| unsafe {
            let kind = (*(*stream).codecpar).codec_type;
            (kind == AVMediaType::AVMEDIA_TYPE_AUDIO).then_some((*stream).index)
        };
        let any = || demuxer.streams().into_iter().find_map(audible);
        let Some(index) = (best >= 0).then_some(best).or_else(any) else {
            return Ok(None);
        };
        demuxer.choose(index);
        Ok(Some(demuxer))
    }

    /// Reads the first packets, and decodes some where the container does not say what is in it: pictures that are
    /// too large not even here. Gives FFmpeg's code.
    fn probe_streams(&mut self) -> c_int {
        // SAFETY: the context is open; there is a dictionary for each stream that it has now, as FFmpeg asks; each
        // is freed after the call, which leaves in it what it did not use.
        unsafe {
            let mut options = vec![ptr::null_mut(); (*self.context).nb_streams as usize];
            for options in &mut options {
                let pixels = self.budget.pixels();
                ffi::av_dict_set_int(options, c"max_pixels".as_ptr(), pixels, 0);
            }
            let code = ffi::avformat_find_stream_info(self.context, options.as_mut_ptr());
            options
                .iter_mut()
                .for_each(|options| ffi::av_dict_free(options));
            code
        }
    }

    fn not_a_video(&self, reason: &str) -> VideoError {
        VideoError::NotAVideo {
            path: self.path.clone(),
            reason: reason.to_owned(),
            messages: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(crate) fn deadline(&self) -> Deadline {
        *self.deadline
    }

    /// The next packet of the stream; `None` at the end.
    ///
    /// # Errors
    /// FFmpeg's words, where the file breaks off or cannot be read on.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet>, String> {
        let mut packet = Packet::empty();
        loop {
            // SAFETY: context and packet are valid; the packet is emptied before it is used again.
            let code = unsafe {
                ffi::av_packet_unref(packet.as_mut_ptr());
                ffi::av_read_frame(self.context, packet.as_mut_ptr())
            };
            if code == ffi::AVERROR_EOF {
                return Ok(None);
            }
            if code == ffi::AVERROR(ffi::ENOMEM) {
                self.budget.exceed("one piece of its compressed data");
            }
            if code < 0 {
                return Err(words(code));
            }
            if packet.stream() == self.stream().index {
                return Ok(Some(packet));
            }
        }
    }

    /// Goes to the last key frame that is decoded no later than `dts`; says whether that worked.
    pub(crate) fn seek(&mut self, dts: i64) -> bool {
        let stream = self.stream().index;
        // SAFETY: the context is open and the stream exists.
        unsafe {
            ffi::av_seek_frame(
                self.context,
                stream,
                dts,
                ffi::AVSEEK_FLAG_BACKWARD as c_int,
            ) >= 0
        }
    }

    pub(crate) fn stream(&self) -> &ffi::AVStream {
        // SAFETY: set by `with_stream` before a demuxer leaves this module; lives as long as the context.
        unsafe { &*self.stream }
    }

    /// What the stream is, as the container and the first frames tell them.
    pub(crate) fn parameters(&self) -> &ffi::AVCodecParameters {
        // SAFETY: every stream has parameters, as long as it lives.
        unsafe { &*self.stream().codecpar }
    }

    /// Seconds of one unit of a timestamp.
    pub(crate) fn time_base(&self) -> f64 {
        let base = self.stream().time_base;
        f64::from(base.num) / f64::from(base.den.max(1))
    }

    /// Frames a second by the container; 25 where it does not say.
    pub(crate) fn nominal_rate(&self) -> f64 {
        let rate = self.stream().avg_frame_rate;
        if rate.num > 0 && rate.den > 0 {
            f64::from(rate.num) / f64::from(rate.den)
        } else {
            25.0
        }
    }

    /// Frames that the container promises; 0 where it does not say.
    pub(crate) fn promised_frames(&self) -> u64 {
        u64::try_from(self.stream().nb_frames).unwrap_or(0)
    }

    /// FFmpeg's name of the container, as in `mov,mp4,m4a,3gp,3g2,mj2`.
    pub(crate) fn container(&self) -> String {
        // SAFETY: an open context has an input format.
        text(unsafe { (*(*self.context).iformat).name })
    }

    /// Whether frames are two fields of two moments, as far as the container or the first frames say.
    pub(crate) fn interlaced(&self) -> bool {
        // SAFETY: reads the number behind the enum, which a newer FFmpeg may have extended.
        let order = unsafe {
            (&raw const self.parameters().field_order)
                .cast::<u32>()
                .read()
        };
        order > AVFieldOrder::AV_FIELD_PROGRESSIVE as u32
    }

    /// Width of a pixel by its height; 1 where nothing sensible is said.
    pub(crate) fn pixel_aspect(&self) -> f64 {
        // SAFETY: context and stream are valid; a frame need not be given.
        let ratio = unsafe {
            ffi::av_guess_sample_aspect_ratio(self.context, self.stream, ptr::null_mut())
        };
        let aspect = f64::from(ratio.num) / f64::from(ratio.den.max(1));
        if (0.1..=10.0).contains(&aspect) {
            aspect
        } else {
            1.0
        }
    }

    /// How the picture must be turned, by the container's display matrix.
    pub(crate) fn orientation(&self) -> Orientation {
        // SAFETY: the wrapper is only used to read side data, and is forgotten so that it does not
        // close the context, which belongs to `self`.
        let matrix = unsafe {
            let input = std::mem::ManuallyDrop::new(ffmpeg_next::format::context::Input::wrap(
                self.context,
            ));
            let stream = input.stream(self.stream().index as usize);
            stream.and_then(|stream| {
                stream
                    .side_data()
                    .find(|data| {
                        data.kind() == ffmpeg_next::codec::packet::side_data::Type::DisplayMatrix
                    })
                    .and_then(|data| matrix(data.data()))
            })
        };
        matrix.map_or_else(Orientation::default, |matrix| {
            Orientation::from_matrix(&matrix)
        })
    }
}

impl Drop for Demuxer {
    fn drop(&mut self) {
        // SAFETY: opened by avformat_open_input, closed once.
        unsafe { ffi::avformat_close_input(&raw mut self.context) };
    }
}

/// The nine native-endian numbers of a display matrix.
fn matrix(bytes: &[u8]) -> Option<[i32; 9]> {
    let mut matrix = [0; 9];
    if bytes.len() != size_of_val(&matrix) {
        return None;
    }
    for (value, bytes) in matrix.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = i32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(matrix)
}
