//! The loaded library. All of the command's unsafe code is here.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;

use fedact_code::{Loaded, Pace, ReferencePace};
use libloading::os::unix;
use serde::de::DeserializeOwned;

use super::Unusable;

/// A loaded library of the same build as this command. It is never unloaded: its threads, and the
/// destructors of libtorch at the end of the process, need it.
#[derive(Debug)]
pub struct Library(&'static unix::Library);

impl Library {
    /// Loads the library and compares its code with that of this command.
    ///
    /// # Errors
    /// It, or a library that it needs, cannot be loaded; it is of another build.
    pub fn load(path: &Path) -> Result<Self, Unusable> {
        // SAFETY: loading runs the initialisers of the file and of those that it needs: Rust's, FFmpeg's and
        // libtorch's, which expect nothing of the process. The file is this project's own, found by this command.
        let opened = unsafe { unix::Library::open(Some(path), unix::RTLD_LAZY | unix::RTLD_LOCAL) };
        let opened = opened.map_err(|error| Unusable {
            message: format!("cannot load {}: {}", path.display(), whole(&error)),
            remedy: "`fedact doctor` says what this machine has; set it up and build again with \
                     `scripts/setup.sh` and `cargo build`",
        })?;
        let library = Self(Box::leak(Box::new(opened)));
        // SAFETY: this function has had this signature in every build that has it.
        let code =
            unsafe { library.function::<extern "C" fn() -> *const c_char>("fedact_work_code") };
        let code = code.map(|code| {
            // SAFETY: it returns a constant string.
            unsafe { CStr::from_ptr(code()) }
        });
        if code == Some(fedact_code::WORK) {
            return Ok(library);
        }
        Err(Unusable {
            message: format!(
                "the library {} was built from other code than this command",
                named(path).display()
            ),
            remedy: "run `cargo build`, which builds both, and then this command again",
        })
    }

    /// Serves the job on standard input; see `fedact_work_serve`.
    pub fn serve(&self) -> c_int {
        // SAFETY: the signature is that of this build, which `load` has made sure of.
        let serve = unsafe { self.function::<extern "C" fn() -> c_int>("fedact_work_serve") };
        serve.map_or(1, |serve| serve())
    }

    /// What was loaded with the library.
    pub fn inspect(&self) -> Option<Loaded> {
        // SAFETY: the signature is that of this build, which `load` has made sure of.
        let inspect =
            unsafe { self.function::<extern "C" fn() -> *const c_char>("fedact_work_inspect") };
        let text = inspect?();
        if text.is_null() {
            return None;
        }
        // SAFETY: where it is not null, it is a string that is never freed.
        let text = unsafe { CStr::from_ptr(text) };
        serde_json::from_slice(text.to_bytes()).ok()
    }

    /// How fast this machine runs a network like the one that a `model.json` describes.
    ///
    /// # Errors
    /// Why that cannot be measured.
    pub fn measure(&self, description: &str) -> Result<Pace, String> {
        // SAFETY: the signature is that of this build, which `load` has made sure of.
        let measure = unsafe {
            self.function::<extern "C" fn(*const c_char) -> *const c_char>("fedact_work_measure")
        };
        let (Some(measure), Ok(description)) = (measure, CString::new(description)) else {
            return Err("the library of the stages cannot measure it".to_owned());
        };
        // SAFETY: it is null or a string that is never freed.
        unsafe { answer(measure(description.as_ptr())) }
    }

    /// How fast this machine trains and runs the reference model of the device profiles.
    ///
    /// # Errors
    /// Why that cannot be measured.
    pub fn reference(&self) -> Result<ReferencePace, String> {
        // SAFETY: the signature is that of this build, which `load` has made sure of.
        let measure =
            unsafe { self.function::<extern "C" fn() -> *const c_char>("fedact_work_reference") };
        let Some(measure) = measure else {
            return Err("the library of the stages cannot measure it".to_owned());
        };
        // SAFETY: it is null or a string that is never freed.
        unsafe { answer(measure()) }
    }

    /// The function of this name.
    ///
    /// # Safety
    /// `F` must be its type.
    unsafe fn function<F: Copy>(&self, name: &str) -> Option<F> {
        // SAFETY: the caller answers for the type, and the library stays loaded.
        unsafe { self.0.get::<F>(name.as_bytes()) }
            .ok()
            .map(|symbol| *symbol)
    }
}

/// What the library has answered.
///
/// # Safety
/// `text` must be null or a string.
unsafe fn answer<T: DeserializeOwned>(text: *const c_char) -> Result<T, String> {
    if text.is_null() {
        return Err("the library of the stages failed at it".to_owned());
    }
    // SAFETY: the caller answers for it.
    let text = unsafe { CStr::from_ptr(text) };
    serde_json::from_slice::<Result<T, String>>(text.to_bytes())
        .unwrap_or_else(|error| Err(error.to_string()))
}

/// The file that a path in `/proc` stands for.
fn named(path: &Path) -> std::path::PathBuf {
    path.read_link().unwrap_or_else(|_| path.to_owned())
}

/// The message of the loader, which `libloading` gives as the source.
fn whole(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
