//! A head, and its logits block by block.

use crate::matmul::{Finish, Matrix, MatrixMut, matmul};
use crate::sizes;

/// Rows of a block.
pub(super) const ROWS: usize = 512;
/// Classes of a block.
pub(super) const CLASSES: usize = 2048;

/// The values before a head, and the head.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// `[rows, width]`
    pub hidden: &'a [f32],
    /// `[classes, width]`
    pub weight: &'a [f32],
    /// Values of a row.
    pub width: usize,
}

impl Head<'_> {
    pub(super) fn check(&self, whose: &str, rows: usize, classes: usize) {
        let (width, hidden, weight) = (self.width, self.hidden.len(), self.weight.len());
        let want = [rows, classes].map(|n| sizes::elements([n, width]));
        assert!(width > 0, "the head of {whose} has a width of 0");
        assert!(
            [hidden, weight] == want,
            "the head of {whose} has {hidden} and {weight} values, {want:?} expected for {rows} \
             rows, {classes} classes and a width of {width}"
        );
    }

    /// The logits of a block of rows and classes.
    pub(super) fn logits(&self, rows: [usize; 2], classes: [usize; 2], logits: &mut [f32]) {
        let ([row, rows], [class, classes]) = (rows, classes);
        let width = self.width;
        let hidden = Matrix::new(&self.hidden[row * width..][..rows * width], [rows, width]);
        let weight = &self.weight[class * width..][..classes * width];
        let weight = Matrix::new(weight, [classes, width]).transposed();
        matmul(hidden, weight, Finish::Store, MatrixMut::new(logits, [rows, classes]));
    }
}

/// Every label must be below the classes.
pub(super) fn check_labels(classes: usize, labels: &[u32]) {
    for (row, &label) in labels.iter().enumerate() {
        assert!(
            (label as usize) < classes,
            "label {label} of row {row} is not below {classes} classes"
        );
    }
}
