//! What a name of the file stands for while its graph is read.

use std::sync::Arc;

use super::axes::Axes;
use super::model::{Data, Tensor};
use crate::parameter::ValueId;

/// Why a node cannot be read. Nothing is said where an earlier node is to blame.
#[derive(Debug)]
pub(super) struct Unread(pub(super) Option<String>);

impl From<String> for Unread {
    fn from(text: String) -> Self {
        Self(Some(text))
    }
}

impl From<&str> for Unread {
    fn from(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

pub(super) type Read<T> = Result<T, Unread>;

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) enum Symbol {
    /// A value of the graph.
    Value(ValueId, Axes),
    /// A constant of floats.
    Constant(Constant),
    /// Whole numbers: sizes, axes, positions. `None` is the size of the batch.
    Numbers(Vec<Option<i64>>),
    /// An earlier node that cannot be read makes it.
    Missing,
}

/// A constant under the name that a parameter made of it gets.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) name: String,
    /// As it lies in the file.
    pub(super) shape: Vec<usize>,
    pub(super) values: Arc<Vec<f32>>,
    /// Whether the file transposes it, a matrix, before it is read.
    pub(super) transposed: bool,
}

impl Symbol {
    /// A constant of the file.
    pub(super) fn constant(name: &str, tensor: &Tensor) -> Self {
        match &tensor.data {
            Data::Floats(values) => Self::Constant(Constant {
                name: name.to_owned(),
                shape: tensor.shape.clone(),
                values: Arc::clone(values),
                transposed: false,
            }),
            Data::Integers(values) => Self::Numbers(values.iter().copied().map(Some).collect()),
        }
    }
}

impl Constant {
    /// Its only number.
    pub(super) fn scalar(&self) -> Option<f32> {
        match self.values.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// Rows and columns as they are read.
    pub(super) fn matrix(&self) -> Read<[usize; 2]> {
        match (self.shape.as_slice(), self.transposed) {
            (&[rows, columns], false) | (&[columns, rows], true) => Ok([rows, columns]),
            (shape, _) => Err(format!("constant `{}` is {shape:?}, no matrix", self.name).into()),
        }
    }

    /// The values of a matrix with rows and columns exchanged against how it is read if `turned`, else
    /// as it is read.
    pub(super) fn rows(&self, turned: bool) -> Vec<f32> {
        if self.transposed == turned {
            return self.values.to_vec();
        }
        let columns = self.shape.get(1).copied().unwrap_or(1).max(1);
        let rows = self.values.len() / columns;
        (0..columns)
            .flat_map(|j| (0..rows).map(move |i| i * columns + j))
            .map(|at| self.values[at])
            .collect()
    }
}
