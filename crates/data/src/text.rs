//! Texts in memory: sets of them, views of their words, tokenizers.

pub(crate) mod set;
pub(crate) mod tokenizer;
pub(crate) mod words;
