//! The library that does the work of stages: where it is, and whether it is of this build.
//!
//! The command does not link libtorch and FFmpeg: the processes of steps load them with this library
//! (package `fedact-work`). A runner opens the file when it starts and hands the open file down, so that a
//! build in another terminal changes nothing under it; and each process compares the library's code with its
//! own, so that no result is stored under the digest of other code than made it.

mod library;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::io::FdFlags;

use crate::exit::{Code, Refusal};

pub use library::Library;

/// The library as it was when this was made.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    file: File,
}

/// Why the library cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// What happened, naming the file.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

impl From<Unusable> for Refusal {
    fn from(unusable: Unusable) -> Self {
        Self::new(Code::Failed, unusable.message, unusable.remedy)
    }
}

impl Work {
    /// Finds the library beside this program and opens it.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn find() -> Result<Self, Unusable> {
        let program = std::env::current_exe().map_err(|error| Unusable {
            message: format!("cannot find the program of this process: {error}"),
            remedy: "mount /proc",
        })?;
        let places = places(program.parent().unwrap_or(Path::new("/")));
        for path in &places {
            match File::open(path) {
                Ok(file) => {
                    return Ok(Self {
                        path: path.clone(),
                        file,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Unusable {
                        message: format!("cannot open {}: {error}", path.display()),
                        remedy: "make it readable, or build it again with `cargo build`",
                    });
                }
            }
        }
        let places: Vec<String> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(Unusable {
            message: format!(
                "the library that does the work of stages is in none of {}",
                places.join(", ")
            ),
            remedy: "build it with `cargo build`, or install it beside the command with `make install`",
        })
    }

    /// The number under which a child process finds the open file.
    ///
    /// # Errors
    /// The system refuses to leave it open for children.
    pub fn hand_down(&self) -> std::io::Result<RawFd> {
        rustix::io::fcntl_setfd(self.file.as_fd(), FdFlags::empty())?;
        Ok(self.file.as_raw_fd())
    }

    /// Loads the library into this process.
    ///
    /// # Errors
    /// As [`Library::load`].
    pub fn load(&self) -> Result<Library, Unusable> {
        Library::load(&self.path)
    }
}

/// Where the library may be, for a program in this folder: where cargo builds it; beside; where `make install`
/// puts it.
fn places(folder: &Path) -> [PathBuf; 3] {
    let name = format!("{DLL_PREFIX}fedact_work{DLL_SUFFIX}");
    ["deps", "", "../lib"].map(|below| folder.join(below).join(&name))
}
