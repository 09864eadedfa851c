//! Files of a run's student, and the file that `student.weights` means.

use std::path::{Path, PathBuf};

use faculty_nets::EncoderFolder;

/// The result of a run, in its folder.
pub(crate) const STUDENT_FILE: &str = "student.safetensors";
/// The tokenizer of a student that reads texts, beside it.
pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";

/// The file that `student.weights` means: of a run's folder that of its student, of a text encoder's
/// that of its weights.
pub(crate) fn weight_file(path: &Path) -> PathBuf {
    let student = path.join(STUDENT_FILE);
    match path.is_dir() {
        true if student.is_file() => student,
        true => EncoderFolder::weights_in(path).unwrap_or_else(|_| path.to_owned()),
        false => path.to_owned(),
    }
}
