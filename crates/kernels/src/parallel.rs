//! What the parallel loops share: a pointer that tasks may carry, and the block size of
//! elementwise passes.

use std::marker::PhantomData;

/// A mutable slice whose disjoint parts several tasks write.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]`, which may be sent; `part` makes callers promise that no
// two tasks use the same element.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    /// Takes over `slice` for its lifetime.
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements `from .. from + len`.
    ///
    /// # Safety
    /// No other part that is alive overlaps this one.
    pub(crate) unsafe fn part(&self, from: usize, len: usize) -> &'a mut [f32] {
        assert!(from <= self.len && len <= self.len - from, "part lies outside the slice");
        // SAFETY: inside the slice by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }

    /// A pointer to element `from`, behind which `reach` elements were checked to lie; for parts
    /// that are not contiguous.
    pub(crate) fn start_of(&self, from: usize, reach: usize) -> *mut f32 {
        assert!(from <= self.len && reach <= self.len - from, "reaches out of the slice");
        // SAFETY: inside the slice by the assertion.
        unsafe { self.start.add(from) }
    }
}

/// Elements one task of an elementwise pass handles: 64 KiB, large against the cost of a task
/// (about a microsecond), small against a cache.
pub(crate) const ELEMENTS_PER_TASK: usize = 16 * 1024;
