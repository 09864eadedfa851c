//! How far teachers agree, and how much one knows that the others do not.
//!
//! Measures as named and compared by Kuncheva, Whitaker, "Measures of diversity in classifier
//! ensembles and their relationship with the ensemble accuracy", Machine Learning 51, 2003. All
//! look at right and wrong only, except agreement.

use serde::{Deserialize, Serialize};

/// Between two teachers. `both_right + one_right + double_fault` is 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairDiversity {
    /// Position of the first teacher.
    pub first: usize,
    /// Position of the second teacher.
    pub second: usize,
    /// Share of samples that both give the same class, right or wrong.
    pub agreement: f64,
    /// Share that both get right.
    pub both_right: f64,
    /// Share that one of the two gets right: the disagreement measure.
    pub one_right: f64,
    /// Share that both get wrong: the double-fault measure.
    pub double_fault: f64,
    /// Correlation ρ of being wrong; absent when one is always right or always wrong.
    pub error_correlation: Option<f64>,
    /// Correlation of their logits about the mean of each sample: 1 between a network and itself,
    /// also at another temperature. Absent when one gives all classes the same.
    #[serde(default)]
    pub logit_correlation: Option<f64>,
}

/// A network, a bit of noise on it, and a copy in half precision lie above this; networks trained
/// from different starts stay below 0.99.
const SAME_NETWORK: f64 = 0.999;

impl PairDiversity {
    /// How the two are the same for a student, in words: one teacher counted twice.
    #[must_use]
    pub fn sameness(&self) -> Option<String> {
        let correlation = self.logit_correlation.filter(|&own| own >= SAME_NETWORK);
        if let Some(own) = correlation {
            return Some(format!("give the same logits (correlation {own:.4})"));
        }
        // Teachers that are always right say the same, and may still differ in all other classes.
        let alike = self.agreement >= 1.0 && self.both_right < 1.0;
        alike.then(|| "name the same class on every sample".to_owned())
    }
}

/// Between all teachers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diversity {
    /// Every pair, in order.
    pub pairs: Vec<PairDiversity>,
    /// Mean of the pairs' agreement.
    pub mean_agreement: f64,
    /// Share of samples that at least one teacher gets right, percent: what perfect choice between
    /// them would reach.
    pub oracle: f64,
    /// Share of samples that exactly k teachers get right, k = 0..=K.
    pub right_together: Vec<f64>,
    /// Entropy measure E: mean of `min(l, K - l) / (K - ⌈K/2⌉)` over samples that l of K teachers
    /// get right. 0 when they are right and wrong together, 1 when the votes are as split as can
    /// be.
    pub entropy: f64,
    /// Interrater agreement κ of being right: 1 when they are right and wrong together, 0 as if
    /// independent; absent when all are always right or always wrong.
    pub kappa: Option<f64>,
}

/// From each teacher's answers `[teachers][samples]`, its logits `[teachers][samples, classes]` and
/// the labels; absent with fewer than two teachers or without samples.
#[must_use]
pub fn diversity(
    answers: &[Vec<Option<u32>>],
    logits: &[Vec<f32>],
    labels: &[u32],
) -> Option<Diversity> {
    let (count, samples) = (answers.len(), labels.len());
    if count < 2 || samples == 0 {
        return None;
    }
    let n = samples as f64;
    let k = count as f64;
    let right: Vec<Vec<bool>> = answers
        .iter()
        .map(|own| own.iter().zip(labels).map(|(&a, &label)| a == Some(label)).collect())
        .collect();
    let pairs: Vec<PairDiversity> = (0..count)
        .flat_map(|first| (first + 1..count).map(move |second| (first, second)))
        .map(|(first, second)| {
            let same = answers[first].iter().zip(&answers[second]);
            let agreement = same.filter(|(a, b)| a.is_some() && a == b).count() as f64 / n;
            let logit_correlation =
                logit_correlation(&logits[first], &logits[second], labels.len());
            PairDiversity {
                logit_correlation,
                ..pair(first, second, agreement, &right[first], &right[second])
            }
        })
        .collect();
    let mut together = vec![0_usize; count + 1];
    for sample in 0..samples {
        together[right.iter().filter(|own| own[sample]).count()] += 1;
    }
    let over = |value: &dyn Fn(usize) -> usize| -> f64 {
        together.iter().enumerate().map(|(l, &times)| (value(l) * times) as f64).sum()
    };
    let entropy = over(&|l| l.min(count - l)) / (n * (count - count.div_ceil(2)) as f64);
    let share = over(&|l| l) / (n * k);
    let chance = n * k * (k - 1.0) * share * (1.0 - share);
    let kappa = (chance > 0.0).then(|| 1.0 - over(&|l| l * (count - l)) / chance);
    Some(Diversity {
        mean_agreement: pairs.iter().map(|p| p.agreement).sum::<f64>() / pairs.len() as f64,
        pairs,
        oracle: 100.0 * (samples - together[0]) as f64 / n,
        right_together: together.iter().map(|&times| times as f64 / n).collect(),
        entropy,
        kappa,
    })
}

fn pair(first: usize, second: usize, agreement: f64, a: &[bool], b: &[bool]) -> PairDiversity {
    let n = a.len() as f64;
    let share = |left: bool, right: bool| {
        a.iter().zip(b).filter(|&(&x, &y)| x == left && y == right).count() as f64 / n
    };
    let (n11, n00) = (share(true, true), share(false, false));
    let (n10, n01) = (share(true, false), share(false, true));
    let spread = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00);
    PairDiversity {
        first,
        second,
        agreement,
        both_right: n11,
        one_right: n10 + n01,
        double_fault: n00,
        error_correlation: (spread > 0.0).then(|| (n11 * n00 - n01 * n10) / spread.sqrt()),
        logit_correlation: None,
    }
}

/// Over all samples and classes; a constant added to the logits of a sample changes nothing.
fn logit_correlation(a: &[f32], b: &[f32], samples: usize) -> Option<f64> {
    let classes = a.len() / samples.max(1);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.chunks_exact(classes.max(1)).zip(b.chunks_exact(classes.max(1))) {
        let mean = |row: &[f32]| row.iter().copied().map(f64::from).sum::<f64>() / row.len() as f64;
        let (mean_a, mean_b) = (mean(a), mean(b));
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
            (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
        }
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
    }

    fn some(classes: &[u32]) -> Vec<Option<u32>> {
        classes.iter().copied().map(Some).collect()
    }

    /// With teachers that are sure of their answers among two classes.
    fn of(answers: &[Vec<Option<u32>>], labels: &[u32]) -> Option<Diversity> {
        let one = |answer: &Option<u32>| if *answer == Some(0) { [1.0, 0.0] } else { [0.0, 1.0] };
        let logits: Vec<Vec<f32>> =
            answers.iter().map(|own| own.iter().flat_map(one).collect()).collect();
        diversity(answers, &logits, labels)
    }

    #[test]
    fn a_teacher_and_its_copy_are_told_from_two_good_teachers() {
        // Ten classes; the label at 6, the others by what each network thinks of them.
        let labels: Vec<u32> = (0..200).map(|i| i % 10).collect();
        let teacher = |seed: f32, scale: f32, noise: f32| -> Vec<f32> {
            let value = |i: usize| {
                let right = if i % 10 == i / 10 % 10 { 6.0 } else { 0.0 };
                let at = i as f32;
                scale * (right + (at * (1.3 + seed)).sin() + noise * (at * 7.7).cos())
            };
            (0..2000).map(value).collect()
        };
        let same = |a: &Vec<f32>, b: &Vec<f32>| {
            let logits = [a.clone(), b.clone()];
            let said = logits.each_ref().map(|own| crate::quality::predictions(own, 10));
            let pair = diversity(&said, &logits, &labels).unwrap().pairs[0];
            (pair.agreement, pair.sameness())
        };
        let own = teacher(0.0, 1.0, 0.0);
        for (name, copy) in [
            ("itself", own.clone()),
            ("at another temperature", teacher(0.0, 0.25, 0.0)),
            ("with a little noise", teacher(0.0, 1.0, 0.05)),
            ("moved by a constant", own.iter().map(|z| z + 30.0).collect()),
        ] {
            let (_, sameness) = same(&own, &copy);
            assert!(sameness.unwrap().contains("same logits"), "{name}");
        }
        // Always right, both of them, and yet two networks.
        assert_eq!(same(&own, &teacher(0.4, 1.0, 0.0)), (1.0, None));
        // The same class everywhere, also where it is wrong.
        let wrong: Vec<f32> =
            own.iter().enumerate().map(|(i, z)| if i == 1 { 9.0 } else { *z }).collect();
        let other: Vec<f32> = teacher(0.4, 1.0, 0.0);
        let other = other.iter().enumerate().map(|(i, z)| if i == 1 { 9.0 } else { *z }).collect();
        assert!(same(&wrong, &other).1.unwrap().contains("every sample"));
    }

    #[test]
    fn figures_of_two_teachers_are_those_worked_out_by_hand() {
        // Right:   a 1 1 0 0, b 1 0 1 0; on the last both say the same wrong class.
        let labels = [0, 0, 0, 0];
        let own = of(&[some(&[0, 0, 1, 1]), some(&[0, 1, 0, 1])], &labels).unwrap();
        let pair = own.pairs[0];
        close(pair.agreement, 0.5);
        close(pair.both_right, 0.25);
        close(pair.one_right, 0.5);
        close(pair.double_fault, 0.25);
        close(pair.error_correlation.unwrap(), 0.0);
        close(own.oracle, 75.0);
        assert_eq!(own.right_together, [0.25, 0.5, 0.25]);
        // min(l, 2 - l) is 0, 1, 0; K - ceil(K/2) = 1.
        close(own.entropy, 0.5);
        // 1 - (2 · 1) / (4 · 2 · 1 · 0.5 · 0.5) = 0: as if independent.
        close(own.kappa.unwrap(), 0.0);
    }

    #[test]
    fn equal_teachers_are_not_diverse_and_opposite_ones_are() {
        let labels = [0, 1, 0, 1];
        let a = some(&[0, 1, 1, 0]);
        let same = of(&[a.clone(), a.clone(), a.clone()], &labels).unwrap();
        close(same.mean_agreement, 1.0);
        close(same.entropy, 0.0);
        close(same.kappa.unwrap(), 1.0);
        assert!(same.pairs.iter().all(|p| (p.error_correlation.unwrap() - 1.0).abs() < 1e-12));
        let opposite = of(&[a, some(&[1, 0, 0, 1])], &labels).unwrap();
        close(opposite.entropy, 1.0);
        close(opposite.kappa.unwrap(), -1.0);
        close(opposite.oracle, 100.0);
        close(opposite.pairs[0].error_correlation.unwrap(), -1.0);
    }

    #[test]
    fn one_teacher_has_no_diversity_and_perfect_ones_no_correlation() {
        assert_eq!(of(&[some(&[0])], &[0]), None);
        assert_eq!(of(&[vec![], vec![]], &[]), None);
        let own = of(&[some(&[0, 1]), some(&[0, 1])], &[0, 1]).unwrap();
        assert_eq!((own.kappa, own.pairs[0].error_correlation), (None, None));
    }
}
