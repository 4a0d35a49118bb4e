//! Why videos could not be made.

use std::io;
use std::path::PathBuf;

use fedact_stage::{StageError, Stopped};
use fedact_video::EncodeError;

/// A failure of the stage.
#[derive(Debug, thiserror::Error)]
pub enum SynthesizeError {
    /// A video could not be encoded or written.
    #[error(transparent)]
    Video(#[from] EncodeError),
    /// A folder or a list could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The threads to render on could not be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool said.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// The runner asked it to; finished videos are kept.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<SynthesizeError> for StageError {
    fn from(error: SynthesizeError) -> Self {
        let full = match &error {
            SynthesizeError::Video(video) => video.disk_full(),
            SynthesizeError::Write { source, .. } => {
                source.kind() == io::ErrorKind::StorageFull
                    || source.kind() == io::ErrorKind::QuotaExceeded
            }
            SynthesizeError::Threads { .. } => false,
            SynthesizeError::Stopped(stopped) => return (*stopped).into(),
        };
        let failure = Self::failed(&error);
        if full {
            failure.with_remedy(
                "free space on the disk, or make fewer, shorter or smaller videos (subjects, clips, \
                 seconds, width, height)",
            )
        } else {
            failure
        }
    }
}
