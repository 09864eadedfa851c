//! Help for the tests of all crates: folders of reference files, and comparison with tolerances.
//!
//! Reference files are safetensors with `in.*` inputs and `out.*` expected results; see
//! `docs/golden.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// A tensor of a reference file, as f32 (integers converted).
#[derive(Clone, Debug)]
pub struct Reference {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// One reference file.
#[derive(Clone, Debug)]
pub struct Case {
    /// File name without extension.
    pub name: String,
    /// Metadata: `case` and `params` among others.
    pub metadata: BTreeMap<String, String>,
    /// All tensors by name.
    pub tensors: BTreeMap<String, Reference>,
}

impl Case {
    /// Reads one file.
    ///
    /// # Panics
    /// When it is missing or damaged: a broken reference must fail its test.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let shown = path.display();
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let (_, header) =
            SafeTensors::read_metadata(&bytes).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let tensors = file
            .iter()
            .map(|(name, view)| {
                let values: Vec<f32> = match view.dtype() {
                    Dtype::F32 => decode(view.data(), f32::from_le_bytes),
                    Dtype::F64 => decode(view.data(), |b| f64::from_le_bytes(b) as f32),
                    Dtype::I64 => decode(view.data(), |b| i64::from_le_bytes(b) as f32),
                    Dtype::I32 => decode(view.data(), |b| i32::from_le_bytes(b) as f32),
                    other => panic!("{shown}: tensor `{name}` has type {other:?}"),
                };
                assert!(values.iter().all(|v| !v.is_nan()), "{shown}: tensor `{name}` holds NaN");
                (name.to_owned(), Reference { shape: view.shape().to_vec(), values })
            })
            .collect();
        Self {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            tensors,
        }
    }

    /// A tensor by name.
    ///
    /// # Panics
    /// When the file has no such tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> &Reference {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }

    /// A tensor's values.
    ///
    /// # Panics
    /// When the file has no such tensor.
    #[must_use]
    pub fn values(&self, name: &str) -> &[f32] {
        &self.tensor(name).values
    }

    /// A number of the metadata's JSON object `params`.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn param(&self, name: &str) -> f64 {
        let params = self.metadata.get("params").map_or("{}", String::as_str);
        let params: serde_json::Value = serde_json::from_str(params)
            .unwrap_or_else(|e| panic!("{}: metadata `params`: {e}", self.name));
        params[name].as_f64().unwrap_or_else(|| panic!("{}: no parameter `{name}`", self.name))
    }

    /// Compares `got` with the file's tensor `name`.
    ///
    /// # Errors
    /// The worst difference, in words, when it is out of tolerance.
    pub fn compare(&self, name: &str, got: &[f32], tolerance: Tolerance) -> Result<(), String> {
        compare(got, self.values(name), tolerance)
            .map_err(|problem| format!("{}: `{name}`: {problem}", self.name))
    }
}

fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)).collect()
}

/// Accepts `|got - want| ≤ relative · |want| + of_largest · max |want| + absolute`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tolerance {
    /// Share of the value itself.
    pub relative: f32,
    /// Share of the largest value of the tensor: rounding of a sum scales with its terms.
    pub of_largest: f32,
    /// Plain bound, for values that are zero in exact arithmetic.
    pub absolute: f32,
}

/// Compares two slices.
///
/// # Errors
/// The worst element and its bound, in words, or a difference in length.
pub fn compare(got: &[f32], want: &[f32], tolerance: Tolerance) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{} values, expected {}", got.len(), want.len()));
    }
    let largest = want.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let mut worst: Option<(f32, usize)> = None;
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let bound =
            tolerance.relative * want.abs() + tolerance.of_largest * largest + tolerance.absolute;
        let excess = (got - want).abs() / bound.max(f32::MIN_POSITIVE);
        // A NaN compares as no excess, so it is caught by its own test.
        if got.is_nan() || excess > worst.map_or(1.0, |(e, _)| e) {
            worst = Some((if got.is_nan() { f32::INFINITY } else { excess }, index));
        }
    }
    match worst {
        None => Ok(()),
        Some((excess, index)) => Err(format!(
            "index {index}: got {}, expected {}, {excess:.1} times the tolerance",
            got[index], want[index]
        )),
    }
}

/// Panics with the worst difference when two slices are not close.
///
/// # Panics
/// When out of tolerance.
pub fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: Tolerance) {
    if let Err(problem) = compare(got, want, tolerance) {
        panic!("{what}: {problem}");
    }
}

/// The folder of reference files named by the environment variable, else `default`.
///
/// Relative names count from the current folder and, since tests run in their crate's folder, from
/// the workspace's. `None` when the default does not exist; a folder that was asked for must.
///
/// # Panics
/// When the variable names a folder that does not exist.
#[must_use]
pub fn reference_folder(variable: &str, default: &Path) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match std::env::var_os(variable) {
        Some(named) => {
            let candidates = [PathBuf::from(&named), workspace.join(&named)];
            let found = candidates.into_iter().find(|folder| folder.is_dir());
            Some(found.unwrap_or_else(|| panic!("{variable}={}: no such folder", named.display())))
        }
        None => Some(workspace.join(default)).filter(|folder| folder.is_dir()),
    }
}

/// All files of a folder with the given extension, sorted.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catches_a_wrong_value_a_nan_and_a_length() {
        let tolerance = Tolerance { relative: 1e-3, ..Tolerance::default() };
        assert!(compare(&[1.0005], &[1.0], tolerance).is_ok());
        assert!(compare(&[1.002], &[1.0], tolerance).is_err());
        assert!(compare(&[f32::NAN], &[1.0], tolerance).is_err());
        assert!(compare(&[1.0, 1.0], &[1.0], tolerance).is_err());
    }
}
