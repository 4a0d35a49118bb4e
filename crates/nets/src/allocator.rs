//! The C library's allocator, told how training uses memory.

/// Has this process keep memory that it has had once, instead of giving large blocks back to the system as soon as they
/// are free. Each step of a training asks for the same blocks again, and the system clears every page of them each time:
/// a fifth of the time of a step on a CPU. For a process that does nothing but train; call it at its start.
///
/// Says whether the allocator listened. Only glibc's is known; others stay as they are.
pub fn keep_memory() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // Bytes asked of the system at once, so that it is seldom asked.
        const AHEAD: libc::c_int = 256 << 20;
        // Every block from the heap, which is never trimmed, and one heap for all threads: blocks that one of them
        // frees serve the others. A negative threshold is glibc's largest.
        let wishes = [
            (libc::M_MMAP_MAX, 0),
            (libc::M_TRIM_THRESHOLD, -1),
            (libc::M_TOP_PAD, AHEAD),
            (libc::M_ARENA_MAX, 1),
        ];
        // SAFETY: it sets numbers, under the allocator's own lock.
        wishes
            .into_iter()
            .all(|(name, value)| unsafe { libc::mallopt(name, value) } == 1)
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    #[test]
    fn the_allocator_takes_the_wishes() {
        assert!(super::keep_memory());
    }
}
