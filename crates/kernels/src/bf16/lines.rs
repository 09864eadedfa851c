//! Memory of bfloat16 values, aligned to cache lines.

use crate::scratch::Scratch;

/// Values of a line.
pub(super) const LINE: usize = 32;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u16; LINE]);

/// A buffer that keeps its memory when it becomes shorter.
#[derive(Clone, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    len: usize,
}

impl Lines {
    /// Makes room for `len` values, a multiple of a line. What was there is lost.
    pub(super) fn fit(&mut self, len: usize) {
        assert!(len.is_multiple_of(LINE), "{len} values are no whole lines");
        let need = len / LINE;
        if self.lines.len() < need {
            self.lines = Vec::new();
            self.lines = vec![Line([0; LINE]); need];
        }
        self.len = len;
    }

    /// Values there is memory for.
    pub(super) fn capacity(&self) -> usize {
        self.lines.len() * LINE
    }

    pub(super) fn values(&self) -> &[u16] {
        // SAFETY: a `Line` is 32 values without padding, and `fit` made sure of `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(super) fn values_mut(&mut self) -> &mut [u16] {
        // SAFETY: as in `values`; the vector is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Scratch memory of the thread, its content arbitrary.
pub(super) struct ScratchValues(Scratch);

impl ScratchValues {
    /// `len` values, a multiple of two.
    pub(super) fn take(len: usize) -> Self {
        Self(Scratch::take(len / 2))
    }

    pub(super) fn values(&self) -> &[u16] {
        // SAFETY: a float is two values; every pattern is one.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 2 * self.0.len()) }
    }

    pub(super) fn values_mut(&mut self) -> &mut [u16] {
        // SAFETY: as in `values`; and every pair of values is a float.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 2 * self.0.len()) }
    }
}
