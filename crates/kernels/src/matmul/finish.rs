//! What becomes of a product.

use super::view::Matrix;
use crate::activation::Activation;
use crate::parallel::SharedMut;
use crate::simd::Simd;
use crate::sizes;

/// What [`matmul`](super::matmul) does with the product. All matrices are as large as the output
/// and contiguous; a bias has a value for each column.
pub enum Finish<'a> {
    /// `output = product`
    Store,
    /// `output += product`
    Add,
    /// `output = product + bias`
    Bias {
        /// `[columns]`
        bias: &'a [f32],
    },
    /// `output = activation(product + bias)`
    Activate {
        /// `[columns]`
        bias: &'a [f32],
        /// The function.
        activation: Activation,
        /// Gets what the activation was applied to, `[rows, columns]`: its gradient needs it.
        before: Option<&'a mut [f32]>,
    },
    /// `output = product + bias + residual`
    Residual {
        /// `[columns]`
        bias: Option<&'a [f32]>,
        /// `[rows, columns]`
        residual: &'a [f32],
    },
}

/// A [`Finish`] with its lengths checked.
pub(crate) struct Finisher<'a> {
    columns: usize,
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    before: Option<SharedMut<'a>>,
    residual: Option<Matrix<'a>>,
}

impl<'a> Finisher<'a> {
    /// # Panics
    /// If a length does not fit an output of `sizes`.
    pub(crate) fn new(finish: Finish<'a>, [rows, columns]: [usize; 2]) -> Self {
        let mut this = Self { columns, bias: None, activation: None, before: None, residual: None };
        match finish {
            Finish::Store | Finish::Add => {}
            Finish::Bias { bias } => this.bias = Some(bias),
            Finish::Activate { bias, activation, before } => {
                this.bias = Some(bias);
                this.activation = Some(activation);
                if let Some(before) = &before {
                    let (got, want) = (before.len(), sizes::elements([rows, columns]));
                    assert!(got == want, "`before` has {got} elements, {want} expected");
                }
                this.before = before.map(SharedMut::new);
            }
            Finish::Residual { bias, residual } => {
                this.bias = bias;
                let (got, want) = (residual.len(), sizes::elements([rows, columns]));
                assert!(got == want, "`residual` has {got} elements, {want} expected");
                this.residual = Some(Matrix::new(residual, [rows, columns]));
            }
        }
        if let Some(bias) = this.bias {
            let got = bias.len();
            assert!(got == columns, "`bias` has {got} elements, {columns} expected");
        }
        this
    }

    /// Finishes `values`, the products of a row from a column on. No two calls that run at the same
    /// time may be given the same elements.
    #[inline(always)]
    pub(crate) fn row<S: Simd>(&self, [row, column]: [usize; 2], values: &mut [f32]) {
        let len = values.len();
        if let Some(bias) = self.bias {
            for (y, b) in values.iter_mut().zip(&bias[column..][..len]) {
                *y += b;
            }
        }
        if let Some(before) = &self.before {
            // SAFETY: elements of this call alone, by the function's condition; the output of
            // a product is cut into tasks that share none.
            let before = unsafe { before.part(row * self.columns + column, len) };
            before.copy_from_slice(values);
        }
        if let Some(activation) = self.activation {
            activation.replace::<S>(values);
        }
        if let Some(residual) = &self.residual {
            for (y, add) in values.iter_mut().zip(&residual.row(row)[column..][..len]) {
                *y += add;
            }
        }
    }
}
