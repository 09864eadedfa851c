//! Everything that a run needs, opened and checked before anything is written.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_nets::{Decoder, Network, decoder_config};
use faculty_recipe::{LanguageMethodName, LanguageRecipe};
use faculty_records::language_run::{LanguageCard, LanguageModelEntry};

use super::measurements::Measurements;
use super::split::{MeasuredSplit, stream};
use super::teacher::{OpenTeacher, entry};
use crate::corpus::Corpus;
use crate::model::LanguageModel;
use crate::run_error::RunError;
use crate::student::{at_random, from_trained};
use crate::tokenizer::TextTokenizer;
use crate::vocabulary::check_same;

/// Layout of the card.
const FORMAT: u32 = 1;
/// Tokens that a student reads at once whose tokenizer is of no model.
const LONGEST: usize = 2048;

/// A run that can be trained: only this can.
#[derive(Debug)]
pub struct CheckedLanguageRun {
    pub(super) recipe: LanguageRecipe,
    pub(super) network: Network,
    pub(super) tokenizer: TextTokenizer,
    pub(super) ends: Vec<u32>,
    pub(super) teachers: Vec<OpenTeacher>,
    pub(super) stream: Vec<u32>,
    pub(super) validation: MeasuredSplit,
    pub(super) test: MeasuredSplit,
    /// Tokens of a window, as all models read them.
    pub(super) window: usize,
    pub(super) corpus_id: u64,
    pub(super) card: LanguageCard,
    pub(super) measurements: Measurements,
    notes: Vec<String>,
}

impl CheckedLanguageRun {
    /// Opens texts and models, compares their tokens, measures each teacher on the validation split.
    ///
    /// # Errors
    /// When something cannot be read or does not fit; a teacher with other tokens, or that gives values
    /// that are no numbers, by its name.
    pub fn new(recipe: &LanguageRecipe) -> Result<Self, RunError> {
        Self::with_measurements(recipe, &Measurements::default())
    }

    /// The same where some of the models may have been measured already, as by the run that this one goes
    /// on with.
    ///
    /// # Errors
    /// As [`CheckedLanguageRun::new`].
    pub fn with_measurements(
        recipe: &LanguageRecipe,
        measurements: &Measurements,
    ) -> Result<Self, RunError> {
        if let Err(error) = recipe.check() {
            return Err(RunError::Recipe {
                what: error.to_string(),
                hint: "fix these in the recipe",
            });
        }
        let corpus = Corpus::open(&recipe.data)?;
        let uses_teachers = recipe.method.name != LanguageMethodName::Ce;
        // Tokenizers first: they are compared in no time, weights take seconds.
        let source = recipe.student.weights.as_ref().or(recipe.student.tokenizer.as_ref());
        let source = source.or(recipe.teachers.first().map(|own| &own.weights));
        let Some(source) = source else {
            return Err(RunError::Recipe {
                what: "nothing says which tokens the student has".to_owned(),
                hint: "give `student.weights`, `student.tokenizer` or a teacher",
            });
        };
        let (tokenizer, ends) = LanguageModel::tokenizer(source)?;
        let mut teachers = Vec::new();
        let mut limits = Vec::new();
        let mut vocabulary = None;
        let mut network = match &recipe.student.weights {
            Some(path) => {
                let trained = faculty_nets::load_decoder(path)?;
                Some(from_trained(&recipe.student, trained, path)?)
            }
            None => None,
        };
        let rows_of =
            |network: &Network| network.graph().decoder().map_or(0, |config| config.vocabulary);
        if let Some(own) = &network {
            vocabulary = Some(rows_of(own));
        }
        for spec in recipe.teachers.iter().filter(|_| uses_teachers) {
            let (own, own_tokenizer, _) = LanguageModel::parts(&spec.weights)?;
            let rows = rows_of(&own);
            let expected = *vocabulary.get_or_insert(rows);
            check_same(&spec.name, (&own_tokenizer, rows), (&tokenizer, expected))?;
            limits.extend(own.graph().decoder().map(|config| config.longest));
            teachers.push(OpenTeacher::new(&spec.name, &own));
        }
        let network = match network.take() {
            Some(network) => network,
            None => {
                // Plain training starts as the methods do that have a teacher of these tokens.
                let of_source = decoder_config(source).ok().filter(|_| vocabulary.is_none());
                let of_source = of_source.map(|own| (own.vocabulary, own.longest));
                let rows = vocabulary.or(of_source.map(|own| own.0));
                let rows = rows.unwrap_or_else(|| tokenizer.size());
                let longest = limits.iter().copied().min().or(of_source.map(|own| own.1));
                let longest = longest.unwrap_or(LONGEST);
                at_random(&recipe.student, rows, longest, recipe.seed)?
            }
        };
        limits.extend(network.graph().decoder().map(|config| config.longest));
        let longest = limits.iter().copied().min().unwrap_or(usize::MAX);
        if let Some(writing) = &recipe.writing
            && writing.prompt_tokens.saturating_add(writing.max_tokens) > longest
        {
            return Err(RunError::Recipe {
                what: format!(
                    "texts of {} and {} tokens are longer than the {longest} that the models read",
                    writing.prompt_tokens, writing.max_tokens
                ),
                hint: "lower `writing.prompt_tokens` or `writing.max_tokens`",
            });
        }
        let mut notes = Vec::new();
        if recipe.train.window > longest {
            notes.push(format!("`train.window` is {longest}: the models read no more at once"));
        }
        let stream = stream(&tokenizer, &corpus.train, ends.first().copied())?;
        let validation =
            MeasuredSplit::new(&tokenizer, &corpus.validation, recipe.data.validation_tokens)?;
        let test = MeasuredSplit::new(&tokenizer, &corpus.test, usize::MAX)?;
        for teacher in &mut teachers {
            notes.extend(measure_teacher(teacher, &validation, measurements)?);
        }
        let mut student = entry("student", &network);
        let mut decoder = Decoder::new(&network);
        student.validation = measurements.of(&student.hash, &mut decoder, &validation)?;
        let card = LanguageCard {
            format: FORMAT,
            program: format!("faculty {}", env!("CARGO_PKG_VERSION")),
            name: recipe.name.clone(),
            method: recipe.method.name.name().to_owned(),
            seed: recipe.seed,
            steps: recipe.train.steps as u64,
            best_step: 0,
            tokens: [stream.len() as u64, validation.tokens(), test.tokens()],
            trained_tokens: 0,
            seconds: 0.0,
            student,
            teachers: teachers.iter().map(|own| own.entry.clone()).collect(),
        };
        let corpus_id = corpus.id();
        let window = recipe.train.window.min(longest);
        let recipe = recipe.clone();
        Ok(Self {
            recipe,
            network,
            tokenizer,
            ends,
            teachers,
            stream,
            validation,
            test,
            window,
            corpus_id,
            card,
            measurements: measurements.clone(),
            notes,
        })
    }

    /// What is known before the first step.
    #[must_use]
    pub fn card(&self) -> &LanguageCard {
        &self.card
    }

    /// What is allowed, but worth knowing.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All that the run depends on, to compare with that of a checkpoint.
    pub(crate) fn identity(&self) -> Result<BTreeMap<String, String>, RunError> {
        let mut identity = BTreeMap::from([
            ("recipe".to_owned(), recipe_text(&self.recipe)?),
            ("text in `data.path`".to_owned(), format!("{:016x}", self.corpus_id)),
            (STUDENT.to_owned(), self.card.student.hash.clone()),
        ]);
        for own in &self.card.teachers {
            identity.insert(format!("teacher `{}`", own.name), own.hash.clone());
        }
        Ok(identity)
    }

    /// Makes the identity of a run that of one with another seed.
    pub(crate) fn identify(
        identity: &mut BTreeMap<String, String>,
        recipe: &LanguageRecipe,
    ) -> Result<(), RunError> {
        identity.insert("recipe".to_owned(), recipe_text(recipe)?);
        if recipe.student.weights.is_none() {
            // What it starts from is a function of the seed.
            identity.remove(STUDENT);
        }
        Ok(())
    }

    /// The teachers, measured on the test split too.
    pub(crate) fn teachers_on_all_splits(mut self) -> Result<Vec<LanguageModelEntry>, RunError> {
        let mut entries = Vec::new();
        for teacher in &mut self.teachers {
            let hash = &teacher.entry.hash;
            let test = self.measurements.of(hash, &mut teacher.decoder, &self.test)?;
            entries.push(LanguageModelEntry { test, ..teacher.entry.clone() });
        }
        Ok(entries)
    }

    /// Number of the teacher that predicts the validation split best.
    pub(super) fn best_teacher(&self) -> usize {
        let nll = |own: &LanguageModelEntry| own.validation.map_or(f64::INFINITY, |own| own.nll);
        let teachers = self.card.teachers.iter().enumerate();
        let best = teachers.min_by(|(_, a), (_, b)| nll(a).total_cmp(&nll(b)));
        best.map_or(0, |(index, _)| index)
    }
}

/// Measures a teacher on the validation split; with what is odd about it.
fn measure_teacher(
    teacher: &mut OpenTeacher,
    validation: &MeasuredSplit,
    measurements: &Measurements,
) -> Result<Option<String>, RunError> {
    let quality = measurements.of(&teacher.entry.hash, &mut teacher.decoder, validation)?;
    teacher.entry.validation = quality;
    let Some(quality) = quality else { return Ok(None) };
    let name = &teacher.entry.name;
    if !quality.nll.is_finite() {
        return Err(RunError::TeacherBroke {
            teacher: name.clone(),
            place: "measured on the validation split".to_owned(),
        });
    }
    let chance = (teacher.decoder.config().vocabulary as f64).ln();
    Ok((quality.nll >= chance).then(|| {
        format!(
            "teacher `{name}` predicts the validation split no better than chance: {:.2} nats a token, \
             {chance:.2} for all tokens alike",
            quality.nll
        )
    }))
}

/// The word for the student in what a run depends on.
const STUDENT: &str = "student";

/// A recipe without what changes no result; of paths what lies there is compared.
fn recipe_text(recipe: &LanguageRecipe) -> Result<String, RunError> {
    let mut recipe = recipe.clone();
    recipe.name = None;
    recipe.output = None;
    recipe.train.threads = None;
    recipe.train.checkpoint_minutes = 0.0;
    recipe.data.path = Path::new(".").to_owned();
    recipe.student.weights = None;
    recipe.student.tokenizer = None;
    recipe.teachers.iter_mut().for_each(|own| own.weights = Path::new(".").to_owned());
    recipe.to_toml().map_err(|error| RunError::Recipe {
        what: error.to_string(),
        hint: "use names that are UTF-8 text",
    })
}
