//! What can go wrong with language models.

use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, LanguageError>;

/// A language model that cannot be used, or a text that it cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanguageError {
    /// From the network.
    #[error(transparent)]
    Network(#[from] faculty_nets::Error),
    /// From a GGUF file.
    #[error(transparent)]
    Gguf(#[from] faculty_gguf::GgufError),
    /// A file that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A tokenizer that cannot be used.
    #[error("the tokenizer in `{}` cannot be used: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: &'static str,
    },
    /// A text that the tokenizer does not encode, or tokens that it does not decode.
    #[error("the tokenizer failed: {problem}")]
    Encoding {
        /// Its reason.
        problem: String,
    },
    /// A prompt without a token, of a model that has no token for the beginning of a text.
    #[error("prompt {prompt} is empty")]
    EmptyPrompt {
        /// Its number, from 1.
        prompt: usize,
    },
    /// A prompt that leaves no room.
    #[error("prompt {prompt} has {tokens} tokens, the model reads {longest} at most")]
    LongPrompt {
        /// Its number, from 1.
        prompt: usize,
        /// Its length.
        tokens: usize,
        /// The model's.
        longest: usize,
    },
    /// An id outside the model's vocabulary.
    #[error(
        "token {id} of prompt {prompt} is not below the {vocabulary} rows of the model's words"
    )]
    Vocabulary {
        /// Number of the prompt, from 1.
        prompt: usize,
        /// The id.
        id: u32,
        /// Rows of the word table.
        vocabulary: usize,
    },
    /// A number outside its range.
    #[error("`{name}` is {found}; it must be {range}")]
    OutOfRange {
        /// Its name.
        name: &'static str,
        /// As given.
        found: String,
        /// What it may be.
        range: &'static str,
    },
    /// Two models that do not share their tokens.
    #[error(
        "the student has {student} tokens, the teacher {teacher}: they must share their vocabulary"
    )]
    Vocabularies {
        /// Rows of the student's word table.
        student: usize,
        /// Of the teacher's.
        teacher: usize,
    },
    /// Two models whose ids stand for different tokens.
    #[error(
        "{differ} of {vocabulary} ids stand for other tokens in the teacher: {first} is `{student}` in the \
         student, `{teacher}` in the teacher"
    )]
    OtherTokens {
        /// How many.
        differ: usize,
        /// Of so many.
        vocabulary: usize,
        /// The first of them.
        first: u32,
        /// Its token in the student's tokenizer.
        student: String,
        /// In the teacher's.
        teacher: String,
    },
    /// A text that is too short.
    #[error("the text has {tokens} tokens: there is nothing to predict")]
    ShortText {
        /// How many.
        tokens: usize,
    },
}

impl LanguageError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Network(error) => error.hint().unwrap_or_default(),
            Self::Gguf(error) => error.hint().to_owned(),
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::Write { .. } => "check that the folder is there and may be written".to_owned(),
            Self::Tokenizer { fix, .. } => (*fix).to_owned(),
            Self::Encoding { .. } => {
                "try another text; check that the model's files are whole".into()
            }
            Self::EmptyPrompt { .. } => "give it at least one character".to_owned(),
            Self::LongPrompt { .. } => "shorten the prompt".to_owned(),
            Self::Vocabulary { .. } => {
                "the tokenizer belongs to another model: put the model's own beside it".to_owned()
            }
            Self::OutOfRange { .. } => "give a number in that range".to_owned(),
            Self::Vocabularies { .. } | Self::OtherTokens { .. } => {
                "take a teacher of the student's family, with the same tokenizer".to_owned()
            }
            Self::ShortText { .. } => "give a longer text".to_owned(),
        }
    }
}
