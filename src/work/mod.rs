//! The libraries that do the work of stages: where they are, and whether they are of this build.
//!
//! The command does not link libtorch and FFmpeg: the processes of steps load them with one of two libraries, package
//! `fedact-work` for the stages that need libtorch and `fedact-media` for the others. A runner opens the files when it
//! starts and hands the open files down, so that a build in another terminal changes nothing under it; and each
//! process compares the library's code with its own, so that no result is stored under the digest of other code than
//! made it. A third library, package `fedact-memory`, is the allocator of those processes that load libtorch.

mod library;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use fedact_stage::{Definition, Library as Needed};
use rustix::io::FdFlags;

use crate::exit::{Code, Refusal};

pub use library::Library;

/// The libraries as they were when this was made.
#[derive(Debug)]
pub struct Work {
    /// Of the stages that need libtorch.
    learning: Opened,
    /// Of the others.
    media: Opened,
    /// The allocator of the processes that load libtorch; without it, they have the C library's.
    memory: Option<Opened>,
}

/// The open file of a library.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
}

/// The numbers under which a child process finds the open files.
#[derive(Debug, Clone, Copy)]
pub struct HandedDown {
    learning: RawFd,
    media: RawFd,
    memory: Option<RawFd>,
}

impl HandedDown {
    /// The file of the library with the work of this stage.
    pub fn of(&self, stage: &Definition) -> RawFd {
        if stage.libraries.contains(&Needed::Libtorch) {
            self.learning
        } else {
            self.media
        }
    }

    /// The allocator to be preloaded into a process that does the work of this stage.
    pub fn allocator_of(&self, stage: &Definition) -> Option<RawFd> {
        self.memory
            .filter(|_| stage.libraries.contains(&Needed::Libtorch))
    }
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
    /// Finds the libraries beside this program and opens them.
    ///
    /// # Errors
    /// One is not there, or cannot be read.
    pub fn find() -> Result<Self, Unusable> {
        Ok(Self {
            learning: Opened::find("work")?,
            media: Opened::find("media")?,
            memory: Opened::find("memory").ok(),
        })
    }

    /// Leaves the files open for children.
    ///
    /// # Errors
    /// The system refuses that.
    pub fn hand_down(&self) -> std::io::Result<HandedDown> {
        Ok(HandedDown {
            learning: self.learning.hand_down()?,
            media: self.media.hand_down()?,
            memory: self.memory.as_ref().map(Opened::hand_down).transpose()?,
        })
    }

    /// Loads the library that has libtorch into this process; FFmpeg is in it, too.
    ///
    /// # Errors
    /// As [`Library::load`].
    pub fn load(&self) -> Result<Library, Unusable> {
        Library::load(&self.learning.path)
    }
}

impl Opened {
    fn find(name: &str) -> Result<Self, Unusable> {
        let program = std::env::current_exe().map_err(|error| Unusable {
            message: format!("cannot find the program of this process: {error}"),
            remedy: "mount /proc",
        })?;
        let places = places(name, program.parent().unwrap_or(Path::new("/")));
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

    fn hand_down(&self) -> std::io::Result<RawFd> {
        rustix::io::fcntl_setfd(self.file.as_fd(), FdFlags::empty())?;
        Ok(self.file.as_raw_fd())
    }
}

/// Where a library may be, for a program in this folder: where cargo builds it; beside; where `make install`
/// puts it.
fn places(name: &str, folder: &Path) -> [PathBuf; 3] {
    let name = format!("{DLL_PREFIX}fedact_{name}{DLL_SUFFIX}");
    ["deps", "", "../lib"].map(|below| folder.join(below).join(&name))
}
