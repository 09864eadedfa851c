//! What teachers are worth, measured before anything is trained.
//!
//! ```text
//! Predictions (logits of all teachers on one part) -> Report { TeacherReport.., ensemble, Diversity }
//! ```
//! Per teacher: quality, fitted temperature, accuracy on each class, and whether another
//! normalisation or another order of the classes would make it much better. Between teachers: how
//! far they agree and how much one knows that the others do not.

use faculty_data::{Split, ViewSettings};
use serde::{Deserialize, Serialize};

pub use faculty_records::quality::predictions as answers;

pub use faculty_contract::TeacherProfile;

use crate::error::Result;
use crate::evaluate::{for_each_batch, mean_of_probabilities};
use crate::soundness::Soundness;
use crate::source::{TeacherBatch, TeacherSource};
use crate::suspicion::Suspicion;
use chance::{Chance, balanced_accuracy};
use faculty_nets::TeacherOutputs;
use faculty_records::quality::{Quality, QualityMeter};

mod assignment;
mod chance;
mod class_order;

mod normalisation;
mod precision;
mod temperature;

pub use class_order::{ClassOrderCheck, MovedClass, check_class_order};
pub use faculty_records::class_accuracy::{ClassAccuracy, class_accuracies, wilson};
pub use faculty_records::diversity::{Diversity, PairDiversity, diversity};
pub use normalisation::{NormalisationCheck, TriedNormalisation, check_normalisation};
pub use precision::PrecisionCheck;
pub use temperature::{FittedTemperature, TEMPERATURE_BOUNDS, fit_temperature};

/// Logits of several teachers on the plain images of one part, in the order of the part.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// `[samples]`.
    pub labels: Vec<u32>,
    /// `[samples, classes]` of each teacher.
    pub logits: Vec<Vec<f32>>,
    /// Of each teacher: whether these are numbers that a loss can use.
    pub soundness: Vec<Soundness>,
    ensemble: QualityMeter,
}

impl Predictions {
    /// Runs the teachers over a part. `views` are the student's, as in training.
    ///
    /// Keeps `teachers · samples · classes` floats.
    ///
    /// # Errors
    /// When a batch cannot be prepared or a teacher fails.
    pub fn collect(
        teachers: &mut [&mut dyn TeacherSource],
        part: &Split,
        views: &ViewSettings,
    ) -> Result<Self> {
        let classes = teachers.first().map_or(0, |teacher| teacher.classes());
        let mut all = Self {
            classes,
            labels: Vec::new(),
            logits: vec![Vec::new(); teachers.len()],
            soundness: vec![Soundness::default(); teachers.len()],
            ensemble: QualityMeter::default(),
        };
        for_each_batch(part, views, |batch| {
            let view = TeacherBatch::from(batch);
            let outputs = teachers
                .iter_mut()
                .map(|teacher| teacher.outputs(&view, &[]))
                .collect::<Result<Vec<TeacherOutputs>>>()?;
            all.add(&outputs, &batch.labels);
            Ok(())
        })?;
        Ok(all)
    }

    fn add(&mut self, outputs: &[TeacherOutputs], labels: &[u32]) {
        self.labels.extend_from_slice(labels);
        for ((own, soundness), output) in
            self.logits.iter_mut().zip(&mut self.soundness).zip(outputs)
        {
            own.extend_from_slice(&output.logits);
            soundness.add(&output.logits, self.classes);
        }
        if let Some(logits) = mean_of_probabilities(outputs, labels.len()) {
            self.ensemble.add(&logits, labels);
        }
    }

    /// Each teacher's class of each sample.
    #[must_use]
    pub fn answers(&self) -> Vec<Vec<Option<u32>>> {
        self.logits.iter().map(|logits| answers(logits, self.classes)).collect()
    }
}

/// What is known of one teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherReport {
    /// Name in the recipe.
    pub name: String,
    /// Network name.
    pub network: String,
    /// Alone, as its logits are.
    pub quality: Quality,
    /// Mean over the classes that have samples of the accuracy on them, percent.
    pub balanced: f64,
    /// The class that it names on every sample, if it is always the same.
    pub only_answer: Option<u32>,
    /// Mean of the highest probability, 0 to 1.
    pub mean_confidence: f64,
    /// At the temperature that fits best.
    pub calibrated: FittedTemperature,
    /// Accuracy on the samples of each class.
    pub per_class: Vec<ClassAccuracy>,
    /// Whether it knows little more than guessing.
    pub near_chance: bool,
    /// Whether the recipe accepts it nevertheless.
    pub allow_weak: bool,
    /// What a user should know of its outputs.
    pub notes: Vec<String>,
    /// Other normalisations, if they were tried.
    pub normalisation: Option<NormalisationCheck>,
    /// Another order of the classes, if it was tried.
    pub class_order: Option<ClassOrderCheck>,
    /// Beside itself in f32, if it is run in another precision and that was tried.
    #[serde(default)]
    pub precision: Option<PrecisionCheck>,
}

impl TeacherReport {
    /// What seems to be wrong with the way it is used, with a way to fix it: of another
    /// normalisation and another order of the classes the one that explains more.
    #[must_use]
    pub fn suspicion(&self) -> Option<Suspicion> {
        if self.doubts_normalisation() {
            return self.normalisation.as_ref().and_then(NormalisationCheck::suspicion);
        }
        self.class_order
            .as_ref()
            .and_then(ClassOrderCheck::suspicion)
            .or_else(|| self.suspicion_of_scale())
    }

    /// What [`TeacherReport::suspicion`] is about, in a word or two.
    #[must_use]
    pub fn doubted(&self) -> Option<&'static str> {
        let order = self.class_order.as_ref().and_then(ClassOrderCheck::suspicion);
        self.suspicion().map(|_| match (self.doubts_normalisation(), order) {
            (true, _) => "normalisation",
            (false, Some(_)) => "class order",
            (false, None) => "scale",
        })
    }

    /// Whether its answers are right, and its logits of another scale than those of classifiers.
    fn suspicion_of_scale(&self) -> Option<Suspicion> {
        /// Trained networks are fitted by temperatures from 0.5 to 3; one that is always right by any
        /// small one.
        const FLAT: f64 = 0.25;
        const SHARP: f64 = 9.0;
        const LESS_SURE_THAN_RIGHT: f64 = 0.3;
        let FittedTemperature { temperature, at_bound, .. } = self.calibrated;
        let less_sure = self.quality.top1 / 100.0 - self.mean_confidence > LESS_SURE_THAN_RIGHT;
        let how = match (temperature <= FLAT && less_sure, temperature >= SHARP) {
            _ if self.near_chance => return None,
            (true, _) => "flat",
            (false, true) => "sharp",
            (false, false) => return None,
        };
        let bound = if at_bound { ", the bound of the search" } else { "" };
        Some(Suspicion {
            what: format!(
                "its logits are far too {how} (right on {:.1} %, {:.1} % sure; they fit the labels at \
                 temperature {temperature:.2}{bound}), so what it says of the other classes is lost",
                self.quality.top1,
                100.0 * self.mean_confidence
            ),
            fix: "give logits, not cosines, votes or odds; or divide them all by one number"
                .to_owned(),
        })
    }

    /// What seems to be wrong with the precision in which it is run.
    #[must_use]
    pub fn precision_suspicion(&self) -> Option<Suspicion> {
        self.precision.as_ref().and_then(PrecisionCheck::suspicion)
    }

    /// Whether [`TeacherReport::suspicion`] is about the normalisation.
    #[must_use]
    pub fn doubts_normalisation(&self) -> bool {
        let order = self.class_order.as_ref().filter(|check| check.much_better);
        let better = self.normalisation.as_ref().and_then(NormalisationCheck::better);
        better.is_some_and(|better| order.is_none_or(|order| better.top1 >= order.reordered))
    }

    /// What methods may know of it.
    #[must_use]
    pub fn profile(&self) -> TeacherProfile {
        let top1 = self.quality.top1;
        TeacherProfile {
            name: self.name.clone(),
            top1,
            nll: self.quality.nll,
            calibrated_nll: self.calibrated.nll,
            temperature: self.calibrated.temperature,
            class_accuracy: self.per_class.iter().map(|c| c.top1.unwrap_or(top1)).collect(),
            class_samples: self.per_class.iter().map(|c| c.samples).collect(),
        }
    }
}

/// What is known of all teachers of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where it was measured: `validation`, or `test` where there is no validation split.
    pub part: String,
    /// Samples of it that were used.
    pub samples: usize,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// Accuracy of always naming the most frequent class, percent.
    pub chance: f64,
    /// That class.
    pub majority: String,
    /// The mean over the classes of any constant answer, percent.
    pub balanced_chance: f64,
    /// A teacher below this accuracy is near chance, percent, unless its mean over the classes is
    /// as far above [`Report::balanced_chance`].
    pub near_chance_below: f64,
    /// Each teacher, in the order of the recipe.
    pub teachers: Vec<TeacherReport>,
    /// Mean of the teachers' probabilities.
    pub ensemble: Quality,
    /// Between the teachers; absent with one teacher.
    pub diversity: Option<Diversity>,
}

impl Report {
    /// From what the teachers said of `part`; `None` without teachers or samples.
    ///
    /// `teachers` holds name, network and `allow_weak` of each.
    #[must_use]
    pub fn new(
        part: &str,
        classes: &[String],
        teachers: &[(&str, &str, bool)],
        predictions: &Predictions,
    ) -> Option<Self> {
        let ensemble = predictions.ensemble.quality()?;
        let count = predictions.classes;
        let answers = predictions.answers();
        let labels = &predictions.labels;
        let chance = Chance::of(labels, count);
        let reports = teachers
            .iter()
            .zip(&predictions.logits)
            .zip(&answers)
            .map(|((&(name, network, allow_weak), logits), answers)| {
                let quality = quality(logits, labels)?;
                let per_class = class_accuracies(answers, labels, count);
                let balanced = balanced_accuracy(&per_class);
                let right = answers.iter().zip(labels).filter(|&(a, b)| *a == Some(*b)).count();
                let only = only_answer(answers);
                let near = chance.is_near(quality.top1, balanced)
                    && chance.is_convincing(right, labels.len(), only.is_some());
                Some(TeacherReport {
                    name: name.to_owned(),
                    network: network.to_owned(),
                    quality,
                    balanced,
                    only_answer: only,
                    mean_confidence: mean_confidence(logits, count),
                    calibrated: fit_temperature(logits, labels),
                    per_class,
                    near_chance: near,
                    allow_weak,
                    notes: Vec::new(),
                    normalisation: None,
                    class_order: None,
                    precision: None,
                })
            })
            .collect::<Option<Vec<TeacherReport>>>()?;
        Some(Self {
            part: part.to_owned(),
            samples: labels.len(),
            classes: classes.to_vec(),
            chance: chance.top1,
            majority: classes.get(chance.majority).cloned().unwrap_or_default(),
            balanced_chance: chance.balanced,
            near_chance_below: chance.near_below(),
            teachers: reports,
            ensemble,
            diversity: diversity(&answers, &predictions.logits, labels),
        })
    }

    /// The first teacher near chance that the recipe does not allow.
    #[must_use]
    pub fn refused(&self) -> Option<&TeacherReport> {
        self.teachers.iter().find(|teacher| teacher.near_chance && !teacher.allow_weak)
    }

    /// Classes by how far the teachers differ on them, the widest first, those without samples left
    /// out: class number and the difference between the best and the worst teacher in points.
    /// Teachers near chance are passed over while two others are left: they differ everywhere.
    #[must_use]
    pub fn contested_classes(&self) -> Vec<(usize, f64)> {
        let good: Vec<&TeacherReport> =
            self.teachers.iter().filter(|teacher| !teacher.near_chance).collect();
        let compared = if good.len() > 1 { good } else { self.teachers.iter().collect() };
        let mut spreads: Vec<(usize, f64)> = (0..self.classes.len())
            .filter_map(|class| {
                let own: Option<Vec<f64>> =
                    compared.iter().map(|teacher| teacher.per_class[class].top1).collect();
                let own = own?;
                let most = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let least = own.iter().copied().fold(f64::INFINITY, f64::min);
                Some((class, most - least))
            })
            .collect();
        spreads.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        spreads
    }
}

/// The class that is named every time; of one sample nothing can be said.
fn only_answer(answers: &[Option<u32>]) -> Option<u32> {
    let first = *answers.first()?;
    first.filter(|_| answers.len() > 1 && answers.iter().all(|&answer| answer == first))
}

fn quality(logits: &[f32], labels: &[u32]) -> Option<Quality> {
    let mut meter = QualityMeter::default();
    if !labels.is_empty() {
        meter.add(logits, labels);
    }
    meter.quality()
}

fn mean_confidence(logits: &[f32], classes: usize) -> f64 {
    let rows = logits.chunks_exact(classes.max(1));
    let count = rows.len().max(1) as f64;
    let confidence = |row: &[f32]| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        1.0 / row.iter().map(|&z| f64::from(z - largest).exp()).sum::<f64>()
    };
    rows.map(confidence).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(logits: Vec<Vec<f32>>, labels: Vec<u32>) -> Predictions {
        let classes = logits[0].len() / labels.len();
        let mut all = Predictions {
            classes,
            labels: Vec::new(),
            logits: vec![Vec::new(); logits.len()],
            soundness: vec![Soundness::default(); logits.len()],
            ensemble: QualityMeter::default(),
        };
        let outputs: Vec<TeacherOutputs> =
            logits.into_iter().map(|logits| TeacherOutputs { logits, maps: vec![] }).collect();
        all.add(&outputs, &labels);
        all
    }

    #[test]
    fn answers_are_those_that_top1_counts() {
        let logits = [1.0, 1.0, 0.0, 0.0, 0.0, 2.0, f32::NAN, 0.0, 1.0];
        assert_eq!(answers(&logits, 3), [Some(0), Some(2), None]);
    }

    #[test]
    fn a_report_tells_who_is_trusted_where() {
        // Two classes, four samples each; teacher a is right on class 0 alone, b on class 1 alone,
        // but for one sample each.
        let labels = vec![0, 0, 0, 0, 1, 1, 1, 1];
        let says = |classes: [usize; 8]| -> Vec<f32> {
            classes.iter().flat_map(|&c| if c == 0 { [2.0, 0.0] } else { [0.0, 2.0] }).collect()
        };
        let a = says([0, 0, 0, 0, 0, 0, 0, 1]);
        let b = says([0, 1, 1, 1, 1, 1, 1, 1]);
        let all = predictions(vec![a, b], labels);
        let names = ["x".to_owned(), "y".to_owned()];
        let teachers = [("a", "resnet8", false), ("b", "resnet8", true)];
        let report = Report::new("validation", &names, &teachers, &all).unwrap();
        let profile = report.teachers[0].profile();
        assert_eq!(profile.class_accuracy, [100.0, 25.0]);
        assert_eq!(profile.class_samples, [4, 4]);
        assert_eq!(report.contested_classes(), [(0, 75.0), (1, 75.0)]);
        assert!((report.chance - 50.0).abs() < 1e-12);
        assert!((report.near_chance_below - 55.0).abs() < 1e-12);
        assert_eq!(report.refused(), None);
        let confidence = 1.0 / (1.0 + (-2.0_f64).exp());
        assert!((report.teachers[0].mean_confidence - confidence).abs() < 1e-9);
        let text = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!((read.classes, read.teachers.len()), (report.classes, 2));
    }

    #[test]
    fn logits_of_another_scale_are_suspected() {
        // Right on nine samples of ten, of three classes.
        let labels: Vec<u32> = (0..60).map(|sample| sample % 3).collect();
        let logits = |scale: f32| -> Vec<f32> {
            let row = |(sample, &label): (usize, &u32)| {
                let said = if sample % 10 == 9 { (label + 1) % 3 } else { label };
                (0..3).map(move |class| if class == said { scale } else { 0.0 })
            };
            labels.iter().enumerate().flat_map(row).collect()
        };
        let names = ["x", "y", "z"].map(str::to_owned);
        let suspicion = |scale| {
            let all = predictions(vec![logits(scale)], labels.clone());
            let report = Report::new("test", &names, &[("a", "resnet8", false)], &all).unwrap();
            let own = &report.teachers[0];
            assert!(own.doubted().is_none_or(|word| word == "scale"), "{:?}", own.doubted());
            own.suspicion().map(|own| own.what)
        };
        assert!(suspicion(1e-6).unwrap().contains("far too flat"));
        assert!(suspicion(0.1).unwrap().contains("far too flat"));
        assert_eq!(suspicion(3.0), None);
        assert!(suspicion(300.0).unwrap().contains("far too sharp"));
    }

    #[test]
    fn a_teacher_near_chance_is_refused_unless_allowed() {
        let logits = [1.0, 0.0].repeat(10);
        let labels = [0, 1].repeat(5);
        let all = predictions(vec![logits], labels);
        let names = ["x".to_owned(), "y".to_owned()];
        let report = |allow| Report::new("test", &names, &[("a", "resnet8", allow)], &all).unwrap();
        assert_eq!(report(false).refused().map(|t| t.name.as_str()), Some("a"));
        assert_eq!(report(true).refused(), None);
        assert!(report(true).teachers[0].near_chance);
        assert_eq!(report(true).diversity, None);
    }
}
