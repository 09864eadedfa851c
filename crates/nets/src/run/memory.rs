//! One piece of memory for all values of a run, planned ahead: values that are never in use at the
//! same time share the same floats.
//!
//! Sizes are per sample or per token, so that one plan serves every batch size: values of samples lie
//! in one piece, those of tokens in another behind it.

use std::ops::Range;

use crate::shape::{BatchSize, Per};

/// Floats that parts are aligned to, a cache line.
const LINE: usize = 16;

/// A value that needs memory from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Floats per row.
    pub(crate) len: usize,
    pub(crate) per: Per,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Where each value lies.
#[derive(Debug, Default)]
pub(crate) struct MemoryPlan {
    /// Offset and length per row, and of what.
    parts: Vec<(usize, usize, Per)>,
    /// Floats per sample, and per token.
    totals: [usize; 2],
}

impl MemoryPlan {
    /// Places the spans, largest first, each into the smallest gap that fits between those placed
    /// before and in use at the same time.
    pub(crate) fn new(spans: &[Span]) -> Self {
        let mut order: Vec<usize> = (0..spans.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(spans[i].len));
        let mut parts = vec![(0, 0, Per::Sample); spans.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut totals = [0; 2];
        for index in order {
            let span = spans[index];
            let len = span.len.next_multiple_of(LINE);
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&other| {
                    spans[other].per == span.per
                        && spans[other].first <= span.last
                        && span.first <= spans[other].last
                })
                .map(|&other| (parts[other].0, spans[other].len.next_multiple_of(LINE)))
                .collect();
            taken.sort_unstable();
            let (mut end, mut best) = (0, None);
            for (offset, taken_len) in taken {
                let gap = offset.saturating_sub(end);
                if gap >= len && best.is_none_or(|(best_gap, _)| gap < best_gap) {
                    best = Some((gap, end));
                }
                end = end.max(offset + taken_len);
            }
            let offset = best.map_or(end, |(_, at)| at);
            parts[index] = (offset, span.len, span.per);
            let total = &mut totals[span.per as usize];
            *total = (*total).max(offset + len);
            placed.push(index);
        }
        Self { parts, totals }
    }

    /// The floats of a value at a batch size. An empty value lies at the start, where it overlaps
    /// nothing.
    pub(crate) fn range(&self, value: usize, size: BatchSize) -> Range<usize> {
        match self.parts[value] {
            (_, 0, _) => 0..0,
            (offset, len, per) => {
                let rows = size.rows(per);
                let start = match per {
                    Per::Sample => 0,
                    Per::Token => self.totals[0] * size.samples,
                };
                start + offset * rows..start + (offset + len) * rows
            }
        }
    }

    /// Floats of everything at a batch size.
    pub(crate) fn floats(&self, size: BatchSize) -> usize {
        let [samples, tokens] = self.totals;
        samples.saturating_mul(size.samples).saturating_add(tokens.saturating_mul(size.tokens))
    }
}

/// The memory of a plan, aligned to a cache line. Content stays until it is overwritten.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    floats: Vec<f32>,
}

impl Memory {
    /// Makes room for `len` floats. Growing starts afresh, without a copy of the old content.
    pub(crate) fn fit(&mut self, len: usize) {
        let room = len + LINE;
        if self.floats.len() < room {
            self.floats = Vec::new();
            self.floats = vec![0.0; room];
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.floats.capacity() * size_of::<f32>()
    }

    fn start(&self) -> usize {
        // An alignment that cannot be reached costs speed only.
        self.floats.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE)
    }

    /// One part.
    pub(crate) fn part(&self, range: Range<usize>) -> &[f32] {
        let start = self.start();
        &self.floats[start + range.start..start + range.end]
    }

    /// Parts that do not overlap, as a plan makes them.
    pub(crate) fn parts<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
        let start = self.start();
        let ranges = ranges.map(|range| match range.is_empty() {
            true => 0..0,
            false => start + range.start..start + range.end,
        });
        self.floats
            .get_disjoint_mut(ranges)
            .expect("values in use at the same time lie apart and inside the memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_use_at_the_same_time_lie_apart() {
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            ((state >> 33) % below) as usize
        };
        let spans: Vec<Span> = (0..200)
            .map(|_| {
                let first = next(50);
                let per = [Per::Sample, Per::Token][next(2)];
                Span { len: next(100), per, first, last: first + next(10) }
            })
            .collect();
        let plan = MemoryPlan::new(&spans);
        for (samples, tokens) in [(1, 0), (1, 1), (3, 20)] {
            let size = BatchSize { samples, tokens };
            for (i, a) in spans.iter().enumerate() {
                let range = plan.range(i, size);
                assert!(range.len() == a.len * size.rows(a.per) && range.end <= plan.floats(size));
                for (j, b) in spans.iter().enumerate().take(i) {
                    let other = plan.range(j, size);
                    let together = a.first <= b.last && b.first <= a.last;
                    let overlap = range.start < other.end && other.start < range.end;
                    assert!(!(together && overlap), "{a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain = |per| (0..10).map(move |i| Span { len: 64, per, first: i, last: i + 1 });
        let spans: Vec<Span> = chain(Per::Sample).chain(chain(Per::Token)).collect();
        let size = BatchSize { samples: 1, tokens: 7 };
        assert_eq!(MemoryPlan::new(&spans).floats(size), 8 * 128);
    }
}
