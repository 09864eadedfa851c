//! Pooling and its gradients, with PyTorch's conventions.
//!
//! Every function works on planes: batch and channels are one axis. Windows are whole (no
//! `ceil_mode`), so padding must be at most half the kernel. Planes are spread over rayon's
//! current pool and each is computed by one task, so results do not depend on the number of
//! threads.

mod adaptive;
mod average;
mod global;
mod max;
#[cfg(test)]
mod tests;

pub use adaptive::{AdaptiveShape, adaptive_avg_pool2d, adaptive_avg_pool2d_backward};
pub use average::{avg_pool2d, avg_pool2d_backward};
pub use global::{global_avg_pool, global_avg_pool_backward};
pub use max::{max_pool2d, max_pool2d_backward};

use crate::parallel::ELEMENTS_PER_TASK;
use crate::sizes;

/// The sizes of a pooling with windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Batch times channels.
    pub planes: usize,
    /// Rows of the input.
    pub in_height: usize,
    /// Columns of the input.
    pub in_width: usize,
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Padding at each side, in rows and columns; at most half the kernel.
    pub padding: [usize; 2],
}

impl PoolShape {
    fn out(&self, axis: usize, input: usize) -> usize {
        sizes::windows(input, self.kernel[axis], self.stride[axis], self.padding[axis])
            .unwrap_or_else(|| panic!("{self:?} is no pooling"))
    }

    /// Rows of the output.
    ///
    /// # Panics
    /// This and all counts below: if the shape is no pooling.
    pub fn out_height(&self) -> usize {
        self.out(0, self.in_height)
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        self.out(1, self.in_width)
    }

    /// Elements of one input plane.
    pub fn in_plane(&self) -> usize {
        sizes::elements([self.in_height, self.in_width])
    }

    /// Elements of one output plane.
    pub fn out_plane(&self) -> usize {
        sizes::elements([self.out_height(), self.out_width()])
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        sizes::elements([self.planes, self.in_height, self.in_width])
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        sizes::elements([self.planes, self.out_height(), self.out_width()])
    }

    fn check(&self, input: usize, output: usize) {
        for axis in 0..2 {
            let (kernel, padding) = (self.kernel[axis], self.padding[axis]);
            let size = [self.in_height, self.in_width][axis];
            assert!(kernel > 0 && self.stride[axis] > 0, "a kernel or stride of 0 in {self:?}");
            assert!(size > 0, "planes without elements in {self:?}");
            assert!(padding <= kernel / 2, "more padding than half the kernel in {self:?}");
            let fits = sizes::padded(size, padding).is_some_and(|size| kernel <= size);
            assert!(fits, "kernel larger than the input in {self:?}");
        }
        check_len("input", input, self.input_len());
        check_len("output", output, self.output_len());
    }

    /// The columns of the window that are inside the input for some output column.
    fn window_columns(&self) -> std::ops::Range<usize> {
        let padding = self.padding[1];
        let last = (self.out_width() - 1) * self.stride[1];
        padding.saturating_sub(last)..self.kernel[1].min(self.in_width + padding)
    }

    /// The output columns whose window has its column `j` inside the input.
    fn columns_inside(&self, j: usize) -> std::ops::Range<usize> {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let start = padding.saturating_sub(j).div_ceil(stride);
        let end = (self.in_width + padding).saturating_sub(j).div_ceil(stride);
        start..end.clamp(start, self.out_width())
    }

    /// The input column under column `j` of the window of output column `q`.
    fn column(&self, q: usize, j: usize) -> Option<usize> {
        let column = (q * self.stride[1] + j).checked_sub(self.padding[1]);
        column.filter(|&column| column < self.in_width)
    }

    /// The input rows (axis 0) or columns (axis 1) of an output index, without the padding.
    fn window(&self, axis: usize, index: usize) -> std::ops::Range<usize> {
        let size = [self.in_height, self.in_width][axis];
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]);
        start.saturating_sub(self.padding[axis])..end.min(size)
    }
}

fn check_len(name: &str, got: usize, want: usize) {
    assert!(got == want, "`{name}` has {got} elements, {want} expected");
}

/// Planes of `len` elements one task handles.
pub(crate) fn planes_per_task(len: usize) -> usize {
    (ELEMENTS_PER_TASK / len.max(1)).max(1)
}
