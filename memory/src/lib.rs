//! The allocator of processes that compute with libtorch: mimalloc (Leijen, Zorn and de Moura 2019) under the names of the C library.
//!
//! Every call of an int8 convolution has oneDNN describe a dozen tensors, and each description is an allocation of one to several
//! KiB: too large for glibc's caches of threads, so that a fifth of a small network's time went to splitting and joining blocks.
//! `docs/performance.md` has the figures.
//!
//! The processes of steps are started with this library preloaded (`LD_PRELOAD`), which is how the C library's allocator is meant
//! to be replaced: whatever in the process asks for memory, libtorch, libstdc++ and the C library itself included, asks here, and
//! nothing of the C library's allocator is ever freed here. These are the functions that a replacement must have by glibc's
//! manual ("Replacing malloc"); all others of it are made of these.

use std::ffi::{c_int, c_void};

use libmimalloc_sys as mi;

/// A page of memory, in bytes.
fn page() -> usize {
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).unwrap_or(4096)
}

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { mi::mi_malloc(size) }
}

/// `calloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: any number and size may be asked for; it looks whether their product is one.
    unsafe { mi::mi_calloc(count, size) }
}

/// `realloc(3)`.
///
/// # Safety
/// As C has it: null, or what one of these functions has given and nobody has freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller answers for the block.
    unsafe { mi::mi_realloc(block, size) }
}

/// `free(3)`.
///
/// # Safety
/// As C has it: null, or what one of these functions has given and nobody has freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller answers for the block.
    unsafe { mi::mi_free(block) }
}

/// `posix_memalign(3)`.
///
/// # Safety
/// `block` points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    block: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    // SAFETY: the caller answers for the pointer; it looks at the alignment.
    unsafe { mi::mi_posix_memalign(block, alignment, size) }
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    memalign(alignment, size)
}

/// `memalign(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: it looks at the alignment, and any size may be asked for.
    unsafe { mi::mi_malloc_aligned(size, alignment) }
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    memalign(page(), size)
}

/// `pvalloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page();
    match size.max(1).checked_next_multiple_of(page) {
        Some(whole) => memalign(page, whole),
        None => std::ptr::null_mut(),
    }
}

/// `malloc_usable_size(3)`.
///
/// # Safety
/// Null, or what one of these functions has given and nobody has freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: the caller answers for the block.
    unsafe { mi::mi_usable_size(block) }
}
