//! Weights of samples that have no label, which a rule that reads labels cannot weigh.

use burn::Tensor;
use burn::tensor::{Int, TensorData};
use faculty_contract::losses::class_numbers;
use faculty_contract::{Step, TeacherProfile};
use faculty_data::UNLABELLED;

use super::{Weighting, complement_of_softmax_values};

/// What each teacher counts where there is no label, `[teachers]`; sums to 1. All the same until
/// the teachers were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WithoutLabel(Vec<f64>);

impl WithoutLabel {
    /// These weights.
    #[must_use]
    pub fn new(weights: Vec<f64>) -> Self {
        Self(weights)
    }

    /// What CA-MKD's rule makes of each teacher's mean cross-entropy on the validation split.
    #[must_use]
    pub fn confidence(teachers: &[TeacherProfile]) -> Self {
        let costs: Vec<f64> = teachers.iter().map(|teacher| teacher.nll).collect();
        Self(complement_of_softmax_values(&costs, costs.len()))
    }

    fn of(&self, teacher: usize, teachers: usize) -> f64 {
        self.0.get(teacher).copied().unwrap_or(1.0 / teachers as f64)
    }

    /// Weights `[teachers, batch]` by `rule`, and these where the label is below 0.
    #[must_use]
    pub fn or(
        &self,
        rule: &dyn Weighting,
        teacher_logits: &Tensor<3>,
        labels: &Tensor<1, Int>,
    ) -> Tensor<2> {
        self.or_of(labels, |labels| rule.weights(teacher_logits, labels))
    }

    /// The same of a step's samples, which all have labels where some are mixed from two.
    #[must_use]
    pub fn or_step(
        &self,
        rule: &dyn Weighting,
        teacher_logits: &Tensor<3>,
        step: &Step,
    ) -> Tensor<2> {
        match &step.mixed {
            Some(_) => rule.of_step(teacher_logits, step),
            None => self.or(rule, teacher_logits, &step.labels),
        }
    }

    /// The same of anything that weighs by labels; a gradient through its weights stays.
    pub(crate) fn or_of(
        &self,
        labels: &Tensor<1, Int>,
        rule: impl FnOnce(&Tensor<1, Int>) -> Tensor<2>,
    ) -> Tensor<2> {
        let values = class_numbers(labels);
        if !values.contains(&UNLABELLED) {
            return rule(labels);
        }
        let weights = rule(&labels.clone().clamp_min(0));
        let [teachers, batch] = weights.dims();
        let device = weights.device();
        let of = |fill: &dyn Fn(usize, bool) -> f64| -> Tensor<2> {
            let all = (0..teachers).flat_map(|k| values.iter().map(move |&label| (k, label)));
            let all = all.map(|(k, label)| fill(k, label == UNLABELLED) as f32).collect();
            Tensor::from_data(TensorData::new::<f32, _>(all, [teachers, batch]), &device)
        };
        let known = of(&|_, is_unlabelled| f64::from(u8::from(!is_unlabelled)));
        let others = of(&|k, is_unlabelled| if is_unlabelled { self.of(k, teachers) } else { 0.0 });
        weights * known + others
    }

    /// The same of plain numbers, `[teachers, batch]`: `rule` gets a label for every sample.
    pub(crate) fn or_values(
        &self,
        labels: &[u32],
        rule: impl FnOnce(&[u32]) -> Vec<f64>,
    ) -> Vec<f64> {
        if !labels.contains(&UNLABELLED) {
            return rule(labels);
        }
        let known: Vec<u32> =
            labels.iter().map(|&label| if label == UNLABELLED { 0 } else { label }).collect();
        let mut weights = rule(&known);
        let teachers = weights.len() / labels.len();
        for (place, weight) in weights.iter_mut().enumerate() {
            if labels[place % labels.len()] == UNLABELLED {
                *weight = self.of(place / labels.len(), teachers);
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use faculty_contract::losses::numbers;

    use super::*;
    use crate::weighting::Confidence;
    use crate::weighting::confidence_values;

    #[test]
    fn samples_without_a_label_get_the_fallback_and_the_others_what_they_had() {
        let device = Device::flex();
        let logits: Vec<f32> = (0..18).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
        let teachers = Tensor::from_data(TensorData::new(logits.clone(), [3, 2, 3]), &device);
        let labels = |values: [i32; 2]| -> Tensor<1, Int> {
            Tensor::from_data(TensorData::new(values.to_vec(), [2]), &device)
        };
        let fallback = WithoutLabel::new(vec![0.5, 0.4, 0.1]);
        let whole = numbers(&fallback.or(&Confidence, &teachers, &labels([2, 1])));
        assert_eq!(whole, numbers(&Confidence.weights(&teachers, &labels([2, 1]))));
        let some = numbers(&fallback.or(&Confidence, &teachers, &labels([2, -1])));
        for k in 0..3 {
            assert_eq!(some[2 * k], whole[2 * k]);
            assert_eq!(some[2 * k + 1], [0.5_f32, 0.4, 0.1][k]);
        }
        let rows: Vec<&[f32]> = logits.chunks(6).collect();
        let values =
            fallback.or_values(&[2, UNLABELLED], |labels| confidence_values(&rows, labels, None));
        for (value, some) in values.iter().zip(&some) {
            assert!((value - f64::from(*some)).abs() < 1e-6);
        }
        let even = numbers(&WithoutLabel::default().or(&Confidence, &teachers, &labels([-1, -1])));
        assert!(even.iter().all(|&weight| (weight - 1.0 / 3.0).abs() < 1e-7));
    }
}
