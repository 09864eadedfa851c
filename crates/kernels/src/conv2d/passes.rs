//! Which windows of a channels-last image make which outputs.
//!
//! The forward pass is one pass over all output positions. The gradient by the input at stride `s`
//! falls into `s × s` phases of input positions; each is a stride-1 convolution of the output
//! gradient with the taps that meet this phase, turned.

use super::pack::Border;
use super::shape::Conv2dShape;

/// A convolution of the packed image for one set of output positions.
pub(super) struct Pass {
    /// Rows of the window.
    pub(super) rows: usize,
    /// Floats from one row of the window to the next.
    pub(super) row_stride: usize,
    /// Floats of one row of the window.
    pub(super) run: usize,
    /// The index in the kernel of every tap of the window.
    pub(super) taps: Vec<usize>,
    /// Where the window of every position starts, ascending.
    pub(super) windows: Vec<usize>,
    /// The position of the output plane each one is, ascending.
    pub(super) targets: Vec<usize>,
}

impl Pass {
    /// Asserts what the kernels rely on when they check the last window and the last target only.
    fn checked(self) -> Self {
        assert!(self.windows.is_sorted() && self.targets.is_sorted(), "positions out of order");
        self
    }

    /// A window of one row without taps, for matrix products.
    #[inline(always)]
    pub(super) fn row(run: usize) -> Self {
        let (taps, windows, targets) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows: 1, row_stride: 0, run, taps, windows, targets }
    }

    /// Floats of a window.
    #[inline(always)]
    pub(super) fn depth(&self) -> usize {
        self.rows * self.run
    }
}

/// All passes of a convolution and the border their source needs.
pub(super) struct Passes {
    pub(super) border: Border,
    pub(super) passes: Vec<Pass>,
}

impl Passes {
    /// The forward pass, over the input with `pitch` floats a position.
    pub(super) fn forward(shape: &Conv2dShape, pitch: usize) -> Self {
        let [kernel_rows, kernel_columns] = shape.kernel;
        let border = Border {
            top: shape.padding[0],
            left: shape.padding[1],
            rows: shape.in_height + 2 * shape.padding[0],
            columns: shape.in_width + 2 * shape.padding[1],
            pitch,
        };
        let (height, width) = (shape.out_height(), shape.out_width());
        let [down, across] = shape.stride;
        let window = |p: usize, q: usize| (p * down * border.columns + q * across) * pitch;
        let pass = Pass {
            rows: kernel_rows,
            row_stride: border.columns * pitch,
            run: kernel_columns * pitch,
            taps: (0..kernel_rows * kernel_columns).collect(),
            windows: (0..height * width).map(|p| window(p / width, p % width)).collect(),
            targets: (0..height * width).collect(),
        };
        Self { border, passes: vec![pass.checked()] }
    }

    /// The gradient by the input, over the output gradient with `pitch` floats a position.
    pub(super) fn input_grad(shape: &Conv2dShape, pitch: usize) -> Self {
        let [kernel_rows, kernel_columns] = shape.kernel;
        let (height, width) = (shape.out_height(), shape.out_width());
        let row_phases = phases(shape.in_height, kernel_rows, shape.stride[0], shape.padding[0]);
        let column_phases =
            phases(shape.in_width, kernel_columns, shape.stride[1], shape.padding[1]);
        let (top, bottom) = margins(&row_phases, height);
        let (left, right) = margins(&column_phases, width);
        let border =
            Border { top, left, rows: height + top + bottom, columns: width + left + right, pitch };
        let row_stride = border.columns * pitch;
        let mut passes = Vec::new();
        for rows in &row_phases {
            for columns in &column_phases {
                let empty = rows.taps.is_empty() || columns.taps.is_empty();
                let taps = (rows.taps.iter())
                    .flat_map(|&i| columns.taps.iter().map(move |&j| i * kernel_columns + j));
                let positions = (rows.positions.iter())
                    .flat_map(|&row| columns.positions.iter().map(move |&column| (row, column)));
                let (mut windows, mut targets) = (Vec::new(), Vec::new());
                for ((y, p), (x, q)) in positions {
                    targets.push(y * shape.in_width + x);
                    // With no taps nothing is read, and `p` may lie anywhere.
                    let (p, q) = (p + top as isize, q + left as isize);
                    let window = p as usize * row_stride + q as usize * pitch;
                    windows.push(if empty { 0 } else { window });
                }
                let pass = Pass {
                    rows: if empty { 0 } else { rows.taps.len() },
                    row_stride,
                    run: columns.taps.len() * pitch,
                    taps: taps.collect(),
                    windows,
                    targets,
                };
                passes.push(pass.checked());
            }
        }
        Self { border, passes }
    }
}

/// The taps, in ascending order of the output position they meet, and the input positions of one
/// phase of one axis.
struct Phase {
    /// Kernel indices, descending.
    taps: Vec<usize>,
    /// Input positions, and for each the output position of its first tap (may lie outside).
    positions: Vec<(usize, isize)>,
}

fn phases(input: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Phase> {
    let phase = |first: usize| {
        let phase = (first + padding) % stride;
        let taps: Vec<usize> = (phase..kernel).step_by(stride).rev().collect();
        let positions = (first..input)
            .step_by(stride)
            .map(|i| (i, ((i + padding - phase) / stride) as isize - (taps.len() as isize - 1)));
        Phase { positions: positions.collect(), taps }
    };
    // Those that have a position: a stride may be larger than the input.
    (0..input.min(stride)).map(phase).collect()
}

/// Zeros needed before and after an axis of `output` positions for all `phases` of it.
fn margins(phases: &[Phase], output: usize) -> (usize, usize) {
    let used = phases.iter().filter(|phase| !phase.taps.is_empty());
    used.fold((0, 0), |(before, after), phase| {
        let first = phase.positions.first().map_or(0, |p| p.1);
        let end = phase.positions.last().map_or(0, |p| p.1 + phase.taps.len() as isize);
        let behind = (end - output as isize).max(0) as usize;
        (before.max((-first).max(0) as usize), after.max(behind))
    })
}
