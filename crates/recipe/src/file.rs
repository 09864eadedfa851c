//! What recipes of every kind share: their file, and what was read of it.

use std::path::{Path, PathBuf};

use super::explain::Entry;
use super::problems::{Location, Problem, Problems, RecipeError};
use super::range::quoted;
use super::schema::Recipe;
use super::section::Section;
use super::setting::Setting as _;
use super::tree::{Content, Node};
use super::{overrides, tree};

/// A recipe that was read without a problem, and where each of its values is from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadedRecipe<R = Recipe> {
    /// The recipe: all defaults filled in, all paths absolute.
    pub recipe: R,
    /// What is allowed, but probably not meant.
    pub warnings: Vec<Problem>,
    pub(super) entries: Vec<Entry>,
}

impl<R> LoadedRecipe<R> {
    /// Every key with its value, origin and meaning, in the order of the schema.
    #[must_use]
    pub fn explain(&self) -> &[Entry] {
        &self.entries
    }
}

/// A recipe as TOML.
pub(super) fn to_toml(recipe: &impl serde::Serialize) -> Result<String, RecipeError> {
    toml::to_string(recipe).map_err(|error| RecipeError {
        problems: vec![Problem {
            what: format!("the recipe cannot be written as TOML: {error}"),
            location: Location::Code,
            key: String::new(),
            hint: "use paths that are UTF-8 text".to_owned(),
        }],
        source: None,
    })
}

/// The text of a recipe file.
pub(super) fn read_text(path: &Path) -> Result<String, RecipeError> {
    if path.is_dir() {
        return Err(RecipeError { problems: vec![folder(path)], source: None });
    }
    std::fs::read_to_string(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::InvalidData => "save it as UTF-8 text",
            _ => "name a TOML file that exists and can be read",
        };
        let problem = Problem {
            what: format!("cannot read the recipe: {error}"),
            location: whole(path),
            key: String::new(),
            hint: hint.to_owned(),
        };
        RecipeError { problems: vec![problem], source: Some(error) }
    })
}

/// The run folder of the recipe file `name`: `runs/` in the current folder, then the recipe's name.
pub(super) fn default_output(name: &Path) -> PathBuf {
    let stem = name.file_stem().unwrap_or(name.as_os_str());
    Path::new("runs").join(stem).rebased(Path::new("."))
}

/// The tree of a recipe's text with what `sets` say in it, and what is wrong with these.
///
/// # Errors
/// When the text is no TOML.
pub(super) fn parse(
    text: &str,
    name: &Path,
    sets: &[String],
) -> Result<(Node, Problems), RecipeError> {
    let mut problems = Problems::new(whole(name));
    let mut tree = tree::parse(text, &name.display().to_string())
        .map_err(|problems| RecipeError { problems, source: None })?;
    for argument in sets {
        problems.list.extend(overrides::apply(&mut tree, argument));
    }
    Ok((tree, problems))
}

/// Tells where nothing at all stands in a recipe; `empty` is one of its kind.
pub(super) fn refuse_empty(tree: &Node, empty: &impl Section, problems: &mut Problems) {
    if matches!(&tree.content, Content::Table(table) if table.is_empty()) {
        problems.add("", "the recipe is empty".to_owned(), what_is_needed(empty));
    }
}

pub(super) fn whole(path: &Path) -> Location {
    Location::File { file: path.display().to_string(), line: None, column: None }
}

/// The folder that relative paths of the recipe file `name` are taken from.
pub(super) fn folder_of(name: &Path) -> PathBuf {
    match name.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The keys that have no default.
fn what_is_needed(empty: &impl Section) -> String {
    let mut required = Vec::new();
    empty.visit("", &[], &mut |key, spec, _| {
        if spec.source.is_none() {
            required.push(key.to_owned());
        }
    });
    format!("give at least {}", quoted(&required))
}

/// Where a folder is given for a recipe; that of a run has one.
fn folder(path: &Path) -> Problem {
    let inside = path.join("recipe.toml");
    let hint = match inside.is_file() {
        true => format!(
            "it is a run: its recipe is `{}`; `faculty report`, `evaluate`, `export` and `predict` \
             take its folder",
            inside.display()
        ),
        false => "name a TOML file; `faculty init DATA` writes one".to_owned(),
    };
    let what = "a folder is no recipe".to_owned();
    Problem { what, location: whole(path), key: String::new(), hint }
}
