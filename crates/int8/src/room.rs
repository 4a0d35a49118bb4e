//! Memory that oneDNN and the steps between its calls share.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// A line of the processor's cache, which vectors of AVX-512 fill.
const LINE: usize = 64;

/// Bytes that begin at a line of the cache and stay where they are.
///
/// oneDNN is told of the place; so nobody may hold a slice of it while a primitive runs, which the borrows of
/// [`Engine::run`](crate::library::Engine::run)'s callers see to: a slice lives within one step.
#[derive(Debug)]
pub(crate) struct Room {
    place: NonNull<u8>,
    size: usize,
}

impl Room {
    /// So many bytes, all zero.
    pub fn new(size: usize) -> Self {
        let layout = Self::layout(size);
        // SAFETY: the layout is not empty.
        let place = NonNull::new(unsafe { alloc_zeroed(layout) });
        let place = place.unwrap_or_else(|| handle_alloc_error(layout));
        Self { place, size }
    }

    /// With these bytes in it.
    pub fn of(bytes: &[u8]) -> Self {
        let mut room = Self::new(bytes.len());
        room.bytes_mut().copy_from_slice(bytes);
        room
    }

    /// With these numbers in it.
    pub fn of_floats(floats: &[f32]) -> Self {
        let mut room = Self::new(size_of_val(floats));
        room.floats_mut().copy_from_slice(floats);
        room
    }

    fn layout(size: usize) -> Layout {
        // A size that has no layout could not have been asked for either.
        Layout::from_size_align(size.max(1), LINE)
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<u8>()))
    }

    pub fn place(&self) -> NonNull<u8> {
        self.place
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are there, none of them uninitialised, and the borrow is that of the owner.
        unsafe { std::slice::from_raw_parts(self.place.as_ptr(), self.size) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.place.as_ptr(), self.size) }
    }

    pub fn floats(&self) -> &[f32] {
        // SAFETY: as above; a line is aligned for every number, and any bytes are a float.
        unsafe {
            std::slice::from_raw_parts(self.place.as_ptr().cast(), self.size / size_of::<f32>())
        }
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe {
            std::slice::from_raw_parts_mut(self.place.as_ptr().cast(), self.size / size_of::<f32>())
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.place.as_ptr(), Self::layout(self.size)) }
    }
}
