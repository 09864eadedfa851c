//! What a comparison compares: the methods that fit a recipe, or settings of one.

use faculty_recipe::{LanguageMethodName, LanguageRecipe};
use faculty_records::comparison::{MethodNote, Single};

use crate::run_error::RunError;

/// The student alone: in every comparison of methods.
const ALONE: LanguageMethodName = LanguageMethodName::Ce;
/// The reference, where it takes part: teachers, and no judgement about them.
const AVERAGE: LanguageMethodName = LanguageMethodName::Aver;

/// Recipes by the names that they have in the table and as folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComparedRecipes {
    pub(super) recipes: Vec<(String, LanguageRecipe)>,
    pub(super) left_out: Vec<MethodNote>,
    pub(super) single: Option<Single>,
}

impl ComparedRecipes {
    /// A recipe with each of these methods, or with all that fit it; `ce` takes part in any case. Methods of
    /// one teacher learn from the first.
    ///
    /// # Errors
    /// When a named method is not known or does not fit.
    pub fn of_methods(recipe: &LanguageRecipe, named: Option<&[String]>) -> Result<Self, RunError> {
        let mut methods = vec![ALONE];
        let mut own = Self::default();
        match named {
            None => methods.extend(LanguageMethodName::ALL),
            Some(names) => {
                for name in names {
                    let Some(method) =
                        LanguageMethodName::ALL.iter().find(|own| own.name() == name)
                    else {
                        return Err(RunError::UnknownMethod {
                            name: name.clone(),
                            known: LanguageMethodName::NAMES.join(", "),
                        });
                    };
                    methods.push(*method);
                }
            }
        }
        for (at, &method) in methods.iter().enumerate() {
            if methods[..at].contains(&method) {
                continue;
            }
            let candidate = with_method(recipe, method);
            match candidate.check() {
                Ok(()) => own.recipes.push((method.name().to_owned(), candidate)),
                Err(error) if named.is_none() && method != ALONE => {
                    let reason =
                        error.problems.first().map_or_else(String::new, |own| own.what.clone());
                    own.left_out.push(MethodNote { method: method.name().to_owned(), reason });
                }
                Err(error) => {
                    return Err(RunError::Recipe {
                        what: error.to_string(),
                        hint: "fix these in the recipe, or leave the method out",
                    });
                }
            }
        }
        if let [first, _, ..] = recipe.teachers.as_slice() {
            let kd = LanguageMethodName::Kd.name();
            own.single = own
                .recipes
                .iter()
                .any(|(name, _)| name == kd)
                .then(|| Single { teacher: first.name.clone(), methods: vec![kd.to_owned()] });
        }
        Ok(own)
    }

    /// A recipe and others that differ from it in some settings, each under these.
    ///
    /// # Errors
    /// When a name cannot be that of a folder.
    pub fn of_settings(
        recipe: LanguageRecipe,
        settings: Vec<(String, LanguageRecipe)>,
    ) -> Result<Self, RunError> {
        let mut recipes = vec![(OWN.to_owned(), recipe)];
        for (name, own) in settings {
            let fits = name != OWN && name.len() < 200 && !name.starts_with('.');
            if !fits || name.contains(['/', '\\', ':']) || name.chars().any(char::is_control) {
                return Err(RunError::Recipe {
                    what: format!("setting `{name}` cannot name a folder"),
                    hint: "compare fewer settings at once, or values without `/`, `\\` and `:`",
                });
            }
            // What changes nothing is the recipe itself.
            if recipes.iter().all(|(_, known)| *known != own) {
                recipes.push((name, own));
            }
        }
        Ok(Self { recipes, ..Self::default() })
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.recipes.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// What the others are compared with: the one that is named, or else `aver` where it takes part, the
    /// recipe's own settings, or `ce`.
    ///
    /// # Errors
    /// [`RunError::UnknownReference`].
    pub fn reference(&self, named: Option<&str>) -> Result<String, RunError> {
        let names = self.names();
        match named {
            Some(name) if names.contains(&name) => Ok(name.to_owned()),
            Some(name) => {
                Err(RunError::UnknownReference { name: name.to_owned(), known: names.join(", ") })
            }
            None => {
                let usual = [AVERAGE.name(), OWN, ALONE.name()];
                let found = usual.into_iter().find(|name| names.contains(name));
                Ok(found.unwrap_or(OWN).to_owned())
            }
        }
    }
}

/// The recipe as it is, among settings of it.
const OWN: &str = "own";

fn with_method(recipe: &LanguageRecipe, method: LanguageMethodName) -> LanguageRecipe {
    let mut own = recipe.clone();
    own.method.name = method;
    match method {
        // Plain training learns from the text alone.
        LanguageMethodName::Ce => own.writing = None,
        LanguageMethodName::Kd => own.teachers.truncate(1),
        _ => {}
    }
    own
}
