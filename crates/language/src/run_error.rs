//! What can go wrong with a run of language models.

use std::path::PathBuf;

use faculty_files::{FileError, LockError};

use crate::error::LanguageError;

/// A run that cannot start, or that broke down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// From a model or its tokenizer.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// From the file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process writes the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Texts that cannot be used.
    #[error("the texts in `{}` cannot be used: {problem}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: &'static str,
    },
    /// A recipe that does not fit its models.
    #[error("{what}")]
    Recipe {
        /// What does not fit.
        what: String,
        /// How to fix it.
        hint: &'static str,
    },
    /// A teacher whose tokens are others.
    #[error(
        "teacher `{teacher}` has other tokens than the student: {sizes}; the first that differs is {id}: \
         {theirs} there, {own} here"
    )]
    Vocabulary {
        /// The teacher's name.
        teacher: String,
        /// Of both vocabularies.
        sizes: String,
        /// The first id whose tokens differ.
        id: usize,
        /// The teacher's token.
        theirs: String,
        /// The student's.
        own: String,
    },
    /// A teacher that gives NaN or infinities.
    #[error("teacher `{teacher}` gives values that are no numbers ({place})")]
    TeacherBroke {
        /// Its name.
        teacher: String,
        /// Where.
        place: String,
    },
    /// A loss or gradient that is no number.
    #[error("the loss or its gradient is no number in step {step}")]
    NotFinite {
        /// From 1.
        step: u64,
    },
    /// A folder that holds a run.
    #[error("`{}` holds a run already", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
        /// Whether it is complete.
        finished: bool,
    },
    /// A folder that holds something else than a run that could go on.
    #[error("there is no run in `{}` to go on with", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint `{}` cannot be used: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A run that was begun with something else.
    #[error("the run in `{}` was begun with another {what}", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A comparison with one that is not in it.
    #[error("`{name}` does not take part, so nothing can be compared with it")]
    UnknownReference {
        /// What was named.
        name: String,
        /// What takes part.
        known: String,
    },
    /// A method that no recipe of language models can have.
    #[error("no method of language models is named `{name}`")]
    UnknownMethod {
        /// What was named.
        name: String,
        /// What there is.
        known: String,
    },
    /// A comparison of one.
    #[error("nothing else takes part than `{reference}`")]
    NothingToCompare {
        /// What takes part.
        reference: String,
    },
    /// A run of a comparison that broke down.
    #[error("run `{run}` of the comparison: {source}")]
    OfComparison {
        /// Which.
        run: String,
        /// Why.
        source: Box<RunError>,
    },
    /// A comparison that was stopped from outside.
    #[error("the comparison in `{}` was stopped: {done} of {runs} runs are finished", path.display())]
    ComparisonStopped {
        /// Its folder.
        path: PathBuf,
        /// Finished runs.
        done: usize,
        /// All runs.
        runs: usize,
    },
    /// Stopped from outside.
    #[error("stopped after step {step}")]
    Interrupted {
        /// Updates made.
        step: u64,
    },
}

impl From<faculty_nets::Error> for RunError {
    fn from(error: faculty_nets::Error) -> Self {
        Self::Language(error.into())
    }
}

impl RunError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Language(error) => error.hint(),
            Self::File(error) => error.hint().to_owned(),
            Self::Lock(error) => error.hint().to_owned(),
            Self::Data { fix, .. } => (*fix).to_owned(),
            Self::Recipe { hint, .. } => (*hint).to_owned(),
            Self::Vocabulary { .. } => {
                "teachers must share the student's tokenizer: take one of the same family"
                    .to_owned()
            }
            Self::TeacherBroke { .. } => {
                "its weights are damaged: get them again, or remove it".to_owned()
            }
            Self::NotFinite { .. } => {
                "lower `train.learning_rate`, or raise `train.warmup_steps`, and start anew"
                    .to_owned()
            }
            Self::FolderInUse { finished: true, .. } => {
                "give another `--output`, or replace it with `--overwrite`".to_owned()
            }
            Self::FolderInUse { .. } => {
                "go on with `--resume`, replace it with `--overwrite`, or give another `--output`"
                    .to_owned()
            }
            Self::NothingToResume { .. } => {
                "leave out `--resume`, or name the folder of a run".to_owned()
            }
            Self::Checkpoint { .. } => "start anew with `--overwrite`".to_owned(),
            Self::Changed { .. } => {
                "restore it, or start anew with `--overwrite` or another `--output`".to_owned()
            }
            Self::UnknownReference { known, .. } => format!("give one of {known}"),
            Self::UnknownMethod { known, .. } => format!("give some of {known}, or `all`"),
            Self::NothingToCompare { .. } => "name another method or setting".to_owned(),
            Self::OfComparison { source, .. } => {
                format!("{}; finished runs are kept", source.hint())
            }
            Self::ComparisonStopped { .. } => {
                "give the same command again to go on from there".to_owned()
            }
            Self::Interrupted { .. } => "go on with `--resume`".to_owned(),
        }
    }
}
