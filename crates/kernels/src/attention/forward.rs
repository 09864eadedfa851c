//! The forward pass of one sample, head and block of queries.

use super::mask::{Mask, near, within};
use super::panels::{as_columns, as_left, as_rows};
use super::shape::{AttentionShape, RelativeBias, Samples};
use crate::isa::Kernel;
use crate::matmul::tile::{PITCH, Panels, Target, strip, strip_of_tiles};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::special::exp;

/// Queries of a task, which share the packing of the keys.
pub(super) const QUERIES: usize = 240;
/// Keys of a block: what a row of the left factor holds.
pub(super) const KEYS: usize = PITCH;
/// Queries whose scores are made at once: two or four strips, 24 KiB.
const ROWS: usize = 24;

/// One sample, head and block of queries.
pub(super) struct Task<'a> {
    pub(super) shape: &'a AttentionShape,
    pub(super) samples: &'a Samples<'a>,
    pub(super) bias: Option<&'a RelativeBias<'a>>,
    pub(super) query: &'a [f32],
    pub(super) key: &'a [f32],
    pub(super) value: &'a [f32],
    pub(super) output: SharedMut<'a>,
    pub(super) lse: SharedMut<'a>,
    pub(super) sample: usize,
    pub(super) head: usize,
    /// The first query, within the sample.
    pub(super) first: usize,
}

/// Adds the bias of `head` to the scores of the keys `seen` by a query at position `at`.
#[inline(always)]
pub(super) fn add_bias(
    bias: &RelativeBias<'_>,
    head: usize,
    at: isize,
    seen: &std::ops::Range<usize>,
    scores: &mut [f32],
) {
    let distances = bias.distances();
    let values = &bias.values[head * distances..][..distances];
    let (a, b) = near(seen, at, bias.reach);
    let start = seen.start;
    for s in &mut scores[..a - start] {
        *s += values[0];
    }
    if a < b {
        // Between, the distance is at least -reach.
        let first = (a as isize - at + bias.reach as isize) as usize;
        for (s, value) in scores[a - start..b - start].iter_mut().zip(&values[first..]) {
            *s += value;
        }
    }
    for s in &mut scores[b - start..] {
        *s += values[distances - 1];
    }
}

/// The largest of some scores, by sixteen lanes.
#[inline(always)]
fn largest(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = scores.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    for (lane, &s) in lanes.iter_mut().zip(rest) {
        *lane = if s > *lane { s } else { *lane };
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces scores by `exp(score - base)` and gives their sum, by 32 lanes.
#[inline(always)]
fn exponentials<S: Simd>(scores: &mut [f32], base: f32) -> f32 {
    let mut lanes = [0.0_f32; 32];
    let (chunks, rest) = scores.as_chunks_mut::<32>();
    for chunk in chunks {
        for i in 0..32 {
            chunk[i] = exp::<S>(chunk[i] - base);
            lanes[i] += chunk[i];
        }
    }
    for (lane, s) in lanes.iter_mut().zip(rest) {
        *s = exp::<S>(*s - base);
        *lane += *s;
    }
    crate::elementwise::tree(lanes)
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &AttentionShape { heads, kv_heads, width, scale, .. } = self.shape;
        let mask = Mask::new(self.shape, self.samples, self.sample);
        let (queries, keys) = (self.samples.queries(self.sample), self.samples.keys(self.sample));
        let rows = QUERIES.min(queries.len() - self.first);
        let first_row = queries.start + self.first;
        let kv_head = self.head / (heads / kv_heads);
        let (pitch, kv_pitch) = (heads * width, kv_heads * width);
        let mut query = Scratch::take(rows * PITCH);
        let from = &self.query[first_row * pitch + self.head * width..];
        as_left(from, pitch, [rows, width], scale, &mut query);
        let mut key_panels = Scratch::take(KEYS * width);
        let mut value_panels = Scratch::take(KEYS * width.next_multiple_of(S::LANES));
        let mut scores = Scratch::take(ROWS * PITCH);
        let (mut maxima, mut sums) = ([f32::NEG_INFINITY; QUERIES], [0.0_f32; QUERIES]);
        let start_of = |row: usize| (first_row + row) * pitch + self.head * width;
        for row in 0..rows {
            // SAFETY: the row and head of this task alone; the part ends here.
            unsafe { self.output.part(start_of(row), width) }.fill(0.0);
        }
        let all = mask.seen_by(self.first..self.first + rows);
        for block in (all.start / KEYS * KEYS..all.end).step_by(KEYS) {
            let block = block..keys.len().min(block + KEYS);
            let from = (keys.start + block.start) * kv_pitch + kv_head * width;
            let sizes = [block.len(), width];
            as_columns(simd, &self.key[from..], kv_pitch, sizes, &mut key_panels);
            as_rows(simd, &self.value[from..], kv_pitch, sizes, &mut value_panels);
            for row in (0..rows).step_by(ROWS) {
                let tall = ROWS.min(rows - row);
                let query_of = |row: usize| self.first + row;
                let some = mask.seen_by(query_of(row)..query_of(row + tall));
                let some = within(&some, &block);
                if some.is_empty() {
                    continue;
                }
                // Whole panels, since the last one of the block alone may be narrower.
                let panel = crate::matmul::tile::BLOCK * S::LANES;
                let start = some.start / panel * panel;
                let end = some.end.next_multiple_of(panel).min(block.len());
                let mut at = 0;
                while at < tall {
                    let strip = strip::<S>(tall - at);
                    // SAFETY: `query` has `PITCH` floats for each row, the panels all keys of
                    // the block from `start`, and `scores` `PITCH` floats for each row.
                    unsafe {
                        strip_of_tiles(
                            simd,
                            strip,
                            query.as_ptr().add((row + at) * PITCH),
                            width,
                            Panels {
                                start: key_panels.as_ptr().add(start * width),
                                depth: width,
                                first: 0,
                                columns: end - start,
                            },
                            Target {
                                start: scores.as_mut_ptr().add(at * PITCH),
                                pitch: PITCH,
                                adds: false,
                            },
                        );
                    }
                    at += strip;
                }
                for r in 0..tall {
                    let query = query_of(row + r);
                    let seen = within(&mask.seen(query), &block);
                    let scores = &mut scores[r * PITCH..][..end - start];
                    if seen.is_empty() {
                        scores.fill(0.0);
                        continue;
                    }
                    scores[..seen.start - start].fill(0.0);
                    scores[seen.end - start..].fill(0.0);
                    let own = &mut scores[seen.start - start..seen.end - start];
                    if let Some(bias) = self.bias {
                        let keys = block.start + seen.start..block.start + seen.end;
                        add_bias(bias, self.head, mask.position(query), &keys, own);
                    }
                    let before = maxima[row + r];
                    let max = before.max(largest(own));
                    let base = if max == f32::NEG_INFINITY { 0.0 } else { max };
                    let sum = exponentials::<S>(own, base);
                    let shrunk = exp::<S>(before - base);
                    maxima[row + r] = max;
                    sums[row + r] = sums[row + r] * shrunk + sum;
                    if shrunk != 1.0 {
                        // SAFETY: as above.
                        for y in unsafe { self.output.part(start_of(row + r), width) } {
                            *y *= shrunk;
                        }
                    }
                }
                let mut at = 0;
                while at < tall {
                    let strip = strip::<S>(tall - at);
                    let reach = (strip - 1) * pitch + width;
                    let target = self.output.start_of(start_of(row + at), reach);
                    // SAFETY: `scores` has `PITCH` floats for each row, the panels the block's
                    // keys from `start`; the target was checked, and is this task's alone.
                    unsafe {
                        strip_of_tiles(
                            simd,
                            strip,
                            scores.as_ptr().add(at * PITCH),
                            end - start,
                            Panels {
                                start: value_panels.as_ptr(),
                                depth: block.len(),
                                first: start,
                                columns: width,
                            },
                            Target { start: target, pitch, adds: true },
                        );
                    }
                    at += strip;
                }
            }
        }
        let total = self.samples.query_rows();
        // SAFETY: the head and rows of this task alone.
        let lse = unsafe { self.lse.part(self.head * total + first_row, rows) };
        for row in 0..rows {
            let (max, sum) = (maxima[row], sums[row]);
            lse[row] = max + sum.ln();
            let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            // SAFETY: as above.
            for y in unsafe { self.output.part(start_of(row), width) } {
                *y *= factor;
            }
        }
    }
}
