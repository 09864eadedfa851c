//! What a teacher's outputs depend on beside the pixels that reach it.

use faculty_data::Normalisation;
use faculty_nets::weights::file_hash;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::recipe;
use crate::record::TeacherCard;

/// Two teachers with equal identity give equal outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherIdentity {
    /// Network name.
    pub network: String,
    /// SHA-256 of the weight file.
    pub weights_sha256: String,
    /// Mean of each channel in its own normalisation.
    pub mean: Vec<f32>,
    /// Deviation of each channel likewise.
    pub std: Vec<f32>,
}

impl TeacherIdentity {
    /// Of a teacher of a recipe, from its files alone: no network is built. `student` is the
    /// normalisation of the student's input.
    ///
    /// # Errors
    /// When its weight file cannot be read.
    pub fn of(wanted: &recipe::Teacher, student: &Normalisation) -> Result<Self> {
        let or = |own: &Option<Vec<f32>>, student: &[f32]| {
            own.clone().unwrap_or_else(|| student.to_vec())
        };
        Ok(Self {
            network: wanted.network.clone(),
            weights_sha256: file_hash(&wanted.weights)?,
            mean: or(&wanted.mean, &student.mean),
            std: or(&wanted.std, &student.std),
        })
    }

    /// The card of the teacher `name`, not measured yet.
    pub(crate) fn card(&self, name: &str) -> TeacherCard {
        TeacherCard {
            name: name.to_owned(),
            network: self.network.clone(),
            weights_sha256: self.weights_sha256.clone(),
            quality: None,
            temperature: None,
            class_accuracy: None,
        }
    }

    /// Name and two values of the first field that differs.
    pub(crate) fn difference(&self, recipe: &Self) -> Option<(&'static str, String, String)> {
        let list = |values: &[f32]| format!("{values:?}");
        [
            ("network", self.network.clone(), recipe.network.clone()),
            ("weight file (SHA-256)", self.weights_sha256.clone(), recipe.weights_sha256.clone()),
            ("mean", list(&self.mean), list(&recipe.mean)),
            ("std", list(&self.std), list(&recipe.std)),
        ]
        .into_iter()
        .find(|(_, cache, recipe)| cache != recipe)
    }
}
