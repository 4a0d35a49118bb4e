//! The work of the stages that do not need libtorch: a library that the process of a step loads at once. FFmpeg is linked to
//! it; oneDNN, where a quantized model is asked, is loaded then.
//!
//! It has the same C functions as `fedact-work`; a stage's definition says which libraries it needs, and the command
//! chooses by that. Only C types cross the boundary, and no panic does.

mod answer;
mod canvas;
mod caption;
mod render;
mod seen;

use std::ffi::{c_char, c_int};

use fedact_pipeline::child;
use fedact_stage::{Definition, Run};

/// The stages, and the parts of `fedact predict`, with the functions that do their work.
static STAGES: &[(&Definition, Run)] = &[
    (&fedact_synthesize::DEFINITION, fedact_synthesize::run),
    (&fedact_extract::DEFINITION, fedact_extract::run),
    (&fedact_predict::CUT, fedact_extract::cut_videos),
    (&fedact_predict::ANSWER_INT8, answer::run),
    (&fedact_predict::RENDER, render::run),
];

/// Which code this is: 64 hexadecimal digits, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_code() -> *const c_char {
    fedact_code::WORK.as_ptr()
}

/// Carries out the job on standard input. 0: done; 1: failed, and said so; 2: there is no job.
#[unsafe(no_mangle)]
pub extern "C" fn fedact_work_serve() -> c_int {
    c_int::from(child::serve_one_of(STAGES, "FFmpeg alone"))
}

#[cfg(test)]
mod tests {
    use fedact_stage::Library;

    use super::*;

    #[test]
    fn the_stages_here_need_no_libtorch() {
        for (definition, _) in STAGES {
            assert!(!definition.libraries.contains(&Library::Libtorch));
        }
    }
}
