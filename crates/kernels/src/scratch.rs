//! Scratch memory that stays with its thread.
//!
//! Fresh allocations of megabytes come from the kernel as unmapped pages, and faulting them in
//! costs as much as a small convolution; so buffers are kept and handed out again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// One cache line: gives the buffers their alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this thread, given back when dropped. Its content is whatever was left there.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` floats, aligned to 64 bytes, with arbitrary content.
    pub(crate) fn take(len: usize) -> Self {
        let need = len.div_ceil(16);
        let mut lines = POOL
            .with_borrow_mut(|pool| {
                // The smallest that fits, so that large ones stay for those who need them.
                let fits = (0..pool.len()).filter(|&i| pool[i].len() >= need);
                let best = fits.min_by_key(|&i| pool[i].len());
                best.map(|i| pool.swap_remove(i)).or_else(|| pool.pop())
            })
            .unwrap_or_default();
        if lines.len() < need {
            // Not `resize`: that would copy the old content.
            lines = vec![Line([0.0; 16]); need];
        }
        Self { lines, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // While a thread ends, its pool may be gone already; then the buffer is just freed.
        let _ = POOL.try_with(|pool| pool.borrow_mut().push(lines));
    }
}

impl Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        floats(&self.lines, self.len)
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        floats_mut(&mut self.lines, self.len)
    }
}

/// The first `len` floats of some lines.
fn floats(lines: &[Line], len: usize) -> &[f32] {
    assert!(len <= 16 * lines.len(), "the lines end early");
    // SAFETY: `Line` is sixteen floats without padding, and there are enough by the assertion.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), len) }
}

/// The same to be written.
fn floats_mut(lines: &mut [Line], len: usize) -> &mut [f32] {
    assert!(len <= 16 * lines.len(), "the lines end early");
    // SAFETY: as in `floats`; the lines are borrowed mutably.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) }
}

/// Floats from a cache line on that stay where they are.
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); len.div_ceil(16)], len }
    }
}

impl Deref for Aligned {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        floats(&self.lines, self.len)
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        floats_mut(&mut self.lines, self.len)
    }
}
