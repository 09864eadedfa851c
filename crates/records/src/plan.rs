//! `plan.json`: what came out of each student of a plan.

use serde::{Deserialize, Serialize};

use crate::quality::Quality;
use crate::run::{RunCard, StudentResult};

/// One student of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStudent {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: String,
    /// Trainable values.
    pub parameters: usize,
    /// Its weights, below the run folder.
    pub weights: String,
    /// Its objective with all constants.
    pub objective: String,
    /// After the last epoch.
    pub last: StudentResult,
    /// At the epoch with the best validation accuracy, whose weights are kept.
    pub best: StudentResult,
    /// Seconds of its training; in mutual learning those of all together.
    pub seconds: f64,
}

/// `plan.json`: what came out of each student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanCard {
    /// Version of this file's layout.
    pub format: u32,
    /// `born-again`, `assistants` or `mutual`.
    pub kind: String,
    /// In the order of their training; in mutual learning the named student first.
    pub students: Vec<PlannedStudent>,
    /// All of them together, by the mean of their probabilities; none for assistants.
    pub ensemble: Option<Ensemble>,
}

/// Quality of the students together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// On the validation split, if there is one.
    pub validation: Option<Quality>,
    /// On the test split, if there is one.
    pub test: Option<Quality>,
}

impl PlannedStudent {
    /// From the card of its run.
    #[must_use]
    pub fn new(name: &str, weights: String, card: &RunCard) -> Self {
        Self {
            name: name.to_owned(),
            network: card.student.clone(),
            parameters: card.student_parameters,
            weights,
            objective: card.objective.clone(),
            last: card.last,
            best: card.best,
            seconds: card.seconds,
        }
    }
}
