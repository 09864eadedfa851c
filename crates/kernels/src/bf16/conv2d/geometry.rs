//! Which source positions make which target position, for the forward pass and for the gradient by
//! the input alike.

use crate::conv2d::Conv2dShape;

/// Index in the kernel and source position of everything that one target position of an axis reads.
pub(super) type Taps = Vec<(usize, usize)>;

/// Two columns of the target that read the same taps, those that lie outside excepted.
pub(super) struct Pair {
    /// The second is missing where the columns are odd in number.
    pub(super) columns: [Option<usize>; 2],
    /// Index in the kernel, and source column of each.
    pub(super) taps: Vec<(usize, [Option<usize>; 2])>,
}

/// The positions of one convolution.
pub(super) struct Geometry {
    /// Height and width of the source and of the target.
    pub(super) source: [usize; 2],
    pub(super) target: [usize; 2],
    /// For each row of the target.
    pub(super) rows: Vec<Taps>,
    /// All columns of the target.
    pub(super) pairs: Vec<Pair>,
    /// Columns of the kernel.
    pub(super) kernel_columns: usize,
}

impl Geometry {
    /// The forward pass: from the input to the output.
    pub(super) fn forward(shape: &Conv2dShape) -> Self {
        let axis = |input: usize, output: usize, which: usize| -> Vec<Taps> {
            let [kernel, stride, padding] =
                [shape.kernel[which], shape.stride[which], shape.padding[which]];
            let taps = |position: usize| {
                let source = move |tap: usize| (position * stride + tap).checked_sub(padding);
                (0..kernel).filter_map(move |tap| Some((tap, source(tap)?)))
            };
            (0..output).map(|p| taps(p).filter(|tap| tap.1 < input).collect()).collect()
        };
        let (source, target) =
            ([shape.in_height, shape.in_width], [shape.out_height(), shape.out_width()]);
        let columns = axis(source[1], target[1], 1);
        Self {
            source,
            target,
            rows: axis(source[0], target[0], 0),
            pairs: pairs(&columns, 1),
            kernel_columns: shape.kernel[1],
        }
    }

    /// The gradient by the input: from the output to the input.
    pub(super) fn input_grad(shape: &Conv2dShape) -> Self {
        let axis = |input: usize, output: usize, which: usize| -> Vec<Taps> {
            let [kernel, stride, padding] =
                [shape.kernel[which], shape.stride[which], shape.padding[which]];
            let taps = |position: usize| {
                (0..kernel).rev().filter_map(move |tap| {
                    let from = (position + padding).checked_sub(tap)?;
                    (from.is_multiple_of(stride)).then_some((tap, from / stride))
                })
            };
            (0..input).map(|p| taps(p).filter(|tap| tap.1 < output).collect()).collect()
        };
        let (source, target) =
            ([shape.out_height(), shape.out_width()], [shape.in_height, shape.in_width]);
        let columns = axis(target[1], source[1], 1);
        Self {
            source,
            target,
            rows: axis(target[0], source[0], 0),
            pairs: pairs(&columns, shape.stride[1]),
            kernel_columns: shape.kernel[1],
        }
    }
}

/// Pairs columns that are `step` apart.
fn pairs(columns: &[Taps], step: usize) -> Vec<Pair> {
    let phases = (0..step.min(columns.len())).map(|first| (first..columns.len()).step_by(step));
    let mut pairs = Vec::with_capacity(columns.len().div_ceil(2));
    for phase in phases {
        let phase: Vec<usize> = phase.collect();
        for two in phase.chunks(2) {
            let mut taps: Vec<(usize, [Option<usize>; 2])> = Vec::new();
            for (which, &column) in two.iter().enumerate() {
                for &(tap, source) in &columns[column] {
                    match taps.iter_mut().find(|other| other.0 == tap) {
                        Some(both) => both.1[which] = Some(source),
                        None => {
                            let mut sources = [None; 2];
                            sources[which] = Some(source);
                            taps.push((tap, sources));
                        }
                    }
                }
            }
            // The order of the sum must not depend on which of the two has a tap.
            taps.sort_unstable_by_key(|tap| tap.0);
            pairs.push(Pair { columns: [Some(two[0]), two.get(1).copied()], taps });
        }
    }
    pairs
}
