//! The batches of one epoch added up.

use std::collections::BTreeMap;

use faculty_records::run::TermRecord;
use serde::{Deserialize, Serialize};

use crate::learner::StepRecord;

/// Adds up the batches of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    batches: usize,
    samples: usize,
    correct: usize,
    /// Those of the samples that have no label.
    #[serde(default, skip_serializing_if = "is_zero")]
    unlabelled: usize,
    #[serde(with = "faculty_records::number")]
    loss: f64,
    /// Term → sum of its values, its constant.
    #[serde(with = "faculty_records::number")]
    terms: BTreeMap<String, (f64, f64)>,
    #[serde(with = "faculty_records::number")]
    weights: BTreeMap<String, Vec<f64>>,
}

impl EpochSums {
    pub(crate) fn add(&mut self, step: &StepRecord, samples: usize) {
        self.batches += 1;
        self.samples += samples;
        self.correct += step.correct;
        self.unlabelled += step.unlabelled;
        self.loss += step.loss;
        for term in &step.terms {
            let sum = self.terms.entry(term.name.to_owned()).or_default();
            sum.0 += term.value;
            sum.1 = term.weight;
        }
        for (level, weights) in &step.teacher_weights {
            let zeros = || vec![0.0; weights.len()];
            let sums = self.weights.entry((*level).to_owned()).or_insert_with(zeros);
            sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w);
        }
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.batches.max(1) as f64
    }

    /// The sum of the batches' losses, and how many they are.
    pub(crate) fn total_loss(&self) -> (f64, f64) {
        (self.loss, self.batches as f64)
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    pub(crate) fn train_top1(&self) -> f64 {
        100.0 * self.correct as f64 / (self.samples - self.unlabelled).max(1) as f64
    }

    pub(crate) fn terms(&self) -> BTreeMap<String, TermRecord> {
        let batches = self.batches.max(1) as f64;
        let whole: f64 = self.terms.values().map(|(value, weight)| (value * weight).abs()).sum();
        self.terms
            .iter()
            .map(|(name, &(value, weight))| {
                let share = if whole > 0.0 { (value * weight).abs() / whole } else { 0.0 };
                (name.clone(), TermRecord { value: value / batches, weight, share })
            })
            .collect()
    }

    pub(crate) fn teacher_weights(
        &self,
        names: &[String],
    ) -> BTreeMap<String, BTreeMap<String, f64>> {
        let batches = self.batches.max(1) as f64;
        self.weights
            .iter()
            .map(|(level, sums)| {
                let means = names.iter().cloned().zip(sums.iter().map(|sum| sum / batches));
                (level.clone(), means.collect())
            })
            .collect()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
