//! What can stop a learner before its first step.

use faculty_nets::Tap;

/// Result with this crate's [`LearnerError`].
pub(crate) type Result<T> = std::result::Result<T, LearnerError>;

/// A learner that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnerError {
    /// A device that this program was built without.
    #[error("this program was built without `{device}`")]
    DeviceNotBuilt {
        /// Its name in recipes.
        device: &'static str,
    },
    /// A method that reads what the student or a teacher does not have.
    #[error("the method reads {tap:?} of {whose}, which has none in epoch {epoch}")]
    AbsentTap {
        /// The place.
        tap: Tap,
        /// The student, or which teacher.
        whose: String,
        /// The first epoch in which it is read, from 1.
        epoch: usize,
    },
    /// Samples that cannot be prepared.
    #[error(transparent)]
    Data(#[from] faculty_data::DataError),
}
