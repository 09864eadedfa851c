//! What makes tokens of texts.

use std::fmt::Debug;

use crate::{Text, Tokens};

/// A tokenizer: made by data, used where batches are made and before networks with another one.
pub trait Tokenize: Debug + Send + Sync {
    /// Adds the tokens of a text, or of a pair, with those that mark start and end.
    fn tokenize(&self, text: &Text, into: &mut Tokens);

    /// Number of ids: all are below it.
    fn vocabulary(&self) -> usize;

    /// Names the tokenizer by its content: two with the same identity give the same tokens.
    fn identity(&self) -> &str;
}
