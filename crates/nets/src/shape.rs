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
