//! Shapes of one sample and of windows that move over it.

/// Shape of one sample: `channels × height × width`. A vector of length n is `n × 1 × 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Number of channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl MapShape {
    /// A map of `channels × height × width`.
    #[must_use]
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Values per sample. Named so because a shape is never "empty" in the sense of `is_empty`.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Positions per channel, `height × width`.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }
}

impl std::fmt::Display for MapShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// What a value has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each sample of the batch.
    Sample,
    /// Each token of each sample; rows lie packed, see [`faculty_inputs::Tokens`].
    Token,
}

/// How many rows a batch has of either kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) samples: usize,
    /// 0 where samples are no texts.
    pub(crate) tokens: usize,
}

impl BatchSize {
    pub(crate) fn rows(self, per: Per) -> usize {
        match per {
            Per::Sample => self.samples,
            Per::Token => self.tokens,
        }
    }
}

/// A square window that moves over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Rows and columns added on every side; at most half the kernel.
    pub padding: usize,
}

/// The window of a convolution, in rows and columns each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvWindow {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Zeros on each side.
    pub(crate) padding: [usize; 2],
    /// Step between the positions that the kernel reads.
    pub(crate) dilation: [usize; 2],
}

impl From<Window> for ConvWindow {
    fn from(Window { kernel, stride, padding }: Window) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [1; 2] }
    }
}

impl ConvWindow {
    /// Rows and columns from the first position that the kernel reads to the last.
    pub(crate) fn span(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }
}
