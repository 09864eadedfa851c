//! How far a teacher's classes are from those of the data.
//!
//! ```text
//! cosine   M[i, j] = 1 - cos(a_i, e_j)     a_i: row of the teacher's classifier, or an embedding
//!                                          e_j: its mean pooled vector of class j, or an embedding
//! named    M[i, j] = 0                     where both have one name, or the recipe says so
//! scaled   M / max M
//! ```
//! A file gives M itself, or embeddings of both class lists, of whatever model.

use std::path::{Path, PathBuf};

use faculty_nets::weights::{self, Array};

/// A file of class costs that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassCostError {
    /// What it says.
    #[error("class cost file `{}`: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] faculty_nets::Error),
}

impl ClassCostError {
    /// How to fix it, if there is a way worth naming.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Content { .. } => Some(
                "give `cost` [its classes, the data's], or embeddings `teacher` and `data`, a row \
                 for each class"
                    .to_owned(),
            ),
            Self::Read(error) => error.hint(),
        }
    }
}

type Result<T> = std::result::Result<T, ClassCostError>;

/// One teacher's costs, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassCost {
    teacher_classes: usize,
    values: Vec<f64>,
}

impl ClassCost {
    /// From costs of at least 0, row-major `[teacher_classes, classes]`. `same` names for each of the
    /// teacher's classes those of the data that it is; they cost nothing. The largest cost becomes 1.
    ///
    /// # Panics
    /// If there is not one value for each pair of classes, or not one list for each class of the teacher.
    #[must_use]
    pub fn new(teacher_classes: usize, mut values: Vec<f64>, same: &[Vec<usize>]) -> Self {
        assert!(
            teacher_classes > 0 && values.len().is_multiple_of(teacher_classes),
            "whole rows of costs"
        );
        assert_eq!(same.len(), teacher_classes, "one list for each of the teacher's classes");
        let classes = values.len() / teacher_classes;
        for (row, same) in values.chunks_exact_mut(classes.max(1)).zip(same) {
            same.iter().for_each(|&class| row[class] = 0.0);
        }
        let largest = values.iter().copied().fold(0.0, f64::max);
        if largest > 0.0 {
            values.iter_mut().for_each(|value| *value /= largest);
        }
        Self { teacher_classes, values }
    }

    /// `1 - cos` between rows of `teacher` and of `data`, both of vectors of length `width`, as the
    /// values of [`ClassCost::new`]. A vector of zeros is at right angles to all others.
    ///
    /// # Panics
    /// If `width` is 0.
    #[must_use]
    pub fn cosines(teacher: &[f64], data: &[f64], width: usize) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let cost = |a: &[f64], b: &[f64]| {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            // Rounding must not make a cost negative.
            if norms > 0.0 { (1.0 - dot(a, b) / norms).max(0.0) } else { 1.0 }
        };
        teacher
            .chunks_exact(width)
            .flat_map(|a| data.chunks_exact(width).map(move |b| cost(a, b)))
            .collect()
    }

    /// Costs between the classes of a teacher and those of the data from a safetensors file: `cost`
    /// `[teacher_classes, classes]`, or embeddings `teacher` `[teacher_classes, n]` and `data`
    /// `[classes, n]`.
    ///
    /// # Errors
    /// When it cannot be read, or holds neither for these numbers of classes.
    pub fn read(path: &Path, teacher_classes: usize, classes: usize) -> Result<Vec<f64>> {
        let wrong = |reason: String| ClassCostError::Content { path: path.to_owned(), reason };
        let (state, _) = match weights::read_safetensors(path) {
            Ok(read) => read,
            Err(error @ faculty_nets::Error::Read { .. }) => return Err(error.into()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        if state.values().flat_map(|array| &array.values).any(|value| !value.is_finite()) {
            return Err(wrong("it holds a NaN or an infinity".to_owned()));
        }
        let wide = |array: &Array| array.values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let shaped = |name: &str, array: &Array, rows: usize, columns: usize| {
            if array.shape == [rows, columns] {
                return Ok(());
            }
            let found = &array.shape;
            Err(wrong(format!("`{name}` has shape {found:?}, [{rows}, {columns}] is needed")))
        };
        match (state.get("cost"), state.get("teacher"), state.get("data")) {
            (Some(cost), ..) => {
                shaped("cost", cost, teacher_classes, classes)?;
                if let Some(value) = cost.values.iter().find(|value| **value < 0.0) {
                    return Err(wrong(format!("`cost` holds {value}, which is below 0")));
                }
                Ok(wide(cost))
            }
            (None, Some(teacher), Some(data)) => {
                let width = data.shape.last().copied().unwrap_or(0).max(1);
                shaped("teacher", teacher, teacher_classes, width)?;
                shaped("data", data, classes, width)?;
                Ok(Self::cosines(&wide(teacher), &wide(data), width))
            }
            _ => Err(wrong("it has neither `cost` nor `teacher` and `data`".to_owned())),
        }
    }

    /// Classes of the teacher.
    #[must_use]
    pub fn teacher_classes(&self) -> usize {
        self.teacher_classes
    }

    /// Classes of the data.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.values.len() / self.teacher_classes
    }

    /// Row-major `[teacher_classes, classes]`.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// `σ(z)` in f64.
#[must_use]
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|z| f64::from(z - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use faculty_nets::weights::StateDict;

    use super::*;

    fn file(arrays: &[(&str, [usize; 2], &[f32])]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cost.safetensors");
        let array = |&(name, shape, values): &(&str, [usize; 2], &[f32])| {
            (name.to_owned(), Array { shape: shape.to_vec(), values: values.to_vec() })
        };
        let state: StateDict = arrays.iter().map(array).collect();
        weights::write(&path, &state, &std::collections::BTreeMap::new()).unwrap();
        (folder, path)
    }

    #[test]
    fn costs_are_cosine_distances_scaled_with_named_pairs_at_nothing() {
        let teacher = [1.0, 0.0, 0.0, 2.0];
        let data = [3.0, 0.0, -1.0, 0.0, 1.0, 1.0];
        let raw = ClassCost::cosines(&teacher, &data, 2);
        let near = 1.0 - 0.5_f64.sqrt();
        for (got, want) in raw.iter().zip([0.0, 2.0, near, 1.0, 1.0, near]) {
            assert!((got - want).abs() < 1e-12, "{raw:?}");
        }
        let cost = ClassCost::new(2, raw, &[vec![], vec![1]]);
        assert_eq!((cost.teacher_classes(), cost.classes()), (2, 3));
        for (got, want) in cost.values().iter().zip([0.0, 1.0, near / 2.0, 0.5, 0.0, near / 2.0]) {
            assert!((got - want).abs() < 1e-12, "{cost:?}");
        }
        assert_eq!(ClassCost::cosines(&[0.0, 0.0], &[1.0, 0.0], 2), [1.0]);
    }

    #[test]
    fn files_give_costs_or_embeddings_of_the_right_size() {
        let (_folder, path) = file(&[("cost", [2, 1], &[0.25, 4.0])]);
        assert_eq!(ClassCost::read(&path, 2, 1).unwrap(), [0.25, 4.0]);
        let error = ClassCost::read(&path, 3, 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`cost` has shape [2, 1], [3, 1] is needed"), "{text}");
        assert!(error.hint().is_some());
        let rows: &[f32] = &[1.0, 0.0, 0.0, 1.0];
        let (_folder, path) = file(&[("teacher", [2, 2], rows), ("data", [1, 2], &rows[..2])]);
        assert_eq!(ClassCost::read(&path, 2, 1).unwrap(), [0.0, 1.0]);
        assert!(ClassCost::read(&path, 2, 2).is_err());
        for arrays in [("cost", [1, 1], &[-1.0][..]), ("cost", [1, 1], &[f32::NAN][..])] {
            let (_folder, path) = file(&[arrays]);
            assert!(ClassCost::read(&path, 1, 1).is_err());
        }
        let (_folder, path) = file(&[("other", [1, 1], &[1.0])]);
        let text = ClassCost::read(&path, 1, 1).unwrap_err().to_string();
        assert!(text.contains("neither `cost` nor"), "{text}");
    }
}
