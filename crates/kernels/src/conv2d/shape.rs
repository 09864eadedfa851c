//! The sizes of a convolution.

use crate::sizes;

/// The sizes of a convolution; see the [module](super) for the layout.
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
    pub(super) fn group_channels(&self) -> (usize, usize) {
        (self.in_channels / self.groups, self.out_channels / self.groups)
    }

    /// The images of one of `chunks` chunks; the first `batch % chunks` have one more.
    pub(super) fn chunk(&self, index: usize, chunks: usize) -> std::ops::Range<usize> {
        let (each, more) = (self.batch / chunks, self.batch % chunks);
        let start = index * each + index.min(more);
        start..start + each + usize::from(index < more)
    }

    pub(crate) fn check(&self) {
        if let Err(error) = self.validate() {
            panic!("{error} in {self:?}");
        }
    }
}

pub(crate) fn check_len(name: &str, got: usize, want: usize, shape: &Conv2dShape) {
    assert!(got == want, "`{name}` has {got} elements, {want} expected for {shape:?}");
}
