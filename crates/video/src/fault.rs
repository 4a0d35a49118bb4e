//! Files whose decoding tests let go wrong, as a fault in a decoder would. Without the feature `fault-injection` there
//! are none.

#[cfg(feature = "fault-injection")]
pub use armed::{Fault, arm};
#[cfg(feature = "fault-injection")]
pub(crate) use armed::{decoding, opened};

#[cfg(feature = "fault-injection")]
mod armed {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What happens when a frame of the file is to be decoded.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The process ends itself by `SIGABRT`, as after a failed assertion.
        Abort,
        /// The process writes where there is no memory.
        Segfault,
        /// The call never returns.
        Spin,
        /// The call allocates until it gets nothing more.
        Eat,
        /// As `Abort`, but only if the process has opened another file before, as if that had damaged it.
        AbortUnlessFirst,
    }

    static ARMED: OnceLock<&'static [(&'static str, Fault)]> = OnceLock::new();
    static OPENED: AtomicU32 = AtomicU32::new(0);

    /// Names the files, for the whole process and for good: only the first call counts.
    pub fn arm(files: &'static [(&'static str, Fault)]) {
        ARMED.get_or_init(|| files);
    }

    /// A file is being opened.
    pub(crate) fn opened() {
        OPENED.fetch_add(1, Ordering::Relaxed);
    }

    /// A packet of the file is about to be decoded.
    pub(crate) fn decoding(path: &Path) {
        let files = ARMED.get().copied().unwrap_or_default();
        let fault = files.iter().find(|(name, _)| path.ends_with(name));
        match fault.map(|(_, fault)| *fault) {
            None => {}
            Some(Fault::AbortUnlessFirst) if OPENED.load(Ordering::Relaxed) == 1 => {}
            Some(Fault::Abort | Fault::AbortUnlessFirst) => std::process::abort(),
            // SAFETY: not safe, and meant not to be: no page is mapped there.
            Some(Fault::Segfault) => unsafe {
                std::ptr::without_provenance_mut::<u8>(8).write_volatile(1);
            },
            Some(Fault::Spin) => loop {
                std::hint::spin_loop();
            },
            Some(Fault::Eat) => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
        }
    }
}

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn opened() {}

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn decoding(_path: &std::path::Path) {}
