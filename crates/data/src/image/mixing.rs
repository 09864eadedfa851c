//! mixup and CutMix: a view is mixed with the same view of a partner, and its label with the partner's.
//!
//! ```text
//! λ ~ Beta(α, α)                          for each view of each sample; partner uniform in the training part
//! mixup   view = λ own + (1 - λ) partner  of normalised values
//! CutMix  height = floor(sqrt(1 - λ) H), width = floor(sqrt(1 - λ) W), about a middle that is uniform in the
//!         image, what lies outside cut off; the partner's values there, and λ = 1 - their share of the area
//! label   λ own + (1 - λ) partner's
//! ```
//! With both, either by even chances. Every choice is a hash of (seed, sample id, view number), and the
//! partner is one of the part's ids in rising order: the same view is the same mixture on every machine, in
//! any order of files and batches. Therefore λ is drawn for each sample and not for a batch, and the
//! partner need not be in the batch.
//!
//! mixup: Zhang et al., ICLR 2018, <https://arxiv.org/abs/1710.09412>. CutMix: Yun et al., ICCV 2019,
//! <https://arxiv.org/abs/1905.04899>; the rectangle is that of the released code.

use std::sync::Arc;

use faculty_random::{Purpose, below, beta, draw, unit};
use xxhash_rust::xxh3::Xxh3;

use crate::image::augmentation::Rectangle;
use crate::{DataError, SampleId};

/// How views are mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixConfig {
    /// α of mixup, above 0; the paper has 0.1 to 0.4 on ImageNet, 1 on CIFAR.
    pub mixup: Option<f64>,
    /// α of CutMix, above 0; the paper has 1.
    pub cutmix: Option<f64>,
    /// Probability with which a view is mixed at all, from 0 to 1.
    pub probability: f64,
}

/// Mixes views with those of a training part ([`Split::mixing`](crate::Split::mixing)).
#[derive(Clone, Debug)]
pub struct Mixing {
    config: MixConfig,
    pixels: Arc<dyn Pixels>,
    /// By rising ids.
    partners: Arc<[Partner]>,
    /// Names the ids.
    hash: u64,
    shape: [usize; 3],
}

/// The images of a part.
pub(crate) trait Pixels: std::fmt::Debug + Send + Sync {
    /// `[channels, height, width]` of the sample at a position.
    fn pixels(&self, position: usize) -> &[u8];
}

/// A sample that views are mixed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partner {
    pub(crate) id: SampleId,
    /// In the part, label noise included.
    pub(crate) label: u32,
    /// In the part.
    pub(crate) position: usize,
}

/// What a view is mixed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mixed {
    pub(crate) partner: Partner,
    /// λ: the share of the view's own label.
    pub(crate) share: f32,
    /// Where the partner's values are taken, of CutMix.
    pub(crate) part: Option<Rectangle>,
}

/// The second labels of samples whose views are mixed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MixedLabels {
    /// Label of each sample's partner, `[batch]`; the own one where a view is not mixed.
    pub partners: Vec<u32>,
    /// λ, the share of each sample's own label, `[batch]`, from 0 to 1.
    pub shares: Vec<f32>,
}

impl MixedLabels {
    /// Of each sample the label with the larger share, `[batch]`: `labels` are the own ones.
    #[must_use]
    pub fn largest(&self, labels: &[u32]) -> Vec<u32> {
        let all = labels.iter().zip(&self.partners).zip(&self.shares);
        all.map(|((&own, &partner), &share)| if share < 0.5 { partner } else { own }).collect()
    }

    /// λ times the values by the own labels and 1 - λ times those by the partners', which may be those of
    /// several networks after one another, `[networks, batch]`.
    #[must_use]
    pub fn mean(&self, by_own: &[f64], by_partner: &[f64]) -> Vec<f64> {
        let shares = self.shares.iter().cycle().map(|&share| f64::from(share));
        let values = by_own.iter().zip(by_partner).zip(shares);
        values.map(|((own, partner), share)| share * own + (1.0 - share) * partner).collect()
    }
}

impl Mixing {
    /// Partners are these samples of a part with images of this shape.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] for numbers out of their ranges and a part without samples.
    pub(crate) fn new(
        config: MixConfig,
        mut partners: Vec<Partner>,
        shape: [usize; 3],
        pixels: Arc<dyn Pixels>,
    ) -> Result<Self, DataError> {
        let refuse = |name, found: String, range: &str| {
            Err(DataError::OutOfRange { name, found, range: range.to_owned() })
        };
        for (name, alpha) in
            [("the alpha of mixup", config.mixup), ("the alpha of CutMix", config.cutmix)]
        {
            if let Some(alpha) = alpha.filter(|alpha| !(*alpha > 0.0 && alpha.is_finite())) {
                return refuse(name, alpha.to_string(), "above 0");
            }
        }
        if !(0.0..=1.0).contains(&config.probability) {
            let found = config.probability.to_string();
            return refuse("the probability of mixed views", found, "between 0 and 1");
        }
        if partners.is_empty() {
            return refuse("the samples to mix views with", "0".to_owned(), "at least 1");
        }
        partners.sort_unstable_by_key(|partner| partner.id);
        let mut hash = Xxh3::new();
        partners.iter().for_each(|partner| hash.update(&partner.id.0.to_le_bytes()));
        Ok(Self { config, pixels, partners: partners.into(), hash: hash.digest(), shape })
    }

    /// What is done, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let MixConfig { mixup, cutmix, probability } = self.config;
        let kinds = [("mixup", mixup), ("CutMix", cutmix)];
        let kinds: Vec<String> = kinds
            .iter()
            .filter_map(|(name, alpha)| alpha.map(|alpha| format!("{name} of alpha {alpha}")))
            .collect();
        let kinds = kinds.join(" or ");
        if probability == 1.0 { kinds } else { format!("{kinds} with probability {probability}") }
    }

    /// [`Mixing::words`] and the partners: the same for equal mixtures alone.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{} among {} samples ({:016x})", self.words(), self.partners.len(), self.hash)
    }

    /// `[channels, height, width]` of the images.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Pixels of a partner.
    pub(crate) fn pixels(&self, partner: Partner) -> &[u8] {
        self.pixels.pixels(partner.position)
    }

    /// What the view of a number is mixed with: a function of the arguments alone.
    pub(crate) fn of(&self, seed: u64, id: SampleId, number: u32) -> Option<Mixed> {
        let MixConfig { mixup, cutmix, probability } = self.config;
        let word = |c| draw(Purpose::Mixing, seed, id.0, u64::from(number), c);
        let (alpha, cuts) = match (mixup, cutmix) {
            (None, None) => return None,
            (Some(alpha), None) => (alpha, false),
            (None, Some(alpha)) => (alpha, true),
            (Some(mixup), Some(cutmix)) => match word(2) >> 63 {
                0 => (mixup, false),
                _ => (cutmix, true),
            },
        };
        if unit(word(1)) >= probability {
            return None;
        }
        let partner = self.partners[below(word(0), self.partners.len() as u64) as usize];
        let lambda = beta(alpha, word(3));
        if !cuts {
            return Some(Mixed { partner, share: lambda as f32, part: None });
        }
        let [_, height, width] = self.shape;
        let side = (1.0 - lambda).sqrt();
        let cut = |size: usize, word: u64| {
            let half = (size as f64 * side) as usize / 2;
            let middle = below(word, size as u64) as usize;
            (middle.saturating_sub(half), (middle + half).min(size))
        };
        let ((top, bottom), (left, right)) = (cut(height, word(4)), cut(width, word(5)));
        let part = Rectangle { top, left, height: bottom - top, width: right - left };
        let share = 1.0 - (part.height * part.width) as f64 / (height * width) as f64;
        Some(Mixed { partner, share: share as f32, part: Some(part) })
    }

    /// The second labels of samples of the part in the view of a number, if one of them is mixed; `labels`
    /// are their own.
    pub(crate) fn labels(
        &self,
        seed: u64,
        ids: &[SampleId],
        labels: &[u32],
        number: u32,
    ) -> Option<MixedLabels> {
        let mixed: Vec<_> = ids.iter().map(|&id| self.of(seed, id, number)).collect();
        if mixed.iter().all(Option::is_none) {
            return None;
        }
        let pairs = mixed.iter().zip(labels).map(|(mixed, &own)| {
            mixed.map_or((own, 1.0), |mixed| (mixed.partner.label, mixed.share))
        });
        let (partners, shares) = pairs.unzip();
        Some(MixedLabels { partners, shares })
    }
}

impl PartialEq for Mixing {
    fn eq(&self, other: &Self) -> bool {
        (self.config, self.hash, self.shape) == (other.config, other.hash, other.shape)
    }
}

impl Mixed {
    /// Mixes a view `[channels, height, width]` with the partner's.
    pub(crate) fn mix(&self, view: &mut [f32], partner: &[f32], [_, height, width]: [usize; 3]) {
        let Some(part) = self.part else {
            let rest = 1.0 - self.share;
            view.iter_mut().zip(partner).for_each(|(own, other)| {
                *own = self.share * *own + rest * other;
            });
            return;
        };
        let area = height * width;
        for (view, partner) in view.chunks_exact_mut(area).zip(partner.chunks_exact(area)) {
            for row in part.top..part.top + part.height {
                let columns = row * width + part.left..row * width + part.left + part.width;
                view[columns.clone()].copy_from_slice(&partner[columns]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::split::tests::numbered;
    use crate::{
        Augmentation, Batch, BatchLoader, LoaderConfig, Normalisation, Renderer, Split, View,
        ViewSettings,
    };

    const MIXUP: MixConfig = MixConfig { mixup: Some(0.4), cutmix: None, probability: 1.0 };
    const CUTMIX: MixConfig = MixConfig { mixup: None, cutmix: Some(1.0), probability: 1.0 };
    const BOTH: MixConfig = MixConfig { mixup: Some(0.4), cutmix: Some(1.0), probability: 0.75 };
    const SEED: u64 = 8;

    fn part(len: usize) -> Split {
        Split::whole(Arc::new(numbered(len)))
    }

    fn config(part: &Split, mixing: Option<MixConfig>) -> LoaderConfig {
        let views = ViewSettings::of_images(
            Augmentation::crop_and_flip(1, true),
            Normalisation::identity(1),
            SEED,
        );
        let views = match mixing {
            None => views,
            Some(config) => views.with_mixing(part.mixing(config).unwrap()),
        };
        LoaderConfig::training(8, views, 3)
    }

    fn batches(part: &Split, mixing: Option<MixConfig>, order: Vec<usize>) -> Vec<Batch> {
        let loader = BatchLoader::new(part, order, config(part, mixing)).unwrap();
        loader.map(Result::unwrap).collect()
    }

    fn rows(batch: &Batch) -> Vec<&[f32]> {
        batch.inputs.view().images().unwrap().chunks_exact(12).collect()
    }

    #[test]
    fn views_are_mixed_as_the_formulas_say() {
        let part = part(40);
        let augmentation = Augmentation::crop_and_flip(1, true);
        let renderer =
            Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(1), SEED).unwrap();
        let view = |position: usize| {
            let mut out = vec![f32::NAN; 12];
            renderer.render_into(part.image(position).unwrap(), part.id(position), 3, &mut out);
            out
        };
        for (config, kinds) in [(MIXUP, 1), (CUTMIX, 1), (BOTH, 3)] {
            let mixing = part.mixing(config).unwrap();
            let mut seen = HashSet::new();
            for batch in batches(&part, Some(config), part.epoch_order(1, 0)) {
                let labels = batch.mixed.as_ref().unwrap();
                for (i, row) in rows(&batch).into_iter().enumerate() {
                    let (own, label) = (view(batch.positions[i]), batch.labels[i]);
                    assert_eq!(label, part.label(batch.positions[i]));
                    let Some(mixed) = mixing.of(SEED, batch.ids[i], 3) else {
                        assert_eq!(
                            (row, labels.partners[i], labels.shares[i]),
                            (&own[..], label, 1.0)
                        );
                        seen.insert("none");
                        continue;
                    };
                    let position = mixed.partner.position;
                    assert_eq!(labels.partners[i], part.label(position));
                    assert_eq!(mixed.partner.id, part.id(position));
                    assert_eq!(labels.shares[i], mixed.share);
                    let other = view(position);
                    let is_inside = |at: usize| {
                        mixed.part.is_some_and(|part| {
                            (part.top..part.top + part.height).contains(&(at / 4))
                                && (part.left..part.left + part.width).contains(&(at % 4))
                        })
                    };
                    for at in 0..12 {
                        let want = match mixed.part {
                            None => mixed.share * own[at] + (1.0 - mixed.share) * other[at],
                            Some(_) if is_inside(at) => other[at],
                            Some(_) => own[at],
                        };
                        assert_eq!(row[at], want);
                    }
                    if mixed.part.is_some() {
                        let cut = (0..12).filter(|&at| is_inside(at)).count();
                        assert_eq!(mixed.share, (1.0 - cut as f64 / 12.0) as f32);
                    }
                    seen.insert(if mixed.part.is_some() { "cut" } else { "mix" });
                }
            }
            assert_eq!(seen.len(), kinds, "{seen:?}");
        }
    }

    #[test]
    fn mixtures_depend_on_sample_and_view_alone() {
        let all = part(60);
        let (forward, backward) =
            (all.plain_order(), all.plain_order().into_iter().rev().collect());
        let find = |batches: Vec<Batch>| {
            let mut found = Vec::new();
            for batch in &batches {
                let labels = batch.mixed.as_ref().unwrap();
                for (i, row) in rows(batch).into_iter().enumerate() {
                    let label = (labels.partners[i], labels.shares[i].to_bits());
                    found.push((batch.ids[i], label, row.iter().map(|x| x.to_bits()).collect()));
                }
            }
            found.sort();
            found as Vec<(SampleId, (u32, u32), Vec<u32>)>
        };
        let one = find(batches(&all, Some(BOTH), forward));
        assert_eq!(find(batches(&all, Some(BOTH), backward)), one);
        // The same samples in another order of the files.
        let turned = all.select(&all.plain_order().into_iter().rev().collect::<Vec<_>>()).unwrap();
        assert_eq!(find(batches(&turned, Some(BOTH), turned.plain_order())), one);
        let mixing = |part: &Split| part.mixing(BOTH).unwrap();
        assert_eq!(mixing(&all), mixing(&turned));
        assert_eq!(mixing(&all).identity(), mixing(&turned).identity());
        // Fewer partners are other mixtures, and say so.
        let fewer = all.select(&(0..59).collect::<Vec<_>>()).unwrap();
        assert_ne!(mixing(&all).identity(), mixing(&fewer).identity());
        assert_ne!(mixing(&all), all.mixing(MIXUP).unwrap());
    }

    #[test]
    fn other_views_are_left_alone() {
        let part = part(30);
        let mixed = config(&part, Some(BOTH));
        for view in [View::Plain, View::Probe] {
            let load = |config: LoaderConfig| -> Vec<Batch> {
                let config = LoaderConfig { view, ..config };
                let loader = BatchLoader::new(&part, part.plain_order(), config).unwrap();
                loader.map(Result::unwrap).collect()
            };
            assert_eq!(load(mixed.clone()), load(config(&part, None)));
        }
    }

    #[test]
    fn shares_and_partners_are_spread_evenly() {
        let all = part(50);
        let mixing = all.mixing(BOTH).unwrap();
        let (mut count, mut cuts, mut partners, mut sum) = (0, 0, [0; 50], 0.0);
        for id in 0..8000 {
            let Some(mixed) = mixing.of(SEED, SampleId(id), 1) else { continue };
            count += 1;
            cuts += usize::from(mixed.part.is_some());
            partners[mixed.partner.position] += 1;
            sum += if mixed.part.is_none() { f64::from(mixed.share) } else { 0.0 };
        }
        // Binomial(8000, 3/4): standard deviation 39; half of 6000: 39; a fiftieth: 11.
        assert!((5845..6155).contains(&count), "{count}");
        assert!((2845..3155).contains(&cuts), "{cuts}");
        assert!(partners.iter().all(|n| (75..165).contains(n)), "{partners:?}");
        // Beta(0.4, 0.4): standard deviation 0.37 / sqrt(3000).
        assert!((sum / (count - cuts) as f64 - 0.5).abs() < 0.03);
    }

    #[test]
    fn labels_go_with_the_larger_share() {
        let labels = MixedLabels { partners: vec![4, 5, 6], shares: vec![0.4, 0.5, 1.0] };
        assert_eq!(labels.largest(&[1, 2, 3]), [4, 2, 3]);
        let means = labels.mean(&[10.0, 10.0, 10.0, 2.0, 2.0, 2.0], &[0.0; 6]);
        let want = [4.0, 5.0, 10.0, 0.8, 1.0, 2.0];
        assert!(means.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{means:?}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let all = part(5);
        for bad in [
            MixConfig { mixup: Some(0.0), ..MIXUP },
            MixConfig { cutmix: Some(f64::NAN), ..CUTMIX },
            MixConfig { mixup: Some(f64::INFINITY), ..MIXUP },
            MixConfig { probability: 1.5, ..MIXUP },
        ] {
            assert!(matches!(all.mixing(bad), Err(DataError::OutOfRange { .. })), "{bad:?}");
        }
        let none = all.select(&[]).unwrap();
        assert!(matches!(none.mixing(MIXUP), Err(DataError::OutOfRange { .. })));
    }
}
