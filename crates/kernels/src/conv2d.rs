//! Two-dimensional convolution (cross-correlation, as every deep learning library means it) and
//! its gradients.
//!
//! ```text
//! y[b,o,p,q] = bias[o] + sum_{c,i,j} x[b, c, p*s0 + i - p0, q*s1 + j - p1] * w[o,c,i,j]
//! ```
//! with zeros outside `x`; with `groups` g, output channel `o` sees the input channels of its own
//! g-th part only.
//!
//! # Shapes
//! input `[batch, in_channels, height, width]`, weight `[out_channels, in_channels / groups,
//! kernel, kernel]`, output `[batch, out_channels, out_height, out_width]`, all contiguous.
//!
//! # Paths
//! 3 × 3 kernels at stride 1 go through Winograd's algorithm where it takes less work, one channel
//! per group through a kernel of its own, all else through a direct convolution. The shape alone
//! decides. Each path works on a channels-last copy of an image.
//!
//! # Error
//! `f32` sums with fused multiply-adds. The error stays below 4e-6 of the sum of absolute products
//! (the tests hold every path to that), and below 5e-6 of the largest output at 256 channels;
//! Winograd makes about twice the rounding error of the direct sum.
//!
//! A NaN or infinity in an input makes every output that depends on it NaN or infinite; on the
//! Winograd path also the other outputs of its 4 × 4 tile, and infinities become NaN.
//!
//! # Threads
//! Images are spread over rayon's current pool. Weight gradients are summed over a number of
//! image chunks that depends on the shape only and then added in order, so results do not depend
//! on the number of threads.

mod depthwise;
mod direct;
mod pack;
mod passes;
pub mod scalar;
#[cfg(test)]
mod tests;
mod weight_grad;
mod winograd;

use rayon::prelude::*;

use crate::isa::Isa;
use crate::sizes;

/// The sizes of a convolution; see the [module](self) for the layout.
///
/// ```
/// use faculty_kernels::conv2d::Conv2dShape;
/// let shape = Conv2dShape {
///     batch: 1,
///     in_channels: 3,
///     in_height: 32,
///     in_width: 32,
///     out_channels: 16,
///     kernel: [3, 3],
///     stride: [2, 2],
///     padding: [1, 1],
///     groups: 1,
/// };
/// shape.validate().unwrap();
/// assert_eq!((shape.out_height(), shape.out_width()), (16, 16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Rows of the input.
    pub in_height: usize,
    /// Columns of the input.
    pub in_width: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Zeros added at each side, in rows and columns.
    pub padding: [usize; 2],
    /// Parts the channels are cut into; 1 for a full convolution.
    pub groups: usize,
}

/// Why a [`Conv2dShape`] is no convolution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conv2dShapeError {
    /// A kernel, stride or group count of 0.
    #[error("`{name}` is 0, it must be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// The groups do not divide the channels.
    #[error("{groups} groups do not divide {channels} `{name}`")]
    Groups {
        /// The field that is not divisible.
        name: &'static str,
        /// Its channels.
        channels: usize,
        /// The groups asked for.
        groups: usize,
    },
    /// The kernel is larger than the padded input.
    #[error("a kernel of {kernel} does not fit into {size} padded {name}")]
    KernelTooLarge {
        /// `rows` or `columns`.
        name: &'static str,
        /// Kernel size.
        kernel: usize,
        /// Input size with padding.
        size: usize,
    },
    /// An array of this convolution has more elements than a slice can.
    #[error("the {name} has more elements than memory can hold")]
    TooLarge {
        /// `padded input`, `weight` or `output`.
        name: &'static str,
    },
}

impl Conv2dShape {
    /// Checks that the sizes describe a convolution. An empty batch or no channels are allowed.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn validate(&self) -> Result<(), Conv2dShapeError> {
        let zero = |name| Err(Conv2dShapeError::Zero { name });
        if self.kernel.contains(&0) {
            return zero("kernel");
        }
        if self.stride.contains(&0) {
            return zero("stride");
        }
        if self.groups == 0 {
            return zero("groups");
        }
        let groups = self.groups;
        for (name, channels) in
            [("in_channels", self.in_channels), ("out_channels", self.out_channels)]
        {
            if !channels.is_multiple_of(groups) {
                return Err(Conv2dShapeError::Groups { name, channels, groups });
            }
        }
        for (axis, name, input) in [(0, "rows", self.in_height), (1, "columns", self.in_width)] {
            let size = sizes::padded(input, self.padding[axis])
                .ok_or(Conv2dShapeError::TooLarge { name: "padded input" })?;
            let kernel = self.kernel[axis];
            if kernel > size {
                return Err(Conv2dShapeError::KernelTooLarge { name, kernel, size });
            }
        }
        let [rows, columns] =
            [0, 1].map(|axis| [self.in_height, self.in_width][axis] + 2 * self.padding[axis]);
        // The copies that the paths work on have their channels rounded up to whole vectors.
        let lanes = |channels: usize| channels.checked_next_multiple_of(16);
        let image = |channels: usize, [rows, columns]: [usize; 2]| {
            sizes::checked_elements([self.batch, lanes(channels)?, rows, columns])
        };
        let weight = || {
            let (inputs, outputs) = self.group_channels();
            let [rows, columns] = self.kernel;
            sizes::checked_elements([self.groups, inputs, lanes(outputs)?, rows, columns])
        };
        let arrays = [
            ("padded input", image(self.in_channels, [rows, columns])),
            ("output", image(self.out_channels, [self.out_height(), self.out_width()])),
            ("weight", weight()),
        ];
        match arrays.into_iter().find(|(_, len)| len.is_none()) {
            Some((name, _)) => Err(Conv2dShapeError::TooLarge { name }),
            None => Ok(()),
        }
    }

    fn out(&self, axis: usize) -> usize {
        let input = [self.in_height, self.in_width][axis];
        sizes::windows(input, self.kernel[axis], self.stride[axis], self.padding[axis])
            .unwrap_or_else(|| panic!("{self:?} is no convolution"))
    }

    /// Rows of the output.
    ///
    /// # Panics
    /// This and all counts below: if the shape is not [valid](Self::validate).
    pub fn out_height(&self) -> usize {
        self.out(0)
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        self.out(1)
    }

    /// Elements of one input image.
    pub fn input_image_len(&self) -> usize {
        sizes::elements([self.in_channels, self.in_height, self.in_width])
    }

    /// Elements of one output image.
    pub fn output_image_len(&self) -> usize {
        sizes::elements([self.out_channels, self.out_height(), self.out_width()])
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        sizes::elements([self.batch, self.in_channels, self.in_height, self.in_width])
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> usize {
        let [rows, columns] = self.kernel;
        sizes::elements([self.out_channels, self.in_channels / self.groups, rows, columns])
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        sizes::elements([self.batch, self.out_channels, self.out_height(), self.out_width()])
    }

    /// Floating-point operations of one pass (a fused multiply-add is two); at most `usize::MAX`.
    pub fn flops(&self) -> usize {
        let each = self.weight_len() / self.out_channels.max(1);
        self.output_len().saturating_mul(each).saturating_mul(2)
    }

    /// Input and output channels of a group.
    fn group_channels(&self) -> (usize, usize) {
        (self.in_channels / self.groups, self.out_channels / self.groups)
    }

    /// The images of one of `chunks` chunks; the first `batch % chunks` have one more.
    fn chunk(&self, index: usize, chunks: usize) -> std::ops::Range<usize> {
        let (each, more) = (self.batch / chunks, self.batch % chunks);
        let start = index * each + index.min(more);
        start..start + each + usize::from(index < more)
    }

    fn check(&self) {
        if let Err(error) = self.validate() {
            panic!("{error} in {self:?}");
        }
    }
}

fn check_len(name: &str, got: usize, want: usize, shape: &Conv2dShape) {
    assert!(got == want, "`{name}` has {got} elements, {want} expected for {shape:?}");
}

/// What is done to a sum before it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    relu: bool,
}

/// Convolution; the formula and layout are the [module](self)'s.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d(
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    conv2d_fused(shape, input, weight, bias, None, false, output);
}

/// Convolution for inference: `output = [relu](conv(input) + bias [+ residual])` in one pass;
/// `residual` has the shape of the output.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_fused(
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    relu: bool,
    output: &mut [f32],
) {
    forward_on(Isa::active(), shape, input, weight, Epilogue { bias, residual, relu }, output);
}

/// Gradient by the input: `input_grad` is overwritten with the adjoint of the convolution applied
/// to `output_grad`.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_input_grad(
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    input_grad_on(Isa::active(), shape, weight, output_grad, input_grad);
}

/// Gradient by the weight, summed over the batch; `weight_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_weight_grad(
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    weight_grad_on(Isa::active(), shape, input, output_grad, weight_grad);
}

/// Gradient by the bias: `output_grad` summed over batch, rows and columns. Planes are summed in
/// `f32` by lanes, the planes' sums in `f64`.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_bias_grad(shape: &Conv2dShape, output_grad: &[f32], bias_grad: &mut [f32]) {
    shape.check();
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("bias_grad", bias_grad.len(), shape.out_channels, shape);
    let plane = shape.out_height() * shape.out_width();
    bias_grad.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        let planes = (0..shape.batch).map(|image| {
            let start = (image * shape.out_channels + channel) * plane;
            f64::from(crate::elementwise::sum(&output_grad[start..start + plane]))
        });
        *sum = planes.sum::<f64>() as f32;
    });
}

pub(crate) fn forward_on(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    shape.check();
    check_len("input", input.len(), shape.input_len(), shape);
    check_len("weight", weight.len(), shape.weight_len(), shape);
    check_len("output", output.len(), shape.output_len(), shape);
    if let Some(bias) = epilogue.bias {
        check_len("bias", bias.len(), shape.out_channels, shape);
    }
    if let Some(residual) = epilogue.residual {
        check_len("residual", residual.len(), shape.output_len(), shape);
    }
    if output.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::forward(isa, shape, input, weight, epilogue, output);
    } else if winograd::is_cheaper(shape) {
        winograd::forward(isa, shape, input, weight, epilogue, output);
    } else {
        direct::forward(isa, shape, input, weight, epilogue, output);
    }
}

pub(crate) fn input_grad_on(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    shape.check();
    check_len("weight", weight.len(), shape.weight_len(), shape);
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("input_grad", input_grad.len(), shape.input_len(), shape);
    if input_grad.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::input_grad(isa, shape, weight, output_grad, input_grad);
    } else if winograd::is_cheaper(shape) {
        winograd::input_grad(isa, shape, weight, output_grad, input_grad);
    } else {
        direct::input_grad(isa, shape, weight, output_grad, input_grad);
    }
}

pub(crate) fn weight_grad_on(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    shape.check();
    check_len("input", input.len(), shape.input_len(), shape);
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("weight_grad", weight_grad.len(), shape.weight_len(), shape);
    if weight_grad.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::weight_grad(isa, shape, input, output_grad, weight_grad);
    } else if shape.batch > 0 && winograd::is_cheaper(shape) {
        winograd::weight_grad::weight_grad(isa, shape, input, output_grad, weight_grad);
    } else {
        weight_grad::weight_grad(isa, shape, input, output_grad, weight_grad);
    }
}
