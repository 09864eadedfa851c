//! What epochs are compared by: `train.best_by`.

use faculty_recipe::BestBy;
use faculty_records::quality::Quality;

/// The figure itself, percent or nats; none in records of before it was measured.
pub(crate) fn value(by: BestBy, quality: &Quality) -> Option<f64> {
    match by {
        BestBy::Top1 => Some(quality.top1),
        BestBy::BalancedAccuracy => quality.balanced_accuracy,
        BestBy::MacroF1 => quality.macro_f1,
        BestBy::Nll => Some(quality.nll),
    }
}

/// Whether `new` is better than `old`: an epoch that does as well as an earlier one is not.
pub(crate) fn is_better(by: BestBy, new: &Quality, old: &Quality) -> bool {
    match (value(by, new), value(by, old)) {
        (Some(new), Some(old)) if by == BestBy::Nll => new < old,
        (Some(new), Some(old)) => new > old,
        (new, old) => new.is_some() && old.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_better_but_for_the_likelihood_and_equal_is_not() {
        let quality = |top1: f64, nll: f64, macro_f1: Option<f64>| Quality {
            top1,
            top5: 100.0,
            nll,
            ece: 0.0,
            balanced_accuracy: None,
            macro_f1,
            samples: 10,
        };
        let (a, b) = (quality(60.0, 1.0, Some(40.0)), quality(50.0, 0.8, Some(45.0)));
        assert!(is_better(BestBy::Top1, &a, &b) && !is_better(BestBy::Top1, &b, &a));
        assert!(is_better(BestBy::Nll, &b, &a) && !is_better(BestBy::Nll, &a, &b));
        assert!(is_better(BestBy::MacroF1, &b, &a) && !is_better(BestBy::MacroF1, &a, &a));
        let before = quality(99.0, 0.1, None);
        assert!(is_better(BestBy::MacroF1, &a, &before));
        assert!(!is_better(BestBy::MacroF1, &before, &a));
    }
}
