//! Wrong labels on purpose, to see what a method does with them.

use crate::{DataError, Split, UNLABELLED};
use faculty_random::{Purpose, below, draw, unit};

/// Which wrong class replaces a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelNoise {
    /// Any other class, all equally likely: who learns from it becomes unsure.
    #[default]
    Uniform,
    /// The next class, always the same one ("pair flip" in the literature on noisy labels): who
    /// learns from it becomes surely wrong.
    Pair,
}

/// The same part with about `fraction` of the labels replaced by a wrong class.
///
/// Keyed by (seed, id): the order of the samples does not matter. It starts from the true labels,
/// so applying it twice with one seed changes nothing more, and the samples noisy under a small
/// fraction are so under a larger one. Ids stay as they are, and so does what has no label.
///
/// # Errors
/// [`DataError::OutOfRange`] if `fraction` is not in `[0, 1]` or `classes` is below 2;
/// [`DataError::LabelOutOfRange`] if a true label is not below `classes`.
pub fn with_label_noise(
    part: &Split,
    fraction: f64,
    kind: LabelNoise,
    seed: u64,
    classes: usize,
) -> Result<Split, DataError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(DataError::OutOfRange {
            name: "the fraction of label noise",
            found: fraction.to_string(),
            range: "between 0 and 1".to_owned(),
        });
    }
    let others = u32::try_from(classes).ok().filter(|&classes| classes >= 2).ok_or_else(|| {
        DataError::OutOfRange {
            name: "the number of classes",
            found: classes.to_string(),
            range: "at least 2 for label noise".to_owned(),
        }
    })? - 1;
    let labels = part.true_labels();
    let known: Vec<u32> = labels.iter().copied().filter(|&label| label != UNLABELLED).collect();
    crate::classes::check_labels(&known, classes, std::path::Path::new("labels"))?;
    let noisy = labels.iter().enumerate().map(|(position, &label)| {
        let id = part.id(position).0;
        let is_left = label == UNLABELLED;
        if is_left || unit(draw(Purpose::LabelNoise, seed, id, 0, 0)) >= fraction {
            return label;
        }
        match kind {
            LabelNoise::Pair => {
                if label == others {
                    0
                } else {
                    label + 1
                }
            }
            LabelNoise::Uniform => {
                let draw = draw(Purpose::LabelNoise, seed, id, 1, 0);
                let other = below(draw, u64::from(others)) as u32;
                other + u32::from(other >= label)
            }
        }
    });
    part.with_labels(noisy.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::split::tests::{numbered, reversed};

    #[test]
    fn replaces_about_the_fraction_and_never_by_the_true_label() {
        let part = Split::whole(Arc::new(numbered(10_000)));
        for fraction in [0.0, 0.2, 0.6, 1.0] {
            let noisy = with_label_noise(&part, fraction, LabelNoise::Uniform, 1, 10).unwrap();
            let wrong = noisy.labels().iter().zip(part.labels()).filter(|(a, b)| a != b).count();
            // Binomial(10,000, p): standard deviation at most 50. Were a "wrong" label ever the true one, p
            // = 1 would show it.
            let expected = fraction * 10_000.0;
            let slack = if fraction == 0.0 || fraction == 1.0 { 0.0 } else { 250.0 };
            assert!((wrong as f64 - expected).abs() <= slack, "{fraction}: {wrong}");
            assert!(noisy.labels().iter().all(|&label| label < 10));
            assert_eq!(noisy.ids(), part.ids());
            assert_eq!(noisy.true_labels(), part.labels());
        }
    }

    #[test]
    fn wrong_labels_are_uniform_among_the_others() {
        let part = Split::whole(Arc::new(numbered(9_000)));
        let noisy = with_label_noise(&part, 1.0, LabelNoise::Uniform, 1, 10).unwrap();
        let mut counts: HashMap<(u32, u32), u32> = HashMap::new();
        for (&from, &to) in part.labels().iter().zip(noisy.labels()) {
            *counts.entry((from, to)).or_default() += 1;
        }
        assert_eq!(counts.len(), 90);
        // Binomial(900, 1/9): mean 100, standard deviation 9.4.
        assert!(counts.values().all(|count| (50..150).contains(count)), "{counts:?}");
    }

    #[test]
    fn pair_noise_always_takes_the_next_class() {
        let part = Split::whole(Arc::new(numbered(1000)));
        let noisy = with_label_noise(&part, 1.0, LabelNoise::Pair, 1, 10).unwrap();
        let pairs = part.labels().iter().zip(noisy.labels());
        assert!(pairs.into_iter().all(|(&from, &to)| to == (from + 1) % 10));
    }

    #[test]
    fn depends_on_id_and_seed_but_not_on_the_order() {
        let set = numbered(1000);
        let noisy = |set, seed| {
            let part =
                with_label_noise(&Split::whole(Arc::new(set)), 0.3, LabelNoise::Uniform, seed, 10)
                    .unwrap();
            part.ids().into_iter().zip(part.labels().to_vec()).collect::<HashMap<_, _>>()
        };
        assert_eq!(noisy(set.clone(), 1), noisy(reversed(&set), 1));
        assert_ne!(noisy(set.clone(), 1), noisy(set, 2));
    }

    #[test]
    fn refuses_bad_fractions_and_class_counts() {
        let part = Split::whole(Arc::new(numbered(20)));
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(
                with_label_noise(&part, fraction, LabelNoise::Uniform, 1, 10).is_err(),
                "{fraction}"
            );
        }
        assert!(matches!(
            with_label_noise(&part, 0.1, LabelNoise::Uniform, 1, 1),
            Err(DataError::OutOfRange { .. })
        ));
        assert!(matches!(
            with_label_noise(&part, 0.1, LabelNoise::Uniform, 1, 5),
            Err(DataError::LabelOutOfRange { row: 5, label: 5, classes: 5, .. })
        ));
    }
}
