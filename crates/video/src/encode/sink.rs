//! The file under the muxer.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The first error that a file had, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The error, which is forgotten then.
    pub(super) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: io::Error) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }
}

/// The file under the muxer. FFmpeg keeps only an error number, and not always that; this keeps the
/// first error itself.
pub(super) struct Sink {
    file: File,
    failure: Failure,
}

impl Sink {
    pub(super) fn new(file: File, failure: Failure) -> Self {
        Self { file, failure }
    }

    fn remember<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let code = error.raw_os_error();
            self.failure.set(error);
            code.map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.remember(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.remember(result)
    }
}

impl Seek for Sink {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let result = self.file.seek(position);
        self.remember(result)
    }
}
