//! Policies: RandAugment and TrivialAugment, which draw operations on whole pictures from one list.
//!
//! ```text
//! RandAugment      n operations one after another, each drawn from all; all at magnitude m of 0..=30
//! TrivialAugment   one operation, drawn from all, at a magnitude drawn from 0..=30
//! ```
//! The operations and what a magnitude means to each are those of torchvision's `RandAugment` and
//! `TrivialAugmentWide` with their defaults (31 magnitudes, nearest pixels, black outside), on bytes, as
//! Pillow computes them. Operations with a direction (shear, translation, rotation, and the four that
//! weaken or strengthen) go either way, with equal chances.
//!
//! RandAugment: Cubuk et al., NeurIPS 2020, <https://arxiv.org/abs/1909.13719>. TrivialAugment: Müller,
//! Hutter, ICCV 2021, <https://arxiv.org/abs/2103.10158>.

use serde::{Deserialize, Serialize};

use crate::DataError;
use faculty_random::below;

mod affine;
mod operation;

use operation::{Applied, Kind};

/// The strongest magnitude.
const STRONGEST: u32 = 30;
/// Most operations of RandAugment: each takes two words of a view's draws.
const MOST_OPERATIONS: u32 = 14;

/// Draws operations on whole pictures from one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Policy {
    /// Several operations, all at one magnitude.
    RandAugment {
        /// How many, one after another: 1 to 14; torchvision has 2.
        operations: u32,
        /// 0 to 30; torchvision has 9.
        magnitude: u32,
    },
    /// One operation at a random magnitude, from wide ranges.
    TrivialAugment,
}

impl Policy {
    /// Refuses numbers out of range, and images that are neither grey nor red, green and blue.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`].
    pub fn check(&self, channels: usize) -> Result<(), DataError> {
        let refuse = |name, found: String, range: &str| {
            Err(DataError::OutOfRange { name, found, range: range.to_owned() })
        };
        if let Self::RandAugment { operations, magnitude } = self {
            if !(1..=MOST_OPERATIONS).contains(operations) {
                return refuse("the operations of RandAugment", operations.to_string(), "1 to 14");
            }
            if *magnitude > STRONGEST {
                return refuse("the magnitude of RandAugment", magnitude.to_string(), "0 to 30");
            }
        }
        match channels {
            1 | 3 => Ok(()),
            _ => refuse(
                "the channels of images for RandAugment or TrivialAugment",
                channels.to_string(),
                "1 (grey) or 3 (red, green and blue)",
            ),
        }
    }

    /// In words that are the same for equal settings alone.
    pub(super) fn words(&self) -> String {
        match self {
            Self::RandAugment { operations, magnitude } => {
                format!(
                    "RandAugment of {operations} operations at magnitude {magnitude} of {STRONGEST}"
                )
            }
            Self::TrivialAugment => "TrivialAugment (wide)".to_owned(),
        }
    }

    /// Changes a picture `[channels, height, width]` as the words of `draw` (by their number, from 0)
    /// say.
    pub(super) fn apply(
        &self,
        picture: &mut Vec<u8>,
        shape: [usize; 3],
        draw: impl Fn(u64) -> u64,
    ) {
        for Applied { kind, magnitude } in self.drawn(shape, draw) {
            kind.apply(magnitude, picture, shape);
        }
    }

    /// What is done to a picture of this shape, in this order.
    fn drawn(&self, [_, height, width]: [usize; 3], draw: impl Fn(u64) -> u64) -> Vec<Applied> {
        let one = |word: u64, step: u32| {
            let all = Kind::ALL;
            let kind = all[below(draw(word), all.len() as u64) as usize];
            let strength = match self {
                Self::RandAugment { .. } => kind.rand_augment(step, height, width),
                Self::TrivialAugment => kind.trivial_augment(step),
            };
            let away = kind.is_signed() && draw(word + 1) >> 63 == 1;
            Applied { kind, magnitude: if away { -strength } else { strength } }
        };
        match *self {
            Self::RandAugment { operations, magnitude } => {
                (0..u64::from(operations)).map(|at| one(2 * at, magnitude)).collect()
            }
            Self::TrivialAugment => {
                vec![one(0, below(draw(2), u64::from(STRONGEST) + 1) as u32)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use faculty_random::{Purpose, draw};

    const SHAPE: [usize; 3] = [3, 40, 32];

    fn drawn(policy: Policy, id: u64) -> Vec<Applied> {
        policy.drawn(SHAPE, |c| draw(Purpose::Augmentation, 7, id, 2, c))
    }

    #[test]
    fn all_operations_come_equally_often_and_go_either_way() {
        let policy = Policy::RandAugment { operations: 2, magnitude: 9 };
        let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for id in 0..7000 {
            let own = drawn(policy, id);
            assert_eq!(own.len(), 2);
            for Applied { kind, magnitude } in own {
                let count = counts.entry(format!("{kind:?}")).or_default();
                count.0 += 1;
                count.1 += u32::from(magnitude < 0.0);
                let want = kind.rand_augment(9, 40, 32);
                assert_eq!(magnitude.abs(), want, "{kind:?}");
                assert!(magnitude >= 0.0 || kind.is_signed());
            }
        }
        assert_eq!(counts.len(), Kind::ALL.len());
        for (kind, (count, away)) in counts {
            // Binomial(14000, 1/14): standard deviation 30; half of 1000: 16.
            assert!((850..1150).contains(&count), "{kind}: {count}");
            assert!(away == 0 || (400..600).contains(&away), "{kind}: {away}");
        }
    }

    #[test]
    fn trivial_augment_draws_every_magnitude() {
        let mut rotations = BTreeMap::new();
        for id in 0..30_000 {
            let own = drawn(Policy::TrivialAugment, id);
            assert_eq!(own.len(), 1);
            if own[0].kind == Kind::Rotate {
                *rotations.entry((own[0].magnitude / 4.5).round() as i32).or_insert(0) += 1;
            }
        }
        // 135 degrees in 30 steps, either way.
        assert_eq!(rotations.keys().copied().collect::<Vec<_>>(), (-30..=30).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_and_channels_out_of_range_are_refused() {
        let of = |operations, magnitude| Policy::RandAugment { operations, magnitude };
        for (bad, channels) in [
            (of(0, 9), 3),
            (of(15, 9), 3),
            (of(2, 31), 3),
            (of(2, 9), 4),
            (Policy::TrivialAugment, 2),
        ] {
            assert!(matches!(bad.check(channels), Err(DataError::OutOfRange { .. })), "{bad:?}");
        }
        for good in [of(1, 0), of(14, 30), Policy::TrivialAugment] {
            assert!(good.check(1).is_ok() && good.check(3).is_ok());
        }
    }
}
