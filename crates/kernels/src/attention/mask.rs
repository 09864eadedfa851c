//! Which keys a query sees, and how far away they are.

use std::ops::Range;

use super::shape::{AttentionShape, Samples};

/// What the queries of one sample see.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    causal: bool,
    /// More than any distance if there is no window.
    window: usize,
    /// Keys less queries.
    shift: isize,
    keys: usize,
}

impl Mask {
    pub(super) fn new(shape: &AttentionShape, samples: &Samples<'_>, sample: usize) -> Self {
        // Offsets count rows of slices, so they fit `isize`.
        let shift = samples.keys(sample).len() as isize - samples.queries(sample).len() as isize;
        let window = shape.window.unwrap_or(usize::MAX).min(isize::MAX as usize / 4);
        Self { causal: shape.causal, window, shift, keys: samples.visible_keys(sample) }
    }

    /// The position of a query among the keys; below 0 if there are fewer keys.
    #[inline(always)]
    pub(super) fn position(&self, query: usize) -> isize {
        query as isize + self.shift
    }

    /// The keys that a query sees.
    #[inline(always)]
    pub(super) fn seen(&self, query: usize) -> Range<usize> {
        let (at, window, keys) = (self.position(query), self.window as isize, self.keys as isize);
        let end = if self.causal { at + 1 } else { at + window };
        let end = end.clamp(0, keys);
        let start = (at - window + 1).clamp(0, end);
        start as usize..end as usize
    }

    /// The keys that one or more of these queries see, and perhaps some between.
    #[inline(always)]
    pub(super) fn seen_by(&self, queries: Range<usize>) -> Range<usize> {
        if queries.is_empty() {
            return 0..0;
        }
        // Both ends grow with the query.
        self.seen(queries.start).start..self.seen(queries.end - 1).end
    }
}

/// Split of `range` inside `block`, relative to the block's start.
#[inline(always)]
pub(super) fn within(range: &Range<usize>, block: &Range<usize>) -> Range<usize> {
    let start = range.start.clamp(block.start, block.end);
    let end = range.end.clamp(start, block.end);
    start - block.start..end - block.start
}

/// The ends of the keys `range` that are at a distance of `-reach` or less, between, and `reach` or
/// more from position `at`: `range.start..a`, `a..b`, `b..range.end`.
#[inline(always)]
pub(super) fn near(range: &Range<usize>, at: isize, reach: usize) -> (usize, usize) {
    let reach = reach.min(isize::MAX as usize / 4) as isize;
    let (start, end) = (range.start as isize, range.end as isize);
    let a = (at - reach).clamp(start, end);
    let b = (at + reach + 1).clamp(a, end);
    (a as usize, b as usize)
}
