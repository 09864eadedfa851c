//! From text to [`Recipe`]: layers, required keys, checks.

use std::path::Path;

use toml::Value;

use super::check;
use super::explain::entries;
use super::file::{
    LoadedRecipe, default_output, folder_of, parse, read_text, refuse_empty, to_toml, whole,
};
use super::language::LanguageRecipe;
use super::problems::{Problem, RecipeError};
use super::reader::Reader;
use super::schema::{
    Cache, ColorJitter, Data, HeadTraining, Plan, RandAugment, Recipe, Student, Teacher,
};
use super::section::Section;
use super::setting::Setting as _;
use super::spec::MethodSpec;
use super::tree::{Content, Node};

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
        Self::from_str(&read_text(path.as_ref())?, path, sets, methods)
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
        let (mut tree, mut problems) = parse(text, name, sets)?;
        if LanguageRecipe::is_tree_of_one(&tree) {
            return Err(RecipeError { problems: vec![of_language_models(name)], source: None });
        }
        refuse_empty(&tree, &Self::default(), &mut problems);
        name_student(&mut tree);
        let student = student_of(&tree);
        let (folder, keys) = (folder_of(name), paths_of_all_keys());
        let mut reader = Reader { methods, problems, folder, keys, student };
        let mut recipe = Self::read(&mut reader, "", Some(&tree));
        if let Some(file) = recipe.student.own_file()
            && is_named_by_file(&tree)
        {
            recipe.student.network = file.display().to_string();
        }
        if recipe.output.is_none() {
            recipe.output = Some(default_output(name));
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
        to_toml(self)
    }
}

/// A key of `[student]`.
fn student_key<'t>(tree: &'t Node, key: &str) -> Option<&'t Node> {
    ["student", key].iter().try_fold(tree, |node, key| match &node.content {
        Content::Table(table) => table.get(*key),
        _ => None,
    })
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Value(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Keys of files that a student's network is in.
const FILES: [&str; 2] = ["onnx", "file"];

/// A student from a file goes by that file, unless the recipe names a network too.
fn name_student(tree: &mut Node) {
    let Some(file) = FILES.iter().find_map(|key| student_key(tree, key)) else { return };
    let Some(name) = text_of(file).map(|text| Value::String(text.to_owned())) else { return };
    let named = Node { location: file.location.clone(), content: Content::Value(name) };
    if let Content::Table(table) = &mut tree.content
        && let Some(Node { content: Content::Table(student), .. }) = table.get_mut("student")
    {
        student.entry("network".to_owned()).or_insert(named);
    }
}

/// Whether the student's network is named by what stands at `onnx` or `file`.
fn is_named_by_file(tree: &Node) -> bool {
    let text = |key: &str| student_key(tree, key).and_then(text_of);
    text("network") == FILES.iter().find_map(|key| text(key))
}

impl Student {
    /// The file that the network is in, if it is in one.
    #[must_use]
    pub fn own_file(&self) -> Option<&Path> {
        self.onnx.as_deref().or(self.file.as_deref())
    }
}

/// The network of the student, which defaults of methods depend on.
fn student_of(tree: &Node) -> String {
    student_key(tree, "network").and_then(text_of).unwrap_or_default().to_owned()
}

/// A recipe of language models where one of images or classified texts is wanted.
fn of_language_models(name: &Path) -> Problem {
    Problem {
        what: "the recipe is one of language models (`data.format` is `running-text`)".to_owned(),
        location: whole(name),
        key: "data.format".to_owned(),
        hint: "`faculty distill`, `train`, `compare` and `explain` take it, `report` its run"
            .to_owned(),
    }
}

/// Of a recipe with every section: `train.epochs`, `teachers[0].name`.
fn paths_of_all_keys() -> Vec<String> {
    let recipe = Recipe {
        data: Data {
            rand_augment: Some(RandAugment::default()),
            color_jitter: Some(ColorJitter::default()),
            ..Data::default()
        },
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
