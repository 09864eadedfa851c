//! The backward pass of one sample and key head.

use super::forward::{KEYS, add_bias};
use super::mask::{Mask, near, within};
use super::panels::{as_columns, as_left, as_rows};
use super::shape::{AttentionShape, RelativeBias, Samples};
use crate::isa::Kernel;
use crate::matmul::tile::{BLOCK, PITCH, Panels, Target, strided_strip, strip};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::special::exp;

/// Queries handled at once, the depth of the products for keys and values; 48 KiB of scores.
const ROWS: usize = 48;

/// What the forward pass read and gave, and the gradient by its output.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) query: &'a [f32],
    pub(crate) key: &'a [f32],
    pub(crate) value: &'a [f32],
    pub(crate) output: &'a [f32],
    pub(crate) lse: &'a [f32],
    pub(crate) output_grad: &'a [f32],
}

/// One sample and key head.
pub(super) struct Task<'a> {
    pub(super) shape: &'a AttentionShape,
    pub(super) samples: &'a Samples<'a>,
    pub(super) bias: Option<&'a RelativeBias<'a>>,
    pub(super) inputs: Inputs<'a>,
    /// The gradients, all 0 before.
    pub(super) query: SharedMut<'a>,
    pub(super) key: SharedMut<'a>,
    pub(super) value: SharedMut<'a>,
    /// `[samples, heads, distances]`
    pub(super) bias_sums: SharedMut<'a>,
    pub(super) sample: usize,
    pub(super) kv_head: usize,
}

/// `left · right` over a number of rows, strip by strip, with left elements `(row, k)` at
/// `left + row * ROW + k * STEP`.
///
/// # Safety
/// As for [`strided_strip`], for all rows.
#[inline(always)]
unsafe fn product<S: Simd, const ROW: usize, const STEP: usize>(
    simd: S,
    rows: usize,
    left: *const f32,
    depth: usize,
    panels: Panels,
    target: Target,
) {
    let mut at = 0;
    while at < rows {
        let tall = strip::<S>(rows - at);
        // SAFETY: the caller's promise.
        unsafe {
            let target = Target { start: target.start.add(at * target.pitch), ..target };
            strided_strip::<S, ROW, STEP>(simd, tall, left.add(at * ROW), depth, panels, target);
        }
        at += tall;
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &AttentionShape { heads, kv_heads, width, .. } = self.shape;
        let mask = Mask::new(self.shape, self.samples, self.sample);
        let (queries, keys) = (self.samples.queries(self.sample), self.samples.keys(self.sample));
        let kv_pitch = kv_heads * width;
        let padded = width.next_multiple_of(S::LANES);
        let mut key_columns = Scratch::take(KEYS * width);
        let mut key_rows = Scratch::take(KEYS * padded);
        let mut value_columns = Scratch::take(KEYS * width);
        let mut buffers = Buffers {
            scores: Scratch::take(ROWS * PITCH),
            grads: Scratch::take(ROWS * PITCH),
            left: Scratch::take(ROWS * PITCH),
            right: Scratch::take(ROWS * padded),
        };
        let all = mask.seen_by(0..queries.len());
        for start in (all.start / KEYS * KEYS..all.end).step_by(KEYS) {
            let block = start..keys.len().min(start + KEYS);
            let from = (keys.start + block.start) * kv_pitch + self.kv_head * width;
            let sizes = [block.len(), width];
            as_columns(simd, &self.inputs.key[from..], kv_pitch, sizes, &mut key_columns);
            as_rows(simd, &self.inputs.key[from..], kv_pitch, sizes, &mut key_rows);
            as_columns(simd, &self.inputs.value[from..], kv_pitch, sizes, &mut value_columns);
            for head in 0..heads / kv_heads {
                let head = self.kv_head * (heads / kv_heads) + head;
                for first in (0..queries.len()).step_by(ROWS) {
                    let rows = first..queries.len().min(first + ROWS);
                    let panels = [&key_columns[..], &key_rows[..], &value_columns[..]];
                    self.queries(simd, mask, head, rows, &block, panels, &mut buffers);
                }
            }
        }
    }
}

/// Memory of a task.
struct Buffers {
    /// Scores, then probabilities.
    scores: Scratch,
    /// Gradients by the probabilities, then by the scores.
    grads: Scratch,
    /// Queries or output gradients as rows of a left factor.
    left: Scratch,
    /// The same as rows of a right factor.
    right: Scratch,
}

impl Task<'_> {
    /// Some queries of one head against one block of keys.
    #[inline(always)]
    fn queries<S: Simd>(
        &self,
        simd: S,
        mask: Mask,
        head: usize,
        rows: std::ops::Range<usize>,
        block: &std::ops::Range<usize>,
        [key_columns, key_rows, value_columns]: [&[f32]; 3],
        buffers: &mut Buffers,
    ) {
        let some = within(&mask.seen_by(rows.clone()), block);
        if some.is_empty() {
            return;
        }
        let &AttentionShape { heads, kv_heads, width, scale, .. } = self.shape;
        let (pitch, kv_pitch) = (heads * width, kv_heads * width);
        let tall = rows.len();
        let row = self.samples.queries(self.sample).start + rows.start;
        let from = row * pitch + head * width;
        // Whole panels, since the last one of the block alone may be narrower.
        let panel = BLOCK * S::LANES;
        let start = some.start / panel * panel;
        let columns = some.end.next_multiple_of(panel).min(block.len()) - start;
        let Buffers { scores, grads, left, right } = buffers;
        let across = |panels: &[f32]| Panels {
            // In range: `start` is a key of the block, whose panels are packed.
            start: panels[start * width..].as_ptr(),
            depth: width,
            first: 0,
            columns,
        };
        let inside =
            |to: &mut Scratch| Target { start: to.as_mut_ptr(), pitch: PITCH, adds: false };

        as_left(&self.inputs.query[from..], pitch, [tall, width], scale, left);
        // SAFETY: `left` has `tall` rows, the panels the columns, the scores `tall` rows of a
        // block's keys.
        unsafe {
            product::<S, PITCH, 1>(
                simd,
                tall,
                left.as_ptr(),
                width,
                across(key_columns),
                inside(scores),
            );
        }
        as_left(&self.inputs.output_grad[from..], pitch, [tall, width], 1.0, left);
        // SAFETY: likewise.
        unsafe {
            product::<S, PITCH, 1>(
                simd,
                tall,
                left.as_ptr(),
                width,
                across(value_columns),
                inside(grads),
            );
        }
        let total = self.samples.query_rows();
        for r in 0..tall {
            let seen = within(&mask.seen(rows.start + r), block);
            let scores = &mut scores[r * PITCH..][..columns];
            let grads = &mut grads[r * PITCH..][..columns];
            let (a, b) =
                if seen.is_empty() { (0, 0) } else { (seen.start - start, seen.end - start) };
            for hidden in [0..a, b..columns] {
                scores[hidden.clone()].fill(0.0);
                grads[hidden].fill(0.0);
            }
            if seen.is_empty() {
                continue;
            }
            let (scores, grads) = (&mut scores[a..b], &mut grads[a..b]);
            let at = mask.position(rows.start + r);
            let keys = block.start + seen.start..block.start + seen.end;
            if let Some(bias) = self.bias {
                add_bias(bias, head, at, &keys, scores);
            }
            let lse = self.inputs.lse[head * total + row + r];
            let from = from + r * pitch;
            let (y, g) = (&self.inputs.output[from..][..width], &left[r * PITCH..][..width]);
            let delta = dot(y, g);
            for (s, d) in scores.iter_mut().zip(&mut *grads) {
                let p = exp::<S>(*s - lse);
                *s = p;
                *d = p * (*d - delta);
            }
            if let Some(bias) = self.bias {
                let distances = bias.distances();
                let sums = (self.sample * heads + head) * distances;
                // SAFETY: the sample and head of this task alone.
                let sums = unsafe { self.bias_sums.part(sums, distances) };
                add_by_distance(bias.reach, at, &keys, grads, sums);
            }
            for d in grads {
                *d *= scale;
            }
        }

        // By queries: d · keys.
        let by_query = self.query.start_of(from, (tall - 1) * pitch + width);
        let by_key = (self.samples.keys(self.sample).start + block.start + start) * kv_pitch
            + self.kv_head * width;
        let reach = (columns - 1) * kv_pitch + width;
        let value_target = self.value.start_of(by_key, reach);
        let key_target = self.key.start_of(by_key, reach);
        let panels =
            Panels { start: key_rows.as_ptr(), depth: block.len(), first: start, columns: width };
        let target = Target { start: by_query, pitch, adds: true };
        // SAFETY: `grads` has `tall` rows, the panels the block's keys from `start`; the target was
        // checked, and is this task's head alone.
        unsafe { product::<S, PITCH, 1>(simd, tall, grads.as_ptr(), columns, panels, target) };
        // By values: pᵀ · output gradients. By keys: dᵀ · queries.
        for (source, factor, target) in [
            (self.inputs.output_grad, &*scores, value_target),
            (self.inputs.query, &*grads, key_target),
        ] {
            as_rows(simd, &source[from..], pitch, [tall, width], right);
            let panels = Panels { start: right.as_ptr(), depth: tall, first: 0, columns: width };
            let target = Target { start: target, pitch: kv_pitch, adds: true };
            // SAFETY: `factor` has `columns` of `tall` rows, the panels `tall` rows; the target was
            // checked, and is this task's key head alone.
            unsafe { product::<S, 1, PITCH>(simd, columns, factor.as_ptr(), tall, panels, target) };
        }
    }
}

/// Inner product by 32 lanes.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 32];
    let ((left, left_rest), (right, right_rest)) =
        (left.as_chunks::<32>(), right.as_chunks::<32>());
    for (left, right) in left.iter().zip(right) {
        for i in 0..32 {
            lanes[i] += left[i] * right[i];
        }
    }
    for ((lane, left), right) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += left * right;
    }
    crate::elementwise::tree(lanes)
}

/// Adds the gradients of the keys `seen` by a query at position `at` to their distances.
#[inline(always)]
fn add_by_distance(
    reach: usize,
    at: isize,
    seen: &std::ops::Range<usize>,
    grads: &[f32],
    sums: &mut [f32],
) {
    let (a, b) = near(seen, at, reach);
    let start = seen.start;
    sums[0] += grads[..a - start].iter().sum::<f32>();
    if a < b {
        let first = (a as isize - at + reach as isize) as usize;
        for (sum, d) in sums[first..].iter_mut().zip(&grads[a - start..b - start]) {
            *sum += d;
        }
    }
    let last = sums.len() - 1;
    sums[last] += grads[b - start..].iter().sum::<f32>();
}
