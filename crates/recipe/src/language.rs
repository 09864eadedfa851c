//! Recipes of language models: `data.format = "running-text"`.
//!
//! Student and teachers are decoders, a sample is a token, and progress is counted in steps; so the keys
//! are others than those of [`Recipe`](crate::Recipe). Reading, checking and explaining are the same.

use std::path::{Path, PathBuf};

use super::explain::entries;
use super::file::{LoadedRecipe, parse, read_text, refuse_empty, to_toml};
use super::key_path::join;
use super::problems::{Problems, RecipeError};
use super::range::Range;
use super::reader::{Reader, check_range};
use super::section::{Section as _, section};
use super::setting::words;
use super::tree::{Content, Node};
use super::validation::Validation;

/// Every count: far above any use, far below what a float holds exactly.
const COUNT: Range = Range::between(1.0, 1e12);
/// What makes a recipe one of language models.
const FORMAT: &str = "running-text";

section! {
    /// A run of language models, as plain data.
    ///
    /// Read one with [`LanguageRecipe::load`], or fill the fields in code and call
    /// [`LanguageRecipe::check`].
    pub struct LanguageRecipe {
        /// Random seed: one seed, one result. At most 2^53 - 1, so that JSON
        /// readers keep it.
        #[within(Range::between(0.0, 9_007_199_254_740_991.0))]
        seed: u64 = 1, "faculty's choice";
        /// Title in reports.
        name: Option<String> = None, "no title";
        /// Run folder, relative to the recipe file.
        output: Option<PathBuf> = None, "`runs/` in the current folder, then the recipe's name";
    }
    sections {
        /// The texts.
        data: LanguageData;
        /// The decoder to train.
        student: LanguageStudent;
        /// The trained decoders to learn from.
        teachers: Vec<LanguageTeacher>;
        /// How to learn from them.
        method: LanguageMethod;
        /// Texts that models write, in the place of windows of the training text.
        writing: Option<Writing>;
        /// The optimiser and its schedule.
        train: LanguageTrain;
    }
}

section! {
    /// `[data]` of language models: running text.
    pub struct LanguageData {
        /// A file of text, or a folder of `.txt` files, each a document.
        path: PathBuf;
        /// `running-text`: what makes this a recipe of language models.
        #[within(Range::Words(&[FORMAT]))]
        format: String = FORMAT.to_owned(), "the only one of language models";
        /// Documents to train on: a file or folder inside `data.path`.
        train: Option<String> = None, "all that is in neither of the other splits";
        /// What the best step is chosen by: a file or folder inside `data.path`, or the share of the
        /// documents that is held out (of the text's parts, where there are fewer than 20 documents). With
        /// 0 there is none, and the last step counts as the best.
        #[within(Range::below(0.0, 0.9))]
        validation: Validation = Validation::Share(0.1), "faculty's choice";
        /// What gives the final numbers: a file or folder inside `data.path`, or a share as of
        /// `validation`.
        #[within(Range::below(0.0, 0.9))]
        test: Validation = Validation::Share(0.1), "faculty's choice";
        /// Tokens of the validation split that each measurement reads, the first of its documents.
        #[within(COUNT)]
        validation_tokens: usize = 16384, "faculty's choice";
    }
}

section! {
    /// `[student]` of language models: the decoder to train.
    pub struct LanguageStudent {
        /// A decoder to start from: a GGUF file, or a folder as `save_pretrained` writes it.
        weights: Option<PathBuf> = None, "initialised at random";
        /// Layers.
        #[within(Range::between(1.0, 1024.0))]
        layers: Option<usize> = None, "those of `weights`, else 4";
        /// Which layers of `weights` the student's start from, counted from 0.
        from_layers: Option<Vec<usize>> = None, "layers at equal distances, the last among them";
        /// Values of a token, of a student that starts at random.
        #[within(Range::between(2.0, 65536.0))]
        width: Option<usize> = None, "that of `weights`, else 256";
        /// Attention heads of a student that starts at random; they divide `width`.
        #[within(Range::between(1.0, 1024.0))]
        heads: Option<usize> = None, "those of `weights`, else `width` / 64";
        /// Values in the middle of the feed-forward part, of a student that starts at random.
        #[within(Range::between(1.0, 262144.0))]
        feed_forward: Option<usize> = None, "that of `weights`, else 8/3 `width`";
        /// A model (GGUF file or folder) whose tokenizer a student that starts at random has.
        tokenizer: Option<PathBuf> = None, "that of `weights`, else that of the first teacher";
    }
}

section! {
    /// `[[teachers]]` of language models: one trained decoder with the student's tokens.
    pub struct LanguageTeacher {
        /// Its name in reports, different from the other teachers' names.
        name: String;
        /// The decoder: a GGUF file, or a folder as `save_pretrained` writes it.
        weights: PathBuf;
    }
}

section! {
    /// `[method]` of language models: what is learnt at each token.
    pub struct LanguageMethod {
        /// `ce`, `kd`, `aver`, `ebkd`, `ca-mkd`, `max-probability` or `best-teacher`.
        #[within(Range::Words(LanguageMethodName::NAMES))]
        name: LanguageMethodName;
        /// Weight of the distillation term; cross-entropy with the true next token gets 1 - alpha.
        #[within(Range::between(0.0, 1.0))]
        alpha: f64 = 0.5, "faculty's choice";
        /// Softens both distributions of the distillation term.
        #[within(Range::between(0.01, 1000.0))]
        temperature: f64 = 1.0, "GKD paper";
        /// How student and teachers are compared: `forward` (KL from each teacher to the student),
        /// `reverse` (KL from the student to the teachers' weighted mixture), or `jensen-shannon` (GKD's
        /// generalised divergence from that mixture, with `beta`).
        #[within(Range::Words(LanguageDivergence::NAMES))]
        divergence: LanguageDivergence = LanguageDivergence::Forward, "Hinton, Vinyals, Dean 2015";
        /// Share of the teachers in the middle distribution (jensen-shannon).
        #[within(Range::between(0.0, 1.0))]
        beta: f64 = 0.5, "GKD paper";
    }
}

words! {
    /// `method.name` of a recipe of language models.
    pub enum LanguageMethodName {
        /// The text alone.
        #[default]
        Ce = "ce",
        /// One teacher.
        Kd = "kd",
        /// All teachers alike.
        Aver = "aver",
        /// Teachers that are sure of themselves count more.
        Ebkd = "ebkd",
        /// Teachers that predict the true next token better count more.
        CaMkd = "ca-mkd",
        /// Teachers with a larger largest probability count more.
        MaxProbability = "max-probability",
        /// The teacher that predicts the validation split best.
        BestTeacher = "best-teacher",
    }
}

words! {
    /// `method.divergence` of a recipe of language models.
    pub enum LanguageDivergence {
        /// From each teacher to the student: the student covers what teachers say.
        #[default]
        Forward = "forward",
        /// From the student to the teachers' mixture: the student seeks what teachers surely say.
        Reverse = "reverse",
        /// Between the two.
        JensenShannon = "jensen-shannon",
    }
}

words! {
    /// `writing.policy`: who writes what is learnt from.
    pub enum WritingPolicy {
        /// The first teacher, each beginning once.
        #[default]
        SequenceLevel = "sequence-level",
        /// The student as it is at that step.
        OnPolicy = "on-policy",
        /// The student a share of each step's texts, the training text has the others.
        ImitKd = "imitkd",
        /// The student all texts in a share of the steps.
        Gkd = "gkd",
        /// Student and first teacher in turns.
        Skd = "skd",
    }
}

section! {
    /// `[writing]` of language models: beginnings of the training text that models go on with.
    pub struct Writing {
        /// Who writes: `sequence-level`, `on-policy`, `imitkd`, `gkd` or `skd`.
        #[within(Range::Words(WritingPolicy::NAMES))]
        policy: WritingPolicy;
        /// Tokens of a beginning.
        #[within(Range::between(1.0, 1_048_576.0))]
        prompt_tokens: usize = 64, "faculty's choice";
        /// Most tokens that are written behind it.
        #[within(Range::between(1.0, 1_048_576.0))]
        max_tokens: usize = 64, "faculty's choice";
        /// Share that the student writes, of `imitkd` and `gkd` (λ there).
        #[within(Range::between(0.0, 1.0))]
        share: f64 = 0.5, "ImitKD and GKD papers";
        /// Tokens that the student drafts before the teacher looks at them (γ of `skd`).
        #[within(Range::between(1.0, 1024.0))]
        drafts: usize = 5, "SKD paper";
        /// Drafts stay that are among so many of the teacher's likeliest tokens (K of `skd`); with 0 the
        /// teacher writes all.
        #[within(Range::between(0.0, 1e9))]
        top_k: usize = 25, "SKD paper";
        /// Temperature of the student's choice; 0 always takes the likeliest token.
        #[within(Range::between(0.0, 1000.0))]
        temperature: Option<f64> = None, "1, with `skd` the SKD paper's 0.5";
    }
}

section! {
    /// `[train]` of language models: AdamW, a rate that rises and then falls along half a cosine to a
    /// tenth.
    pub struct LanguageTrain {
        /// Updates.
        #[within(Range::between(1.0, 1e9))]
        steps: usize = 1000, "faculty's choice";
        /// Tokens of a window; at most what student and teachers read.
        #[within(Range::between(2.0, 1_048_576.0))]
        window: usize = 128, "faculty's choice";
        /// Windows of a step.
        #[within(Range::between(1.0, 1e6))]
        batch_size: usize = 8, "faculty's choice";
        /// Learning rate: the peak of the schedule.
        #[within(Range::above(0.0))]
        learning_rate: f64 = 1e-3, "usual for small decoders";
        /// First steps, in which the learning rate rises.
        #[within(Range::between(0.0, 1e9))]
        warmup_steps: usize = 50, "faculty's choice";
        /// Weight decay of all but the scales of norms.
        #[within(Range::at_least(0.0))]
        weight_decay: f64 = 0.1, "usual for decoders";
        /// Clip the global gradient norm to this value.
        #[within(Range::above(0.0))]
        clip_gradient_norm: Option<f64> = Some(1.0), "usual for decoders";
        /// Write a line of metrics and measure on the validation split after every this many steps, and
        /// after the last.
        #[within(COUNT)]
        evaluate_every: usize = 100, "faculty's choice";
        /// Write a checkpoint this many minutes after the last one, and after each measurement; 0 = after
        /// every step.
        #[within(Range::at_least(0.0))]
        checkpoint_minutes: f64 = 10.0, "faculty's choice";
        /// Threads to work on; the result does not depend on it.
        #[within(Range::between(1.0, 4096.0))]
        threads: Option<usize> = None, "all cores";
    }
}

impl LanguageRecipe {
    /// Every key that such a recipe can have: `train.steps`, `teachers.name`.
    #[must_use]
    pub fn keys() -> Vec<String> {
        paths().iter().map(|path| path.replace("[0]", "")).collect()
    }

    /// Whether the recipe file at `path` is one of language models: `data.format`, perhaps of `sets`, is
    /// `running-text`. One that cannot be read is none.
    #[must_use]
    pub fn is_at(path: impl AsRef<Path>, sets: &[String]) -> bool {
        std::fs::read_to_string(path).is_ok_and(|text| Self::is_text_of_one(&text, sets))
    }

    /// The same of a recipe's text.
    #[must_use]
    pub fn is_text_of_one(text: &str, sets: &[String]) -> bool {
        parse(text, Path::new(""), sets).is_ok_and(|(tree, _)| Self::is_tree_of_one(&tree))
    }

    /// The same of what was read of it.
    pub(super) fn is_tree_of_one(tree: &Node) -> bool {
        let format =
            ["data", "format"].iter().try_fold(tree, |node: &Node, key| match &node.content {
                Content::Table(table) => table.get(*key),
                _ => None,
            });
        let format = format.and_then(|node| match &node.content {
            Content::Value(value) => value.as_str(),
            _ => None,
        });
        format == Some(FORMAT)
    }

    /// Reads a recipe file, then replaces what `sets` say, as [`Recipe::load`](crate::Recipe::load)
    /// does.
    ///
    /// # Errors
    /// When the file cannot be read, or with all problems of the recipe.
    pub fn load(
        path: impl AsRef<Path>,
        sets: &[String],
    ) -> Result<LoadedRecipe<Self>, RecipeError> {
        Self::from_str(&read_text(path.as_ref())?, path, sets)
    }

    /// Reads a recipe from text, as if it were in the file `name`.
    ///
    /// # Errors
    /// With all problems of the recipe.
    pub fn from_str(
        text: &str,
        name: impl AsRef<Path>,
        sets: &[String],
    ) -> Result<LoadedRecipe<Self>, RecipeError> {
        let name = name.as_ref();
        let (tree, mut problems) = parse(text, name, sets)?;
        refuse_empty(&tree, &Self::default(), &mut problems);
        let folder = super::file::folder_of(name);
        let mut reader =
            Reader { methods: &[], problems, folder, keys: paths(), student: String::new() };
        let mut recipe = Self::read(&mut reader, "", Some(&tree));
        if recipe.output.is_none() {
            recipe.output = Some(super::file::default_output(name));
        }
        let mut problems = reader.problems;
        recipe.problems(&mut problems);
        problems.refuse()?;
        let entries = entries(&recipe, &[], &problems.places);
        Ok(LoadedRecipe { recipe, warnings: problems.take(), entries })
    }

    /// Checks a recipe that was built in code.
    ///
    /// # Errors
    /// With all problems; their places are key paths.
    pub fn check(&self) -> Result<(), RecipeError> {
        let mut found = Problems::new(super::problems::Location::Code);
        self.problems(&mut found);
        found.refuse()
    }

    /// The whole recipe as TOML, every default written out.
    ///
    /// # Errors
    /// When a path is not UTF-8 text, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        to_toml(self)
    }

    fn problems(&self, problems: &mut Problems) {
        self.visit("", &[], &mut |path, spec, value| {
            if let Some(value) = value {
                check_range(path, &spec, &value, problems);
            }
        });
        self.student.problems(&self.teachers, problems);
        for (index, teacher) in self.teachers.iter().enumerate() {
            let at = join(&format!("teachers[{index}]"), "name");
            if self.teachers[..index].iter().any(|other| other.name == teacher.name) {
                let what = format!("two teachers are named `{}`", teacher.name);
                problems.add(&at, what, "give each a name of its own".to_owned());
            }
        }
        if self.method.divergence != LanguageDivergence::Forward && self.method.temperature != 1.0 {
            problems.add(
                "method.temperature",
                format!("divergence `{}` is at temperature 1", self.method.divergence.name()),
                "remove `temperature`, or take the divergence `forward`".to_owned(),
            );
        }
        if self.writing.is_some() && self.method.name == LanguageMethodName::Ce {
            problems.add(
                "writing",
                "plain training learns from the training text alone".to_owned(),
                "remove `[writing]`, or choose a method of teachers".to_owned(),
            );
        }
        let (name, count) = (self.method.name, self.teachers.len());
        let (fits, required) = match name {
            LanguageMethodName::Ce => (true, "none"),
            LanguageMethodName::Kd => (count == 1, "exactly one"),
            _ => (count >= 2, "at least two"),
        };
        if !fits {
            let hint = match (name, count) {
                (LanguageMethodName::Kd, 2..) => {
                    "take `aver`, `ca-mkd` or another method of several"
                }
                (_, 1) => "take `kd`, or add another `[[teachers]]`",
                _ => "add `[[teachers]]` with `name` and `weights`",
            };
            problems.add(
                "method.name",
                format!(
                    "`{}` learns from {required} teacher(s), the recipe has {count}",
                    name.name()
                ),
                hint.to_owned(),
            );
        }
    }
}

impl LanguageStudent {
    fn problems(&self, teachers: &[LanguageTeacher], problems: &mut Problems) {
        let alone = [
            ("width", self.width.is_some()),
            ("heads", self.heads.is_some()),
            ("feed_forward", self.feed_forward.is_some()),
            ("tokenizer", self.tokenizer.is_some()),
        ];
        if self.weights.is_some() {
            for (key, _) in alone.into_iter().filter(|(_, given)| *given) {
                problems.add(
                    &join("student", key),
                    format!("`student.{key}` is that of `student.weights`"),
                    format!("remove `{key}`, or `weights` for a student that starts at random"),
                );
            }
        } else {
            if self.from_layers.is_some() {
                problems.add(
                    "student.from_layers",
                    "`student.from_layers` are layers of `student.weights`, which is missing"
                        .to_owned(),
                    "add `weights = \"…\"`, or remove `from_layers`".to_owned(),
                );
            }
            if self.tokenizer.is_none() && teachers.is_empty() {
                problems.add(
                    "student",
                    "the student has neither `weights` nor `tokenizer`, and there is no teacher to \
                     take a tokenizer from"
                        .to_owned(),
                    "add `weights = \"…\"` or `tokenizer = \"…\"` to `[student]`".to_owned(),
                );
            }
        }
        if let (Some(from), Some(layers)) = (&self.from_layers, self.layers)
            && from.len() != layers
        {
            problems.add(
                "student.from_layers",
                format!("`student.from_layers` names {} layers for {layers}", from.len()),
                "name one for each of `layers`, or leave `layers` out".to_owned(),
            );
        }
    }
}

fn paths() -> Vec<String> {
    let recipe = LanguageRecipe {
        teachers: vec![LanguageTeacher::default()],
        writing: Some(Writing::default()),
        ..LanguageRecipe::default()
    };
    let mut paths = Vec::new();
    recipe.visit("", &[], &mut |path, _, _| paths.push(path.to_owned()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[data]
path = "text"
format = "running-text"
[student]
layers = 2
[[teachers]]
name = "a"
weights = "a.gguf"
[method]
name = "kd"
"#;

    #[test]
    fn a_resolved_recipe_reads_as_itself_and_paths_are_of_its_folder() {
        assert!(LanguageRecipe::is_text_of_one(GOOD, &[]));
        assert!(!LanguageRecipe::is_text_of_one(&GOOD.replace("running-text", "folder"), &[]));
        assert!(LanguageRecipe::is_text_of_one("", &["data.format=running-text".to_owned()]));
        let sets = ["train.steps=5".to_owned()];
        let loaded = LanguageRecipe::from_str(GOOD, "/here/r.toml", &sets).unwrap();
        let recipe = &loaded.recipe;
        assert_eq!(recipe.train.steps, 5);
        assert_eq!(recipe.teachers[0].weights, Path::new("/here/a.gguf"));
        let again = LanguageRecipe::from_str(&recipe.to_toml().unwrap(), "/other/x.toml", &[]);
        assert_eq!(&again.unwrap().recipe, recipe);
        let steps = loaded.explain().iter().find(|entry| entry.key == "train.steps").unwrap();
        assert_eq!(steps.origin.to_string(), "--set");
        assert!(LanguageRecipe::keys().contains(&"teachers.weights".to_owned()));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let wrong = [
            ("name = \"kd\"", "name = \"dkd\"", "method.name", 11),
            ("layers = 2", "layers = 0", "student.layers", 6),
            ("layers = 2", "from_layers = [1]", "student.from_layers", 6),
            ("layers = 2", "weights = \"b\"\nwidth = 8", "student.width", 7),
            ("name = \"kd\"", "name = \"aver\"", "method.name", 11),
            ("name = \"kd\"", "name = \"kd\"\nbetta = 1", "method.betta", 12),
            (
                "[method]",
                "[method]\ndivergence = \"reverse\"\ntemperature = 2",
                "method.temperature",
                12,
            ),
        ];
        for (from, to, key, line) in wrong {
            let error = LanguageRecipe::from_str(&GOOD.replacen(from, to, 1), "r.toml", &[]);
            let problems = error.expect_err(to).problems;
            assert_eq!(problems[0].key, key, "{problems:?}");
            assert!(problems[0].place().contains(&format!("r.toml:{line}")), "{problems:?}");
        }
        let all =
            wrong[..2].iter().fold(GOOD.to_owned(), |text, (from, to, ..)| text.replace(from, to));
        assert_eq!(LanguageRecipe::from_str(&all, "r.toml", &[]).unwrap_err().problems.len(), 2);
        let alone = GOOD.replace("[[teachers]]\nname = \"a\"\nweights = \"a.gguf\"\n", "");
        let error = LanguageRecipe::from_str(&alone, "r.toml", &[]).unwrap_err();
        let keys: Vec<&str> = error.problems.iter().map(|own| own.key.as_str()).collect();
        assert_eq!(keys, ["student", "method.name"]);
    }
}
