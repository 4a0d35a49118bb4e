//! A container that is being written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Once;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::{ffi, format};

use super::sink::{Failure, Sink};
use super::{Codec, EncodeError};

/// A container that is being written. Dropped before [`Muxer::finish`], it deletes what it wrote.
///
/// The same packets give the same bytes: no creation time, no version strings.
pub(crate) struct Muxer {
    path: PathBuf,
    output: Output,
    failure: Failure,
    /// Deleted on drop: true until finished, and only for regular files.
    unfinished: bool,
}

impl Muxer {
    /// The container of a codec, without a stream yet; replaces a file that is there.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn create(path: &Path, codec: Codec) -> Result<Self, EncodeError> {
        initialise();
        let unwritable = |source| EncodeError::Write {
            path: path.to_owned(),
            source,
        };
        let refused = |step| {
            move |source| EncodeError::Ffmpeg {
                path: path.to_owned(),
                step,
                source,
            }
        };
        let file = File::create(path).map_err(unwritable)?;
        let unfinished = file.metadata().map_err(unwritable)?.is_file();
        let failure = Failure::default();
        let sink = Sink::new(file, failure.clone());
        let stream_io = StreamIo::from_write_seek(sink).map_err(refused("opening the file"))?;
        let mut output = format::output_to_stream(stream_io, None, Some(codec.container()))
            .map_err(refused("choosing the container"))?;
        // SAFETY: the context is open and owned by `output`; `flags` is a plain integer of it. No
        // safe call sets the flag, without which the muxer writes its version and the time of day.
        unsafe {
            (*output.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_BITEXACT;
        }
        Ok(Self {
            path: path.to_owned(),
            output,
            failure,
            unfinished,
        })
    }

    /// FFmpeg's context.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// # Errors
    /// FFmpeg does not take the streams, or the file cannot be written.
    pub(crate) fn write_header(&mut self) -> Result<(), EncodeError> {
        let header = self.output.write_header().map(|_| ());
        self.checked("writing the header", header)
    }

    /// Writes the trailer and keeps the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), EncodeError> {
        let trailer = self.output.write_trailer();
        self.checked("writing the trailer", trailer)?;
        // SAFETY: the context is open and `pb` is the custom stream that `create` gave it.
        unsafe {
            ffi::avio_flush((*self.output.as_mut_ptr()).pb);
        }
        self.checked("closing the file", Ok(()))?;
        self.unfinished = false;
        Ok(())
    }

    /// Turns FFmpeg's word into ours, preferring what the file system said, which FFmpeg may not have
    /// noticed yet or may have forgotten.
    pub(crate) fn checked(
        &self,
        step: &'static str,
        result: Result<(), ffmpeg::Error>,
    ) -> Result<(), EncodeError> {
        match (self.failure.take(), result) {
            (Some(source), _) => Err(EncodeError::Write {
                path: self.path.clone(),
                source,
            }),
            (None, Err(source)) => Err(EncodeError::Ffmpeg {
                path: self.path.clone(),
                step,
                source,
            }),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// What a code of FFmpeg's says: those below 0 are errors.
pub(crate) fn outcome(code: i32) -> Result<(), ffmpeg::Error> {
    match code {
        code if code < 0 => Err(ffmpeg::Error::from(code)),
        _ => Ok(()),
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        if self.unfinished {
            // Half a video must not pass for a whole one. There is nobody to tell if it cannot go.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// FFmpeg writes its warnings to standard error by itself; a library must not.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Fatal));
}
