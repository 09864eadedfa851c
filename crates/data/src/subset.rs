//! Validation splits and subsets, chosen by hashed id.
//!
//! ```text
//! validation iff hash(split_seed, id) < fraction         subset(n) = the n samples with the smallest hash(subset, id)
//! labelled(n) = of each class the n samples with the smallest hash(seed, id)
//! ```
//!
//! Which side a sample is on depends on its id alone: re-ordering, adding or removing other samples
//! moves nobody.

use std::collections::BTreeMap;

use crate::{DataError, Split, UNLABELLED};
use faculty_random::{Purpose, draw, unit};

/// The split seed that runs share unless told otherwise, so that their validation splits are the
/// same samples.
///
/// It is not the seed of the run on purpose: with five seeds, five students must be compared on one
/// validation split.
pub const DEFAULT_SPLIT_SEED: u64 = 20_250_101;

/// Divides a part into (training, validation): a share of about `fraction` of the samples goes to
/// validation.
///
/// The size of the validation split varies around `fraction * len` as that of coin throws. Both keep
/// the order of the part. A fraction of 0 gives an empty validation split.
///
/// # Errors
/// [`DataError::OutOfRange`] if `fraction` is not in `[0, 1)`; [`DataError::EmptySplit`] if a side
/// is left without samples although the fraction is not 0.
pub fn split_validation(
    part: &Split,
    fraction: f64,
    split_seed: u64,
) -> Result<(Split, Split), DataError> {
    if !(0.0..1.0).contains(&fraction) {
        return Err(DataError::OutOfRange {
            name: "the validation fraction",
            found: fraction.to_string(),
            range: "at least 0 and below 1".to_owned(),
        });
    }
    let (validation, training): (Vec<usize>, Vec<usize>) = (0..part.len()).partition(|&position| {
        unit(draw(Purpose::Split, split_seed, part.id(position).0, 0, 0)) < fraction
    });
    if fraction > 0.0 {
        for (name, positions) in [("training", &training), ("validation", &validation)] {
            if positions.is_empty() {
                return Err(DataError::EmptySplit { part: name, fraction, samples: part.len() });
            }
        }
    }
    Ok((part.select(&training)?, part.select(&validation)?))
}

/// The `count` samples with the smallest hash, in the order of the part: a subset that is the same
/// for every file order and seed.
///
/// A smaller subset is within every larger one. Classes are as frequent as chance makes them, not
/// balanced.
///
/// # Errors
/// [`DataError::OutOfRange`] if `count` is 0 or more than there are.
pub fn subset(part: &Split, count: usize) -> Result<Split, DataError> {
    if count == 0 || count > part.len() {
        return Err(DataError::OutOfRange {
            name: "the size of the subset",
            found: count.to_string(),
            range: format!("between 1 and {}, the number of samples", part.len()),
        });
    }
    let mut keyed: Vec<(u64, usize)> = (0..part.len())
        .map(|position| (draw(Purpose::Subset, 0, part.id(position).0, 0, 0), position))
        .collect();
    keyed.sort_unstable();
    let mut positions: Vec<usize> = keyed[..count].iter().map(|&(_, position)| position).collect();
    positions.sort_unstable();
    part.select(&positions)
}

/// The same samples, of which the `per_class` of each class with the smallest hash keep their label,
/// all of a rarer class; the others are [`UNLABELLED`]. Which ones depends on (seed, id) alone, and
/// fewer are within more.
///
/// # Errors
/// [`DataError::OutOfRange`] if no label is to be kept.
pub fn keep_labels(part: &Split, per_class: usize, seed: u64) -> Result<Split, DataError> {
    if per_class == 0 {
        return Err(DataError::OutOfRange {
            name: "the number of labels a class",
            found: "0".to_owned(),
            range: "at least 1".to_owned(),
        });
    }
    let mut classes: BTreeMap<u32, Vec<(u64, usize)>> = BTreeMap::new();
    for (position, &label) in part.labels().iter().enumerate() {
        let key = draw(Purpose::Subset, seed, part.id(position).0, 1, 0);
        classes.entry(label).or_default().push((key, position));
    }
    classes.remove(&UNLABELLED);
    let mut labels = vec![UNLABELLED; part.len()];
    for (label, mut keyed) in classes {
        keyed.sort_unstable();
        keyed.iter().take(per_class).for_each(|&(_, position)| labels[position] = label);
    }
    part.with_labels(labels)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::SampleId;
    use crate::split::tests::{numbered, reversed};

    fn ids(part: &Split) -> BTreeSet<SampleId> {
        part.ids().into_iter().collect()
    }

    #[test]
    fn validation_part_is_the_same_after_re_ordering_and_cutting() {
        let set = numbered(3000);
        let whole = Split::whole(Arc::new(set.clone()));
        let (training, validation) = split_validation(&whole, 0.1, DEFAULT_SPLIT_SEED).unwrap();
        // Binomial(3000, 0.1): standard deviation 16.4.
        assert!((220..380).contains(&validation.len()), "{}", validation.len());
        assert_eq!(training.len() + validation.len(), 3000);
        assert!(ids(&training).is_disjoint(&ids(&validation)));

        let other = Split::whole(Arc::new(reversed(&set)));
        let (_, after) = split_validation(&other, 0.1, DEFAULT_SPLIT_SEED).unwrap();
        assert_eq!(ids(&after), ids(&validation));

        let half = whole.select(&(0..1500).collect::<Vec<_>>()).unwrap();
        let (_, of_half) = split_validation(&half, 0.1, DEFAULT_SPLIT_SEED).unwrap();
        assert_eq!(ids(&of_half), ids(&validation).intersection(&ids(&half)).copied().collect());
    }

    #[test]
    fn a_larger_fraction_keeps_the_samples_of_a_smaller_one() {
        let whole = Split::whole(Arc::new(numbered(1000)));
        let (_, small) = split_validation(&whole, 0.1, 1).unwrap();
        let (_, large) = split_validation(&whole, 0.3, 1).unwrap();
        assert!(ids(&small).is_subset(&ids(&large)));
        let (_, other_seed) = split_validation(&whole, 0.1, 2).unwrap();
        assert_ne!(ids(&small), ids(&other_seed));
    }

    #[test]
    fn refuses_fractions_that_leave_a_side_empty() {
        let part = Split::whole(Arc::new(numbered(2)));
        for fraction in [-0.1, 1.0, f64::NAN] {
            let error = split_validation(&part, fraction, 1).unwrap_err();
            assert!(matches!(error, DataError::OutOfRange { .. }), "{fraction}");
        }
        let error = split_validation(&part, 1e-9, 1).unwrap_err();
        assert!(matches!(error, DataError::EmptySplit { part: "validation", .. }));
        let error = split_validation(&part, 1.0 - 1e-9, 1).unwrap_err();
        assert!(matches!(error, DataError::EmptySplit { part: "training", .. }));
        let (training, validation) = split_validation(&part, 0.0, 1).unwrap();
        assert_eq!((training.len(), validation.len()), (2, 0));
    }

    #[test]
    fn subset_is_the_same_after_re_ordering_and_grows_by_adding() {
        let set = numbered(1000);
        let whole = Split::whole(Arc::new(set.clone()));
        let small = subset(&whole, 100).unwrap();
        assert_eq!(small.len(), 100);
        let other = Split::whole(Arc::new(reversed(&set)));
        assert_eq!(ids(&subset(&other, 100).unwrap()), ids(&small));
        assert!(ids(&small).is_subset(&ids(&subset(&whole, 300).unwrap())));
        assert_eq!(subset(&whole, 1000).unwrap().ids(), whole.ids());
        for count in [0, 1001] {
            assert!(matches!(subset(&whole, count), Err(DataError::OutOfRange { .. })));
        }
    }
}
