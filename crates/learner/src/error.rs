//! What can stop a learner before its first step.

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
    /// Samples that cannot be prepared.
    #[error(transparent)]
    Data(#[from] faculty_data::DataError),
}
