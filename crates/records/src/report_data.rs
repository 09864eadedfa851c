//! `report.json`: what a report shows of a finished run and no other file holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class_accuracy::ClassAccuracy;
use crate::quality::CalibrationBin;
use crate::right_answers::RightAnswers;
use crate::statistics::mean;

/// Everything in `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Version of this layout.
    pub format: u32,
    /// The resulting student; none without a test and a validation split.
    pub student: Option<StudentDetail>,
    /// The teachers, and the student beside them; none without teachers, or without a part to
    /// measure them on.
    pub teachers: Option<TeachersDetail>,
}

/// The student on the part of its final numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentDetail {
    /// `test`, or `validation` where there is no test split.
    pub part: String,
    /// Samples of it.
    pub samples: usize,
    /// Right ones among them.
    pub correct: usize,
    /// Confidence against accuracy.
    pub calibration: Vec<CalibrationBin>,
    /// Accuracy on each class, in label order.
    pub per_class: Vec<ClassAccuracy>,
    /// What was answered how often, label by label; combinations that never occurred are left out.
    pub confusion: Vec<Confusion>,
    /// Which samples were right, for comparing two students image by image; none in files of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<RightAnswers>,
}

/// One cell of a confusion matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The true class.
    pub label: u32,
    /// The class answered.
    pub answer: u32,
    /// How often.
    pub samples: usize,
}

/// Teachers on the part that they were measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeachersDetail {
    /// `validation`, or `test` where there is no validation split.
    pub part: String,
    /// Samples of it.
    pub samples: usize,
    /// One a teacher, in the order of the run card.
    pub teachers: Vec<TeacherDetail>,
    /// Confidence against accuracy of the mean of their probabilities.
    pub ensemble_calibration: Vec<CalibrationBin>,
    /// The resulting student's accuracy on each class of the same part.
    pub student_per_class: Vec<ClassAccuracy>,
    /// The method's weights at the end of the training, level by level; empty where a method has
    /// none, or none that can be had from logits and the student alone.
    pub weights: Vec<LevelWeights>,
    /// Samples on which the teachers contradict each other most, and from every class some.
    pub examples: Vec<Example>,
}

/// One teacher there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherDetail {
    /// Name in the recipe.
    pub name: String,
    /// Confidence against accuracy.
    pub calibration: Vec<CalibrationBin>,
    /// Accuracy on each class, in label order.
    pub per_class: Vec<ClassAccuracy>,
}

/// What one network says of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The class it answers.
    pub class: u32,
    /// Its probability, 0 to 1.
    #[serde(with = "crate::number")]
    pub confidence: f64,
    /// The probability of the true class, 0 to 1.
    #[serde(with = "crate::number")]
    pub of_label: f64,
}

/// Most examples of a run; a data set of more classes shows one of as many classes.
pub const MOST_EXAMPLES: usize = 96;

/// Most examples of one class.
pub const MOST_OF_CLASS: usize = 8;

/// A sample with everybody's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its sample id.
    pub id: String,
    /// The true class.
    pub label: u32,
    /// A small PNG as a `data:` address; empty for a text.
    pub image: String,
    /// The beginning of a text; of a pair, both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The file of the data set that it comes from, and the line or row in it; none where the format
    /// tells none, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The resulting student's answer; none of logits that are no numbers.
    pub student: Option<Answer>,
    /// The teachers' answers likewise, in the order of the run card.
    pub teachers: Vec<Option<Answer>>,
    /// Level → each teacher's weight for this sample.
    #[serde(with = "crate::number")]
    pub weights: BTreeMap<String, Vec<f64>>,
}

/// Teacher weights at one level of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelWeights {
    /// `kd` (output) or `intermediate` (maps), as in `metrics.jsonl`.
    pub level: String,
    /// One a teacher, in the order of the run card.
    pub teachers: Vec<TeacherWeightsSeen>,
}

/// One teacher's weights at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherWeightsSeen {
    /// Mean over all samples.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// Mean over the samples of each class; none of a class without samples.
    #[serde(with = "crate::number")]
    pub per_class: Vec<Option<f64>>,
    /// Where the teacher is right; none if it never is.
    pub right: Option<WeightSpread>,
    /// Where it is wrong; none if it never is.
    pub wrong: Option<WeightSpread>,
}

/// Mean and quantiles of weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightSpread {
    /// How many samples.
    pub samples: usize,
    /// Their mean.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// A tenth, a quarter, a half, three quarters and nine tenths of the weights lie below these.
    pub quantiles: [f64; 5],
}

impl WeightSpread {
    /// Of finite values; none of nothing.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(last as f64 * share).round() as usize];
        Some(Self {
            samples: values.len(),
            mean: mean(&values),
            quantiles: [0.1, 0.25, 0.5, 0.75, 0.9].map(at),
        })
    }
}
