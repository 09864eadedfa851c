//! The cross-entropy against the labels that a recipe asks for.

use faculty_contract::losses::TaskLoss;
use faculty_data::Split;
use faculty_recipe as recipe;
use faculty_recipe::ClassWeights;

use crate::error::{Error, Result};

/// Label smoothing and class weights of a recipe; `"balanced"` weighs by the labels of `train`.
///
/// # Errors
/// When there is not one weight a class.
pub(crate) fn task_loss(train: &recipe::Train, split: &Split, classes: usize) -> Result<TaskLoss> {
    let task = TaskLoss::default().with_label_smoothing(train.label_smoothing);
    Ok(match &train.class_weights {
        None => task,
        Some(ClassWeights::Balanced) => {
            task.with_class_weights(balanced(split.labelled().labels(), classes))
        }
        Some(ClassWeights::Given(weights)) if weights.len() == classes => {
            task.with_class_weights(weights.clone())
        }
        Some(ClassWeights::Given(weights)) => {
            return Err(Error::ClassWeights { given: weights.len(), classes });
        }
    })
}

/// `N / (C n_c)` over the C classes that occur, as scikit-learn's `"balanced"`: all of them count
/// the same together, and the mean weight of a sample is 1. A class without samples weighs nothing.
fn balanced(labels: &[u32], classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let occur = counts.iter().filter(|&&count| count > 0).count();
    let even = labels.len() as f64 / occur.max(1) as f64;
    counts.iter().map(|&count| if count > 0 { even / count as f64 } else { 0.0 }).collect()
}

/// What is other than plain about it, to be read after the objective; `names` are the classes'.
pub(crate) fn described(task: &TaskLoss, names: &[String]) -> Option<String> {
    let mut parts = Vec::new();
    if task.label_smoothing() > 0.0 {
        parts.push(format!("label smoothing {}", task.label_smoothing()));
    }
    if let Some(weights) = task.class_weights() {
        let order = |a: &(usize, &f64), b: &(usize, &f64)| a.1.total_cmp(b.1);
        let end = |own: Option<(usize, &f64)>| {
            own.map(|(class, weight)| format!("{weight:.3} ({})", names[class]))
        };
        let least = end(weights.iter().enumerate().min_by(order));
        let most = end(weights.iter().enumerate().max_by(order));
        if let (Some(least), Some(most)) = (least, most) {
            parts.push(format!("class weights from {least} to {most}"));
        }
    }
    (!parts.is_empty()).then(|| format!("CE of labels with {}", parts.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_make_all_classes_count_the_same() {
        // scikit-learn: compute_class_weight("balanced") of [0, 0, 0, 1] gives 2/3 and 2.
        assert_eq!(balanced(&[0, 0, 0, 1], 2), [4.0 / 6.0, 2.0]);
        // The third class does not occur.
        assert_eq!(balanced(&[1, 0, 0, 0], 3), [4.0 / 6.0, 2.0, 0.0]);
        assert_eq!(balanced(&[], 2), [0.0, 0.0]);
    }

    #[test]
    fn only_what_is_not_plain_is_told() {
        let names = ["cat", "dog"].map(str::to_owned);
        assert_eq!(described(&TaskLoss::default(), &names), None);
        let task = TaskLoss::default().with_label_smoothing(0.1).with_class_weights(vec![0.5, 2.0]);
        assert_eq!(
            described(&task, &names).unwrap(),
            "CE of labels with label smoothing 0.1 and class weights from 0.500 (cat) to 2.000 (dog)"
        );
    }
}
