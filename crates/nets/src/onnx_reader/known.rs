//! Small tensors whose numbers are known while the file is read.

use super::model::{Data, Tensor};

/// Numbers of a tensor that is computed; sizes and paddings have a few.
pub(super) const MOST: usize = 64;

/// A tensor of known numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// Whether they are whole by type, so that a quotient is cut off.
    pub(super) whole: bool,
}

impl Known {
    pub(super) fn new(shape: Vec<usize>, values: Vec<f64>, whole: bool) -> Option<Self> {
        let length = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
        (length == values.len() && length <= MOST).then_some(Self { shape, values, whole })
    }

    pub(super) fn of_tensor(tensor: &Tensor) -> Option<Self> {
        match &tensor.data {
            Data::Integers(values) if values.len() <= MOST => {
                let values = values.iter().map(|&value| value as f64).collect();
                Self::new(tensor.shape.clone(), values, true)
            }
            _ => None,
        }
    }

    pub(super) fn whole_numbers(&self) -> Option<Vec<i64>> {
        self.whole.then(|| self.values.iter().map(|&value| value as i64).collect())
    }

    /// With each number changed.
    pub(super) fn mapped(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.iter().map(|&value| change(value)).collect(), ..self.clone() }
    }
}
