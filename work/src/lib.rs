//! The work of the stages that need libtorch behind a few C functions: a library that the process of a step loads.
//!
//! Loading libtorch takes a third of a second, so the command that plans is not linked to it: it loads this
//! library in the processes of these steps, and `fedact-media` in those of the others. Only C types cross the boundary, and no panic does.

mod answer;
mod inspect;
mod measure;

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::catch_unwind;

use fedact_pipeline::child;
use fedact_stage::{Definition, Run};

/// The stages, and the parts of `fedact predict` and `fedact fleet join`, with the functions that do their work.
static STAGES: &[(&Definition, Run)] = &[
    (&fedact_teach::DEFINITION, fedact_teach::run),
    (&fedact_distill::DEFINITION, fedact_distill::run),
    (&fedact_quantize::DEFINITION, fedact_quantize::run),
    (&fedact_federate::DEFINITION, fedact_federate::run),
    (&fedact_evaluate::DEFINITION, fedact_evaluate::run),
    (&fedact_predict::ANSWER, answer::run),
    (&fedact_federate::fleet::TRAIN, fedact_federate::train_task),
];

/// Which code this is: 64 hexadecimal digits, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_code() -> *const c_char {
    fedact_code::WORK.as_ptr()
}

/// Carries out the job on standard input. 0: done; 1: failed, and said so; 2: there is no job.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_serve() -> c_int {
    c_int::from(child::serve_one_of(STAGES, "libtorch"))
}

/// What was loaded with this library: `fedact_code::Loaded` as JSON, valid for ever; null where that fails.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_inspect() -> *const c_char {
    lasting(
        catch_unwind(|| serde_json::to_string(&inspect::loaded()).ok())
            .ok()
            .flatten(),
    )
}

/// How fast this machine runs a network like the one that a `model.json`, given as its text, describes:
/// `Result<fedact_code::Pace, String>` as JSON, valid for ever; null where that fails.
///
/// # Safety
/// `description` points to a string that ends with a null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedact_work_measure(description: *const c_char) -> *const c_char {
    // SAFETY: the caller answers for it.
    let description = unsafe { CStr::from_ptr(description) };
    let answer = catch_unwind(|| {
        let measured = measure::pace(&description.to_string_lossy());
        serde_json::to_string(&measured).ok()
    });
    lasting(answer.ok().flatten())
}

/// How fast this machine trains and runs the reference model of the device profiles:
/// `Result<fedact_code::ReferencePace, String>` as JSON, valid for ever; null where that fails.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_reference() -> *const c_char {
    let answer = catch_unwind(|| serde_json::to_string(&measure::reference()).ok());
    lasting(answer.ok().flatten())
}

/// A string for the caller, never freed: it is asked for once in the life of a process, which ends soon after.
fn lasting(text: Option<String>) -> *const c_char {
    text.and_then(|text| CString::new(text).ok())
        .map_or(std::ptr::null(), |text| text.into_raw().cast_const())
}
