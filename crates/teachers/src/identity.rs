//! What a teacher's outputs depend on beside the pixels that reach it.

use serde::{Deserialize, Serialize};

use faculty_recipe::Precision;
use faculty_records::run::TeacherCard;

/// Two teachers with equal identity give equal outputs on the same data and classes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherIdentity {
    /// `network`, `head`, `onnx` or `logits`.
    pub source: String,
    /// Network name, or the file's name.
    pub network: String,
    /// SHA-256 of its main file.
    pub weights_sha256: String,
    /// SHA-256 of the files that belong to it.
    pub beside_sha256: String,
    /// Mean of each channel in its own normalisation.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel likewise.
    pub std: Vec<f32>,
    /// Height and width of its own input, if not the data's.
    pub input_size: Option<[usize; 2]>,
    /// Names of the outputs read from an ONNX file, or which of a file's sets of weights they are
    /// of, where the recipe says so.
    pub outputs: String,
    /// In which it is run. Manifests of before, which say nothing of it, mean `f32`.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// What the recipe declares about its classes.
    pub declared_classes: String,
    /// How its classes became the data's, in words. No part of the comparison: it follows from the
    /// rest.
    pub classes: String,
    /// What a user should know of it; no part of the comparison.
    pub notes: Vec<String>,
}

impl TeacherIdentity {
    /// The card of the teacher `name`, not measured yet.
    #[must_use]
    pub fn card(&self, name: &str) -> TeacherCard {
        TeacherCard {
            name: name.to_owned(),
            network: self.network.clone(),
            source: self.source.clone(),
            precision: self.precision.name().to_owned(),
            identity: self.text(),
            weights_sha256: self.weights_sha256.clone(),
            classes: self.classes.clone(),
            notes: self.notes.clone(),
            quality: None,
            temperature: None,
            class_accuracy: None,
        }
    }

    /// All that is compared, in one line; of the precision only another one than `f32`, so that caches
    /// and checkpoints of before know their teachers.
    pub(crate) fn text(&self) -> String {
        let is_shown =
            |(field, _): &(&str, String)| *field != PRECISION || !is_f32(&self.precision);
        let compared: Vec<String> = self
            .compared()
            .into_iter()
            .filter(is_shown)
            .map(|(field, value)| format!("{field}={value}"))
            .collect();
        compared.join(" ")
    }

    /// Name and two values of the first field that differs.
    pub(crate) fn difference(&self, recipe: &Self) -> Option<(&'static str, String, String)> {
        let fields = self.compared().into_iter().zip(recipe.compared());
        let mut fields = fields.map(|((field, cache), (_, recipe))| (field, cache, recipe));
        fields.find(|(_, cache, recipe)| cache != recipe)
    }

    fn compared(&self) -> [(&'static str, String); 10] {
        let list = |values: &[f32]| format!("{values:?}");
        let size = |[height, width]: [usize; 2]| format!("{height}×{width}");
        [
            ("source", self.source.clone()),
            ("network", self.network.clone()),
            ("weight file (SHA-256)", self.weights_sha256.clone()),
            ("files beside it (SHA-256)", self.beside_sha256.clone()),
            ("mean", list(&self.mean)),
            ("std", list(&self.std)),
            ("input size", self.input_size.map_or_else(|| "the data's".to_owned(), size)),
            ("outputs", self.outputs.clone()),
            ("classes", self.declared_classes.clone()),
            (PRECISION, self.precision.name().to_owned()),
        ]
    }
}

/// The field of [`TeacherIdentity::precision`].
const PRECISION: &str = "precision";

fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
}

impl PartialEq for TeacherIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.compared() == other.compared()
    }
}
