//! What methods can refuse.

/// Result with this crate's [`MethodError`].
pub(crate) type Result<T> = std::result::Result<T, MethodError>;

/// A method that cannot be used so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A name that no method has.
    #[error("there is no method `{name}`")]
    Unknown {
        /// As given.
        name: String,
        /// A method of a similar name.
        near: Option<String>,
    },
    /// A method that cannot be registered.
    #[error("a method cannot be registered as `{name}`: {why}")]
    Name {
        /// As given.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// A term that cannot stand beside a method.
    #[error("the term of `{term}` cannot stand beside method `{method}`: {why}")]
    Combination {
        /// Name of the method.
        method: &'static str,
        /// Name of the term.
        term: &'static str,
        /// Why.
        why: &'static str,
    },
}
