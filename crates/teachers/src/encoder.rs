//! Text encoders as teachers: the folder, its tokenizer, its weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_data::Tokenizer;
use faculty_inputs::Tokenize as _;
use faculty_nets::weights::{WeightFile, file_hash};
use faculty_nets::{EncoderFamily, EncoderFolder, Graph, LoadedEncoder, TeacherInput};
use faculty_recipe as recipe;

use crate::error::{Result, TeacherError};
use crate::run_data::RunData;

/// Whether a recipe's name of a network is that of a family of text encoders.
#[must_use]
pub fn is_encoder(network: &str) -> bool {
    EncoderFamily::of(network).is_some()
}

/// A text encoder that a recipe names as a teacher.
pub(crate) struct EncoderTeacher {
    folder: EncoderFolder,
    tokenizer: Arc<Tokenizer>,
}

impl EncoderTeacher {
    /// Reads its settings and its tokenizer, and no weights; nothing of a teacher that is no text
    /// encoder.
    pub(crate) fn find(spec: &recipe::Teacher, data: &RunData) -> Result<Option<Self>> {
        let name = spec.network.as_deref().unwrap_or_default();
        if data.tokenizer.is_none() || spec.network.is_none() {
            // Of images, or a source that the caller looks at.
            return match is_encoder(name) {
                false => Ok(None),
                true => Err(wrong_kind(spec, "texts", "images")),
            };
        }
        if !is_encoder(name) {
            return Err(wrong_kind(spec, "images", "texts"));
        }
        let folder = EncoderFolder::open(spec.weights.as_deref().unwrap_or(Path::new("")))?;
        let family = folder.config.family.name();
        if family != name {
            return Err(TeacherError::OtherFamily {
                teacher: spec.name.clone(),
                named: name.to_owned(),
                found: family,
            });
        }
        let max_tokens = spec.max_tokens.unwrap_or(data.max_tokens);
        let path = spec.tokenizer.as_deref().unwrap_or(&folder.folder);
        let tokenizer = Arc::new(Tokenizer::open(path, max_tokens)?);
        check_tokens(&spec.name, &tokenizer, &folder.config)?;
        Ok(Some(Self { folder, tokenizer }))
    }

    /// What its outputs depend on beside its weights.
    pub(crate) fn reading(&self) -> String {
        format!("of tokens {}", self.tokenizer.identity())
    }

    /// The file of its weights, and the others that count as much.
    pub(crate) fn files(&self) -> (&Path, Vec<PathBuf>) {
        (&self.folder.weights, vec![self.folder.folder.join("config.json")])
    }

    /// SHA-256 of its weights.
    pub(crate) fn weights_sha256(&self) -> Result<String> {
        Ok(file_hash(&self.folder.weights)?)
    }

    /// The names of its classes, as its file or its folder gives them.
    pub(crate) fn class_names(&self) -> Option<Vec<String>> {
        self.folder.classes.clone()
    }

    /// From the student's texts to its tokens.
    pub(crate) fn input(&self, data: &RunData) -> TeacherInput {
        let student = data.tokenizer.as_ref();
        let same = student.is_some_and(|own| own.identity() == self.tokenizer.identity());
        let own = || -> Arc<dyn faculty_inputs::Tokenize> { self.tokenizer.clone() };
        TeacherInput::of_texts((!same).then(own))
    }

    /// Its structure.
    pub(crate) fn graph(&self, classes: usize) -> Result<Graph> {
        Ok(self.folder.config.graph(classes)?)
    }

    /// With its weights; without `classes` it has those of its file.
    pub(crate) fn load(
        &self,
        spec: &recipe::Teacher,
        classes: Option<usize>,
    ) -> Result<LoadedEncoder> {
        let mut file = WeightFile::open(&self.folder.weights, spec.weights_key.as_deref())?;
        let loaded = self.folder.config.load(&mut file, classes, 0)?;
        if !loaded.anew.is_empty() {
            return Err(TeacherError::Untrained {
                teacher: spec.name.clone(),
                path: self.folder.weights.clone(),
                missing: loaded.anew.join("`, `"),
            });
        }
        Ok(loaded)
    }
}

/// Checks that a network can read what a tokenizer gives; `who` is a teacher's name, or the student.
///
/// # Errors
/// [`TeacherError::Tokens`].
pub fn check_tokens(
    who: &str,
    tokenizer: &Tokenizer,
    config: &faculty_nets::EncoderConfig,
) -> Result<()> {
    let refuse = |problem: String, fix: &'static str| {
        Err(TeacherError::Tokens { who: who.to_owned(), problem, fix })
    };
    let (ids, rows) = (tokenizer.vocabulary(), config.vocabulary);
    if ids > rows {
        return refuse(
            format!("its tokenizer gives ids up to {}, its table has {rows} rows", ids - 1),
            "give the tokenizer that belongs to the network: `tokenizer = …`",
        );
    }
    let (most, longest) = (tokenizer.max_tokens(), config.longest);
    if most > longest {
        return refuse(
            format!("texts of up to {most} tokens, the network reads {longest}"),
            "lower `max_tokens`",
        );
    }
    Ok(())
}

fn wrong_kind(spec: &recipe::Teacher, reads: &'static str, data: &'static str) -> TeacherError {
    let network = spec.network.clone().unwrap_or_default();
    TeacherError::OtherKind { who: format!("teacher `{}`", spec.name), network, reads, data }
}
