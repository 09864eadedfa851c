//! Which of the splits that a data set holds is trained on, chosen by, and tested on.
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

use crate::{DataError, ReadOptions};

/// As the name of a split: none, even if there is one.
pub(crate) const NONE: &str = "none";

/// What a split is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

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

    const fn given(self, options: &ReadOptions) -> Option<&String> {
        match self {
            Self::Train => options.train.as_ref(),
            Self::Validation => options.validation.as_ref(),
            Self::Test => options.test.as_ref(),
        }
    }
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

/// Chooses among the splits `found` in `path`, and notes which of them are not used.
pub(crate) fn choose(
    path: &Path,
    found: &[String],
    options: &ReadOptions,
    notes: &mut Vec<String>,
) -> Result<Splits<Chosen>, DataError> {
    let given = |role: Role| {
        let name = role.given(options).filter(|name| *name != NONE)?;
        let same = found.iter().find(|known| *known == name);
        let same = same.or_else(|| found.iter().find(|known| known.eq_ignore_ascii_case(name)));
        Some(Chosen { role, name: same.unwrap_or(name).clone(), asked: true })
    };
    let asked: Vec<Chosen> = Role::ALL.into_iter().filter_map(given).collect();
    let taken = |name: &String| asked.iter().any(|chosen| chosen.name == *name);
    let choose = |role: Role| {
        if role.given(options).is_some() {
            return Ok(asked.iter().find(|chosen| chosen.role == role).cloned());
        }
        let fits = |name: &&String| Role::of(name) == Some(role) && !taken(name);
        match found.iter().filter(fits).collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [name] => Ok(Some(Chosen { role, name: (*name).clone(), asked: false })),
            several => Err(DataError::SeveralSplits {
                path: path.to_owned(),
                key: role.key(),
                names: several.iter().map(|name| (*name).clone()).collect(),
            }),
        }
    };
    let train = choose(Role::Train)?.ok_or_else(|| DataError::NoSplit {
        path: path.to_owned(),
        key: Role::Train.key(),
        name: Role::Train.given(options).map_or("train", String::as_str).to_owned(),
        found: found.to_vec(),
    })?;
    let splits = Splits { train, validation: choose(Role::Validation)?, test: choose(Role::Test)? };
    for name in found {
        if !splits.iter().any(|chosen| chosen.name == *name) {
            notes.push(format!(
                "`{name}` is not used; `validation = \"{name}\"` or `test = \"{name}\"` names it"
            ));
        }
    }
    Ok(splits)
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
        notes.push(format!("`{}` is not used: its images have no labels", self.name));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(found: &[&str], options: &ReadOptions) -> Result<[Option<String>; 3], DataError> {
        let found: Vec<String> = found.iter().map(|&name| name.to_owned()).collect();
        let splits = choose(Path::new("data"), &found, options, &mut Vec::new())?;
        let name = |chosen: Option<Chosen>| chosen.map(|chosen| chosen.name);
        Ok([Some(splits.train.name), name(splits.validation), name(splits.test)])
    }

    fn names<const N: usize>(names: [&str; N]) -> [Option<String>; N] {
        names.map(|name| (!name.is_empty()).then(|| name.to_owned()))
    }

    #[test]
    fn each_split_has_the_role_of_its_name_in_any_case() {
        let auto = ReadOptions::default();
        for (found, expected) in [
            (&["train", "test"][..], ["train", "", "test"]),
            (&["Train", "VAL"], ["Train", "VAL", ""]),
            (&["dev", "test", "training"], ["training", "dev", "test"]),
            (&["extra", "train", "valid"], ["train", "valid", ""]),
        ] {
            assert_eq!(chosen(found, &auto).unwrap(), names(expected), "{found:?}");
        }
    }

    #[test]
    fn the_caller_gives_other_roles_and_a_split_has_only_one() {
        let options = |validation: Option<&str>, test: Option<&str>| ReadOptions {
            validation: validation.map(str::to_owned),
            test: test.map(str::to_owned),
            ..ReadOptions::default()
        };
        let found = ["test", "train", "val"];
        for (validation, test, expected) in [
            (None, Some("val"), ["train", "", "val"]),
            (Some("test"), None, ["train", "test", ""]),
            (Some("none"), None, ["train", "", "test"]),
            (None, Some("none"), ["train", "val", ""]),
            (Some("VAL"), Some("../elsewhere"), ["train", "val", "../elsewhere"]),
        ] {
            let options = options(validation, test);
            assert_eq!(chosen(&found, &options).unwrap(), names(expected), "{options:?}");
        }
        let mut notes = Vec::new();
        let found = found.map(str::to_owned);
        choose(Path::new("data"), &found, &options(None, Some("val")), &mut notes).unwrap();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("`test` is not used"), "{notes:?}");
    }

    #[test]
    fn two_splits_of_one_role_and_no_training_split_are_refused() {
        let auto = ReadOptions::default();
        let error = chosen(&["train", "val", "valid"], &auto).unwrap_err();
        assert!(matches!(&error, DataError::SeveralSplits { key: "validation", .. }), "{error}");
        assert!(error.hint().unwrap().contains("`validation = \"val\"`"), "{error:?}");
        let error = chosen(&["test", "val"], &auto).unwrap_err();
        assert!(matches!(&error, DataError::NoSplit { key: "train", .. }), "{error}");
    }
}
