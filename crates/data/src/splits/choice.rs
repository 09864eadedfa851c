//! Which of the splits that are there has which role.

use std::path::Path;

use super::{Chosen, Role, Splits};
use crate::{DataError, ReadOptions};

/// As the name of a split: none, even if there is one.
const NONE: &str = "none";

/// What the caller says of the split in a role.
const fn given(role: Role, options: &ReadOptions) -> Option<&String> {
    match role {
        Role::Train => options.train.as_ref(),
        Role::Validation => options.validation.as_ref(),
        Role::Test => options.test.as_ref(),
    }
}

/// Chooses among the splits `found` in `path`, and notes which of them are not used.
pub(crate) fn choose(
    path: &Path,
    found: &[String],
    options: &ReadOptions,
    notes: &mut Vec<String>,
) -> Result<Splits<Chosen>, DataError> {
    let named = |role: Role| {
        let name = given(role, options).filter(|name| *name != NONE)?;
        let same = found.iter().find(|known| *known == name);
        let same = same.or_else(|| found.iter().find(|known| known.eq_ignore_ascii_case(name)));
        Some(Chosen { role, name: same.unwrap_or(name).clone(), asked: true })
    };
    let asked: Vec<Chosen> = Role::ALL.into_iter().filter_map(named).collect();
    let taken = |name: &String| asked.iter().any(|chosen| chosen.name == *name);
    let choose = |role: Role| {
        if given(role, options).is_some() {
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
        name: given(Role::Train, options).map_or("train", String::as_str).to_owned(),
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
