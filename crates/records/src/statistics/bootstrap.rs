//! Percentile bootstraps of a mean difference, 95 %: over the seeds, and over images and seeds.

use faculty_random::{Purpose, below, draw};

use super::interval::Interval;
use crate::right_answers::RightAnswers;

/// Resamples over the seeds.
const RESAMPLES: usize = 10_000;
/// Resamples over the images, of which there are thousands.
const IMAGE_RESAMPLES: usize = 1000;

/// Of one difference a seed; the same values give the same interval. With few seeds it is far too
/// narrow, since it cannot leave the range of the differences seen.
pub(super) fn over_seeds(values: &[f64]) -> Interval {
    let count = values.len();
    let means = (0..RESAMPLES).map(|resample| {
        let one = |k: usize| {
            let random = draw(Purpose::Method, 0, resample as u64, k as u64, 0);
            values[below(random, count as u64) as usize]
        };
        (0..count).map(one).sum::<f64>() / count as f64
    });
    middle(means.collect())
}

/// The middle 95 % of resampled means.
fn middle(mut means: Vec<f64>) -> Interval {
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// Accuracy of each method less that of the reference, points: images and seeds are drawn with
/// replacement, the same for both students, so that what an image or a seed does to both cancels.
///
/// `reference[i]` and `others[m][i]` hold the answers at seed i. Says whether these students differ on
/// images of this kind; of other seeds it knows little when there are few. None where answers are
/// missing or of other samples. Costs `1000 · (images + methods · differing images · seeds)`.
#[must_use]
pub fn per_image(
    reference: &[RightAnswers],
    others: &[Vec<RightAnswers>],
) -> Vec<Option<Interval>> {
    let images = reference.first().map_or(0, RightAnswers::samples);
    let seeds = reference.len();
    let fits = |own: &[RightAnswers]| {
        images > 0 && own.len() == seeds && own.iter().all(|own| own.samples() == images)
    };
    if !fits(reference) {
        return vec![None; others.len()];
    }
    let rows: Vec<Option<Vec<Row>>> =
        others.iter().map(|own| fits(own).then(|| differing(reference, own))).collect();
    let mut means: Vec<Vec<f64>> = vec![Vec::new(); others.len()];
    let mut drawn = vec![0_u32; images];
    for resample in 0..IMAGE_RESAMPLES {
        let random = |what: u64, k: usize, bound: usize| {
            below(draw(Purpose::Method, what, resample as u64, k as u64, 0), bound as u64) as usize
        };
        drawn.fill(0);
        (0..images).for_each(|k| drawn[random(1, k, images)] += 1);
        let mut weights = vec![0.0; seeds];
        (0..seeds).for_each(|k| weights[random(2, k, seeds)] += 1.0);
        for (means, rows) in means.iter_mut().zip(&rows) {
            let Some(rows) = rows else { continue };
            let of = |row: &Row| {
                let own = row.differences.iter().zip(&weights);
                f64::from(drawn[row.image])
                    * own.map(|(&d, weight)| f64::from(d) * weight).sum::<f64>()
            };
            means.push(100.0 * rows.iter().map(of).sum::<f64>() / (images * seeds) as f64);
        }
    }
    means.into_iter().map(|own| (!own.is_empty()).then(|| middle(own))).collect()
}

/// An image on which two students differ at some seed: 1 where only the method is right, -1 where only
/// the reference is.
struct Row {
    image: usize,
    differences: Vec<i8>,
}

fn differing(reference: &[RightAnswers], own: &[RightAnswers]) -> Vec<Row> {
    let images = reference.first().map_or(0, RightAnswers::samples);
    let mut all: Vec<Row> =
        (0..images).map(|image| Row { image, differences: Vec::new() }).collect();
    for (own, base) in own.iter().zip(reference) {
        for (row, (own, base)) in all.iter_mut().zip(own.iter().zip(base.iter())) {
            row.differences.push(i8::from(own) - i8::from(base));
        }
    }
    all.retain(|row| row.differences.iter().any(|&own| own != 0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_differences_give_the_same_bootstrap_within_their_range() {
        let values = [0.3, -0.1, 0.7];
        let own = over_seeds(&values);
        assert_eq!(own, over_seeds(&values));
        assert!(own.low > -0.1001 && own.high < 0.7001 && own.low < own.high, "{own:?}");
    }

    /// Right where `right(image)` holds.
    fn answers(images: usize, right: impl Fn(usize) -> bool) -> RightAnswers {
        RightAnswers::of((0..images).map(|image| (image, right(image))).collect())
    }

    #[test]
    fn few_images_that_only_one_gets_right_prove_nothing_and_many_do() {
        let reference = vec![answers(1000, |k| k >= 100)];
        // 5 more against 4 less, and 50 more against 4 less: McNemar's 0.1 and 39.
        let of = |more: usize| vec![answers(1000, |k| (100..996).contains(&k) || k < more)];
        let own = per_image(&reference, &[of(5), of(50), Vec::new()]);
        let (near, far) = (own[0].unwrap(), own[1].unwrap());
        assert!(near.low < 0.0 && near.high > 0.0, "{near:?}");
        assert!(far.low > 2.5 && far.high < 7.0, "{far:?}");
        // Deviation sqrt(54 - 46²/1000) / 10 = 0.72 points; 1.96 of them to either side.
        assert!((far.width() - 2.8).abs() < 0.3, "{far:?}");
        assert_eq!(own[2], None);
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let reference = vec![answers(1000, |k| k >= 100); 2];
        let same = vec![answers(1000, |k| k >= 70); 2];
        let apart = vec![answers(1000, |k| k >= 40), reference[0].clone()];
        let own = per_image(&reference, &[same, apart]);
        assert!(own[1].unwrap().width() > 2.0 * own[0].unwrap().width(), "{own:?}");
    }

    #[test]
    fn answers_of_other_samples_are_not_compared() {
        let own = per_image(&[answers(10, |_| true)], &[vec![answers(11, |_| true)]]);
        assert_eq!(own, [None]);
        assert_eq!(per_image(&[], &[Vec::new()]), [None]);
    }
}
