//! The splits of a data set: what is trained on, chosen by, and tested on.
//!
//! ```text
//! training     `train`, `training`
//! validation   `val`, `valid`, `validation`, `dev`
//! test         `test`, `testing`, `t10k`
//! ```
//!
//! Names are compared without regard to case. A split has the role of its name and no other unless
//! the caller gives it one: a validation split is never the test split by itself.

use std::path::Path;

use crate::DataError;

pub(crate) mod choice;

/// What a split is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Names of splits in this role.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Validation => &["val", "valid", "validation", "dev"],
            Self::Test => &["test", "testing", "t10k"],
        }
    }

    /// The role of a split with this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let is_called = |known: &&str| name.eq_ignore_ascii_case(known);
        Self::ALL.into_iter().find(|role| role.names().iter().any(is_called))
    }

    /// The key of a recipe that names the split.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Whether samples in a folder of this name have no label.
pub(crate) fn is_unlabelled(name: &str) -> bool {
    const NAMES: [&str; 5] = ["unsup", "unsupervised", "unlabelled", "unlabeled", "unlab"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Something for each split.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splits<T> {
    pub(crate) train: T,
    pub(crate) validation: Option<T>,
    pub(crate) test: Option<T>,
}

impl<T> Splits<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [Some(&mut self.train), self.validation.as_mut(), self.test.as_mut()].into_iter().flatten()
    }

    pub(crate) fn try_map<R>(
        self,
        mut map: impl FnMut(T) -> Result<R, DataError>,
    ) -> Result<Splits<R>, DataError> {
        Ok(Splits {
            train: map(self.train)?,
            validation: self.validation.map(&mut map).transpose()?,
            test: self.test.map(&mut map).transpose()?,
        })
    }
}

/// A split that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) role: Role,
    /// As the data set spells it; or what the caller gave, perhaps a path.
    pub(crate) name: String,
    /// Whether the caller named it: if not, and it turns out to have no labels, it is left out.
    pub(crate) asked: bool,
}

impl Chosen {
    /// The error of a split that is not there.
    pub(crate) fn missing(&self, path: &Path, found: &[String]) -> DataError {
        DataError::NoSplit {
            path: path.to_owned(),
            key: self.role.key(),
            name: self.name.clone(),
            found: found.to_vec(),
        }
    }

    /// What becomes of a split without labels: nothing, with a note, unless it was asked for.
    pub(crate) fn unlabelled<T>(
        &self,
        path: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Option<T>, DataError> {
        if self.asked || self.role == Role::Train {
            let (path, name) = (path.to_owned(), self.name.clone());
            return Err(DataError::Unlabelled { path, key: self.role.key(), name });
        }
        notes.push(format!("`{}` is not used: its samples have no labels", self.name));
        Ok(None)
    }
}
