//! From text to [`Recipe`]: layers, types, required and unknown keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::explain::{Entry, entries};
use super::method::MethodSpec;
use super::problems::{Location, Problem, Problems, RecipeError, nearest, shown};
use super::range::{KeySpec, Range, quoted};
use super::schema::{Cache, HeadTraining, Plan, Recipe, Teacher};
use super::section::{Section as _, join};
use super::setting::Setting;
use super::tree::{Content, Node};
use super::{check, overrides, tree};

/// A recipe that was read without a problem, and where each of its values is from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoadedRecipe {
    /// The recipe: all defaults filled in, all paths absolute.
    pub recipe: Recipe,
    /// What is allowed, but probably not meant.
    pub warnings: Vec<Problem>,
    entries: Vec<Entry>,
}

impl LoadedRecipe {
    /// Every key with its value, origin and meaning, in the order of the schema.
    #[must_use]
    pub fn explain(&self) -> &[Entry] {
        &self.entries
    }
}

impl Recipe {
    /// Every key that a recipe can have except the options of methods, without the places in lists:
    /// `train.epochs`, `teachers.name`.
    #[must_use]
    pub fn keys() -> Vec<String> {
        paths_of_all_keys().iter().map(|path| path.replace("[0]", "")).collect()
    }

    /// Reads a recipe file, then replaces what `sets` say: each one is `key.path=value`.
    ///
    /// `methods` are the known methods with their options. Relative paths of the file are taken
    /// from its folder, those of `sets` from the current folder.
    ///
    /// # Errors
    /// When the file cannot be read, or with all problems of the recipe.
    pub fn load(
        path: impl AsRef<Path>,
        sets: &[String],
        methods: &[MethodSpec],
    ) -> Result<LoadedRecipe, RecipeError> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(RecipeError { problems: vec![folder(path)], source: None });
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_str(&text, path, sets, methods),
            Err(error) => {
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
                Err(RecipeError { problems: vec![problem], source: Some(error) })
            }
        }
    }

    /// Reads a recipe from text, as if it were in the file `name`; see [`Recipe::load`].
    ///
    /// # Errors
    /// With all problems of the recipe.
    ///
    /// # Example
    /// ```
    /// use faculty_recipe::{MethodSpec, Recipe};
    ///
    /// let methods = [MethodSpec {
    ///     name: "ce",
    ///     help: "labels only",
    ///     options: &[],
    ///     min_teachers: 0,
    ///     max_teachers: Some(0),
    /// }];
    /// let text = r#"
    /// [data]
    /// path = "cifar100"
    /// [student]
    /// network = "resnet8"
    /// [method]
    /// name = "ce"
    /// "#;
    /// let sets = ["train.epochs=10".to_owned()];
    /// let loaded = Recipe::from_str(text, "recipes/plain.toml", &sets, &methods)?;
    /// assert_eq!(loaded.recipe.train.epochs, 10);
    /// assert_eq!(loaded.recipe.train.batch_size, 64);
    ///
    /// let error = Recipe::from_str(&text.replace("path", "pth"), "x.toml", &[], &methods);
    /// let problem = &error.unwrap_err().problems[0];
    /// assert_eq!(problem.place(), "x.toml:3, data.pth");
    /// assert_eq!(problem.hint, "did you mean `path`?");
    /// # Ok::<(), faculty_recipe::RecipeError>(())
    /// ```
    pub fn from_str(
        text: &str,
        name: impl AsRef<Path>,
        sets: &[String],
        methods: &[MethodSpec],
    ) -> Result<LoadedRecipe, RecipeError> {
        let name = name.as_ref();
        let mut problems = Problems::new(whole(name));
        let file = name.display().to_string();
        let mut tree =
            tree::parse(text, &file).map_err(|problems| RecipeError { problems, source: None })?;
        for argument in sets {
            problems.list.extend(overrides::apply(&mut tree, argument));
        }
        if matches!(&tree.content, Content::Table(table) if table.is_empty()) {
            problems.add("", "the recipe is empty".to_owned(), what_a_recipe_needs());
        }
        let student = student_of(&tree);
        let mut reader = Reader { methods, problems, folder: folder_of(name), student };
        let mut recipe = Self::read(&mut reader, "", Some(&tree));
        if recipe.output.is_none() {
            let stem = name.file_stem().unwrap_or(name.as_os_str());
            recipe.output = Some(Path::new("runs").join(stem).rebased(Path::new(".")));
        }
        if let Some(cache) = &mut recipe.cache
            && cache.path.is_none()
        {
            let stem = name.file_stem().unwrap_or(name.as_os_str());
            cache.path = Some(Path::new("cache").join(stem).rebased(Path::new(".")));
        }
        let mut problems = reader.problems;
        check::problems(&recipe, methods, &mut problems);
        problems.refuse()?;
        check::warnings(&recipe, methods, &mut problems);
        let entries = entries(&recipe, methods, &problems.places);
        Ok(LoadedRecipe { recipe, warnings: problems.take(), entries })
    }

    /// The whole recipe as TOML, every default written out; reading it gives the same recipe.
    ///
    /// # Errors
    /// When a path is not UTF-8 text, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|error| RecipeError {
            problems: vec![Problem {
                what: format!("the recipe cannot be written as TOML: {error}"),
                location: Location::Code,
                key: String::new(),
                hint: "use paths that are UTF-8 text".to_owned(),
            }],
            source: None,
        })
    }
}

fn whole(path: &Path) -> Location {
    Location::File { file: path.display().to_string(), line: None, column: None }
}

/// The folder that relative paths of the recipe file `name` are taken from.
fn folder_of(name: &Path) -> PathBuf {
    match name.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The network of the student, which defaults of methods depend on.
fn student_of(tree: &Node) -> String {
    let mut node = Some(tree);
    for key in ["student", "network"] {
        node = node.and_then(|node| match &node.content {
            Content::Table(table) => table.get(key),
            _ => None,
        });
    }
    match node {
        Some(Node { content: Content::Value(Value::String(name)), .. }) => name.clone(),
        _ => String::new(),
    }
}

fn what_a_recipe_needs() -> String {
    let mut required = Vec::new();
    Recipe::default().visit("", &[], &mut |key, spec, _| {
        if spec.source.is_none() {
            required.push(key.to_owned());
        }
    });
    format!("give at least {}", quoted(&required))
}

/// Reads keys from tables, and notes where each was given and what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) methods: &'a [MethodSpec],
    pub(super) problems: Problems,
    folder: PathBuf,
    /// Name of the student's network, if there is one.
    pub(super) student: String,
}

type Table = BTreeMap<String, Node>;

impl Reader<'_> {
    /// Gives `read` a reader whose notes nobody looks at.
    pub(super) fn blank<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let problems = Problems::new(Location::Code);
        read(&mut Reader { methods: &[], problems, folder: PathBuf::new(), student: String::new() })
    }

    /// Notes where the value at the key path `at` was given.
    pub(super) fn place(&mut self, at: &str, node: Option<&Node>) {
        if let Some(node) = node {
            self.problems.places.insert(at.to_owned(), node.location.clone());
        }
    }

    /// The node as a table, if it is there.
    pub(super) fn table<'n>(&mut self, at: &str, node: Option<&'n Node>) -> Option<&'n Table> {
        let node = node?;
        self.place(at, Some(node));
        if let Content::Table(table) = &node.content {
            return Some(table);
        }
        let what = format!("`{at}` must be a table, found {}", found(&node.content));
        self.problems.add(at, what, format!("write `[{at}]`, then its keys below"));
        None
    }

    /// Reports the keys of `table` that are not `known`.
    pub(super) fn refuse_unknown(&mut self, at: &str, table: Option<&Table>, known: &[&str]) {
        for (key, node) in table.into_iter().flatten() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let path = join(at, &shown(key));
            self.place(&path, Some(node));
            let hint = if let Some(name) = nearest(key, known.iter().copied()) {
                // A key that is only spelt wrong is not missing as well.
                if table.is_some_and(|table| !table.contains_key(name)) {
                    self.problems.settle(&join(at, name));
                }
                format!("did you mean `{name}`?")
            } else if let Some(home) = self.home_of(key) {
                format!("`{key}` belongs to {home}")
            } else {
                format!("known here: {}", quoted(known))
            };
            let what = format!("unknown key `{}` in {}", shown(key), heading(at));
            self.problems.add(&path, what, hint);
        }
    }

    /// The section, or else the methods, that have a key of this name.
    fn home_of(&self, key: &str) -> Option<String> {
        let keys = paths_of_all_keys();
        let home = keys.iter().find_map(|path| {
            let (section, last) = path.rsplit_once('.').unwrap_or(("", path.as_str()));
            (last == key).then(|| heading(section))
        });
        let has = |method: &&MethodSpec| method.options.iter().any(|option| option.key == key);
        let methods: Vec<&str> = self.methods.iter().filter(has).map(|m| m.name).collect();
        home.or_else(|| (!methods.is_empty()).then(|| format!("method {}", quoted(&methods))))
    }

    /// The value of one key: the given one, or the default.
    pub(super) fn key<T: Setting>(
        &mut self,
        at: &str,
        table: Option<&Table>,
        spec: KeySpec,
        default: Option<T>,
    ) -> T {
        let path = join(at, spec.key);
        let Some(node) = table.and_then(|table| table.get(spec.key)) else {
            if default.is_none() {
                let what = format!("`{path}` is missing");
                self.problems.add(
                    &path,
                    what,
                    format!("add `{} = …` to {}: {}", spec.key, heading(at), spec.brief()),
                );
            }
            return default.unwrap_or_default();
        };
        self.place(&path, Some(node));
        let read = match &node.content {
            Content::Value(value) => T::read(value).or_else(|| T::read(&typed(&node.location)?)),
            Content::Table(table) => T::read(&plain(table)),
            Content::Tables(_) => None,
        };
        if let Some(value) = read {
            return match node.location {
                Location::Set { .. } => value.rebased(Path::new(".")),
                _ => value.rebased(&self.folder),
            };
        }
        match &node.content {
            // -1 for a count, or a word that is none of an enum's: the range tells more.
            Content::Value(value @ (Value::Integer(_) | Value::Float(_) | Value::String(_)))
                if !spec.range.allows(value) =>
            {
                check::range(&path, &spec, value, &mut self.problems);
            }
            content => {
                let expected = match spec.range {
                    Range::Words(_) => spec.range.to_string(),
                    _ => T::expected(),
                };
                let what = format!("`{path}` must be {expected}, found {}", found(content));
                self.problems.add(&path, what, spec.mend(&format!("give {expected}")));
            }
        }
        default.unwrap_or_default()
    }

    /// The word of `spec`'s range that `text` is; reported if it is none.
    pub(super) fn word(&mut self, at: &str, spec: &KeySpec, text: &str) -> Option<&'static str> {
        let Range::Words(words) = spec.range else {
            return None;
        };
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            let value = Value::String(text.to_owned());
            check::range(&join(at, spec.key), spec, &value, &mut self.problems);
        }
        word.copied()
    }
}

/// A table of plain values as one value, for the keys that take one.
fn plain(table: &Table) -> Value {
    let value = |node: &Node| match &node.content {
        Content::Value(value) => Some(value.clone()),
        Content::Table(_) | Content::Tables(_) => None,
    };
    // What is no plain value becomes one that no key takes.
    let entry = |(key, node): (&String, &Node)| {
        (key.clone(), value(node).unwrap_or_else(|| Value::Table(toml::Table::new())))
    };
    Value::Table(table.iter().map(entry).collect())
}

/// The value of `--set name=2026` as it was typed: a text after all, where a text is wanted.
fn typed(location: &Location) -> Option<Value> {
    let Location::Set { argument } = location else {
        return None;
    };
    let (_, text) = argument.split_once('=')?;
    let text = text.trim();
    (!text.starts_with(['[', '{'])).then(|| Value::String(text.to_owned()))
}

/// `[data]`, `[[teachers]]`
fn heading(at: &str) -> String {
    match at.split_once('[') {
        Some((list, _)) => format!("`[[{list}]]`"),
        None if at.is_empty() => "the top level".to_owned(),
        None => format!("`[{at}]`"),
    }
}

/// What was given, for messages.
fn found(content: &Content) -> String {
    match content {
        Content::Table(_) => "a table".to_owned(),
        Content::Tables(_) => "a list of tables".to_owned(),
        Content::Value(Value::String(text)) => format!("the text `{}`", shown(text)),
        Content::Value(Value::Array(items)) => {
            format!("the list `{}`", shown(&Value::Array(items.clone()).to_string()))
        }
        Content::Value(Value::Datetime(date)) => format!("the date `{date}`"),
        Content::Value(value) => format!("`{value}`"),
    }
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

/// Of a recipe with every section: `train.epochs`, `teachers[0].name`.
fn paths_of_all_keys() -> Vec<String> {
    let recipe = Recipe {
        teachers: vec![Teacher::default()],
        cache: Some(Cache::default()),
        plan: Some(Plan::default()),
        heads: Some(HeadTraining::default()),
        ..Recipe::default()
    };
    let mut paths = Vec::new();
    recipe.visit("", &[], &mut |path, _, _| paths.push(path.to_owned()));
    paths
}
