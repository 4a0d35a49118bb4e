//! One compressed piece of a stream.

use std::ffi::c_int;

use ffmpeg_next::ffi;

/// One compressed piece of a stream.
pub(crate) struct Packet(*mut ffi::AVPacket);

// SAFETY: a packet owns its data (reference-counted atomically) and is used by one thread at a time.
unsafe impl Send for Packet {}

impl Packet {
    pub(crate) fn empty() -> Self {
        // SAFETY: gives null only when memory is exhausted, which the assertion turns into a panic.
        let packet = unsafe { ffi::av_packet_alloc() };
        assert!(!packet.is_null(), "out of memory");
        Self(packet)
    }

    pub(crate) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.0
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.0
    }

    /// The number of its stream.
    pub(crate) fn stream(&self) -> c_int {
        self.raw().stream_index
    }

    /// The compressed data.
    pub(crate) fn data(&self) -> &[u8] {
        match self.size() {
            0 => &[],
            // SAFETY: a packet with a size has that many bytes, for as long as it lives.
            size => unsafe { std::slice::from_raw_parts(self.raw().data, size) },
        }
    }

    /// Bytes of compressed data.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.raw().size).unwrap_or(0)
    }

    pub(crate) fn pts(&self) -> Option<i64> {
        known(self.raw().pts)
    }

    pub(crate) fn dts(&self) -> Option<i64> {
        known(self.raw().dts)
    }

    pub(crate) fn duration(&self) -> i64 {
        self.raw().duration.max(0)
    }

    /// Whether decoding can begin here.
    pub(crate) fn key(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_KEY != 0
    }

    /// Whether it must be decoded but not shown, by the container's edit list.
    pub(crate) fn hidden(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_DISCARD != 0
    }

    /// Whether the container knows that part of it is missing or wrong.
    pub(crate) fn damaged(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_CORRUPT != 0
    }

    fn raw(&self) -> &ffi::AVPacket {
        // SAFETY: the pointer is valid from `empty` to `drop`.
        unsafe { &*self.0 }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: made by av_packet_alloc, freed once.
        unsafe { ffi::av_packet_free(&raw mut self.0) };
    }
}

/// `None` for FFmpeg's "no timestamp".
pub(crate) fn known(timestamp: i64) -> Option<i64> {
    (timestamp != i64::MIN).then_some(timestamp)
}
