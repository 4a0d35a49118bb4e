//! FFmpeg's log, caught: each thread keeps the errors of the file it is working on.
//!
//! The callback replaces FFmpeg's own for the whole process, so that nothing reaches standard error.
//! Since each video is decoded by one thread, a thread's messages are the file's messages.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi::{AV_LOG_ERROR, AV_LOG_PANIC};

/// Messages kept for one file; a broken file can cause thousands.
const MOST: usize = 12;

/// FFmpeg's callback takes a `va_list`, which is passed as one pointer by the calling conventions of
/// x86-64, aarch64 and Apple's arm64; the generated bindings name a type that differs between them.
type VaList = *mut c_void;

unsafe extern "C" {
    fn av_log_set_callback(
        callback: Option<unsafe extern "C" fn(*mut c_void, c_int, *const c_char, VaList)>,
    );
    fn av_log_format_line2(
        context: *mut c_void,
        level: c_int,
        format: *const c_char,
        arguments: VaList,
        line: *mut c_char,
        line_size: c_int,
        print_prefix: *mut c_int,
    ) -> c_int;
}

#[derive(Default)]
struct Kept {
    messages: Vec<String>,
    /// The last message, kept or not: a repetition is no news.
    last: String,
    left_out: usize,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Catches FFmpeg's log from now on; does nothing the second time. Everything here does so by itself: only who copies
/// the process (`fork`) while other threads may be at it needs to do so before.
pub fn catch() {
    static INSTALLED: Once = Once::new();
    // SAFETY: the callback may be set at any time and from any thread; ours is a static function.
    INSTALLED.call_once(|| unsafe { av_log_set_callback(Some(keep)) });
}

/// Runs `work` and returns the errors that FFmpeg reported on this thread meanwhile.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    catch();
    let outer = KEPT.with(|kept| kept.borrow_mut().replace(Kept::default()));
    let result = work();
    let kept = KEPT
        .with(|kept| std::mem::replace(&mut *kept.borrow_mut(), outer))
        .unwrap_or_default();
    let mut messages = kept.messages;
    if kept.left_out > 0 {
        messages.push(format!("... and {} more", kept.left_out));
    }
    (result, messages)
}

/// FFmpeg's callback: keeps errors if this thread wants them, and drops everything else.
unsafe extern "C" fn keep(
    context: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: VaList,
) {
    if !(AV_LOG_PANIC..=AV_LOG_ERROR).contains(&level) {
        return;
    }
    let _ = KEPT.try_with(|kept| {
        let Ok(mut kept) = kept.try_borrow_mut() else {
            return;
        };
        let Some(kept) = kept.as_mut() else {
            return;
        };
        let mut line = [0 as c_char; 512];
        let mut print_prefix = 1;
        // SAFETY: all pointers come straight from FFmpeg's call, the buffer's length is passed with
        // it, and the function ends what it writes with a zero.
        let text = unsafe {
            av_log_format_line2(
                context,
                level,
                format,
                arguments,
                line.as_mut_ptr(),
                line.len() as c_int,
                &raw mut print_prefix,
            );
            CStr::from_ptr(line.as_ptr())
        };
        let text = without_addresses(text.to_string_lossy().trim());
        if text.is_empty() || kept.last == text {
            return;
        }
        kept.last.clone_from(&text);
        if kept.messages.len() < MOST {
            kept.messages.push(text);
        } else {
            kept.left_out += 1;
        }
    });
}

/// `[h264 @ 0x55e0c8]` as `[h264]`: an address says nothing and differs from run to run.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split(" @ 0x");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    fn say(level: c_int, text: &CStr) {
        // SAFETY: a format without arguments.
        unsafe { ffmpeg_next::ffi::av_log(ptr::null_mut(), level, text.as_ptr()) };
    }

    #[test]
    fn a_thread_gets_its_own_errors_and_nobody_elses() {
        let (other, mine) = caught(|| {
            say(AV_LOG_ERROR, c"mine");
            say(AV_LOG_ERROR, c"mine");
            say(AV_LOG_ERROR + 8, c"a mere warning");
            std::thread::spawn(|| {
                say(AV_LOG_ERROR, c"unheard");
                caught(|| say(AV_LOG_ERROR, c"other")).1
            })
            .join()
            .unwrap()
        });
        assert_eq!(mine, ["mine"]);
        assert_eq!(other, ["other"]);
    }

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let ((), messages) = caught(|| {
            for number in 0..50 {
                say(AV_LOG_ERROR, if number % 2 == 0 { c"even" } else { c"odd" });
            }
        });
        assert_eq!(messages.len(), MOST + 1);
        assert_eq!(messages[MOST], format!("... and {} more", 50 - MOST));
    }

    #[test]
    fn addresses_are_left_out() {
        assert_eq!(
            without_addresses("[mov,mp4 @ 0x55ab12] no moov"),
            "[mov,mp4] no moov"
        );
        assert_eq!(without_addresses("plain"), "plain");
    }
}
