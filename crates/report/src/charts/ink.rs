//! Who is drawn in which colour.

/// Colour of the student where teachers stand beside it.
pub(super) const STUDENT: usize = 0;
/// Colour of what is not in question.
pub(super) const BESIDE: usize = 7;

/// A teacher's colour and its mark for filters.
pub(super) fn teacher_ink(at: usize) -> (usize, String) {
    (1 + at % 6, format!("teacher-{at}"))
}
