//! The texts of a training step.

use faculty_inputs::Tokens;

use crate::speculative::SpeculativeCounts;

/// The texts of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBatch {
    /// The texts.
    pub tokens: Tokens,
    /// Whether the token behind each is to be predicted, `[tokens]`; of the last one of a text it is
    /// not asked.
    pub counted: Vec<bool>,
    /// Whether these tokens are text that people wrote: only then does a teacher's cross-entropy with
    /// them tell how reliable it is.
    pub true_text: bool,
    /// What student and teacher did where they wrote in turns.
    pub counts: SpeculativeCounts,
}
