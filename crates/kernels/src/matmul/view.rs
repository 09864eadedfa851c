//! Matrices inside slices.

use std::ops::Range;

use crate::sizes;

/// A matrix inside a slice: row-major, perhaps with rows further apart than they are long, perhaps
/// read transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    sizes: [usize; 2],
    /// Distance of two elements of a column, and of a row.
    strides: [usize; 2],
}

/// # Panics
/// If `data` is too short for rows `pitch` apart.
#[track_caller]
fn check(len: usize, [rows, columns]: [usize; 2], pitch: usize) {
    assert!(pitch >= columns, "rows of {columns} values cannot lie {pitch} apart");
    // Everything below stays within this product.
    sizes::elements([rows, pitch]);
    let need =
        if columns == 0 { 0 } else { rows.saturating_sub(1) * pitch + columns.min(rows * columns) };
    assert!(len >= need, "a matrix [{rows}, {columns}] needs {need} elements, {len} are there");
}

impl<'a> Matrix<'a> {
    /// The matrix `[rows, columns]` that fills `data`.
    ///
    /// # Panics
    /// If `data` has another length.
    #[track_caller]
    pub fn new(data: &'a [f32], sizes: [usize; 2]) -> Self {
        let (got, want) = (data.len(), sizes::elements(sizes));
        assert!(got == want, "a matrix {sizes:?} has {want} elements, not {got}");
        Self { data, sizes, strides: [sizes[1], 1] }
    }

    /// A matrix `[rows, columns]` whose rows begin `pitch` elements apart.
    ///
    /// # Panics
    /// If `data` is too short, or `pitch` is less than `columns`.
    #[track_caller]
    pub fn with_pitch(data: &'a [f32], sizes: [usize; 2], pitch: usize) -> Self {
        check(data.len(), sizes, pitch);
        Self { data, sizes, strides: [pitch, 1] }
    }

    /// The same elements with rows and columns exchanged; nothing is moved.
    #[must_use]
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.sizes, self.strides);
        Self { data: self.data, sizes: [columns, rows], strides: [column, row] }
    }

    /// Rows and columns.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        self.sizes
    }

    /// Whether columns, not rows, are contiguous.
    pub(crate) fn is_transposed(&self) -> bool {
        self.strides[1] != 1
    }

    /// The element of a row and a column.
    #[inline(always)]
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.strides[0] + column * self.strides[1]]
    }

    /// Rows and columns of these ranges.
    pub(crate) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.sizes[0] && columns.end <= self.sizes[1], "part lies outside");
        let sizes = [rows.len(), columns.len()];
        let start = rows.start * self.strides[0] + columns.start * self.strides[1];
        // An empty part may begin behind the data.
        let data = self.data.get(start..).unwrap_or(&[]);
        Self { data, sizes, strides: self.strides }
    }

    /// The contiguous elements of row `row` of a matrix that is not transposed.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.strides[0]..][..self.sizes[1]]
    }

    /// The elements and the distance of two rows.
    pub(crate) fn raw(&self) -> (&'a [f32], [usize; 2]) {
        (self.data, self.strides)
    }
}

/// A matrix inside a slice, to be written.
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    sizes: [usize; 2],
    pitch: usize,
}

impl<'a> MatrixMut<'a> {
    /// The matrix `[rows, columns]` that fills `data`.
    ///
    /// # Panics
    /// If `data` has another length.
    #[track_caller]
    pub fn new(data: &'a mut [f32], sizes: [usize; 2]) -> Self {
        Matrix::new(data, sizes);
        Self { data, sizes, pitch: sizes[1] }
    }

    /// A matrix `[rows, columns]` whose rows begin `pitch` elements apart.
    ///
    /// # Panics
    /// If `data` is too short, or `pitch` is less than `columns`.
    #[track_caller]
    pub fn with_pitch(data: &'a mut [f32], sizes: [usize; 2], pitch: usize) -> Self {
        check(data.len(), sizes, pitch);
        Self { data, sizes, pitch }
    }

    pub(crate) fn sizes(&self) -> [usize; 2] {
        self.sizes
    }

    pub(crate) fn pitch(&self) -> usize {
        self.pitch
    }

    pub(crate) fn into_slice(self) -> &'a mut [f32] {
        self.data
    }
}
