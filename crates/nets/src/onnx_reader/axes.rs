//! How the axes of a tensor of the file lie in a value of the graph.
//!
//! A value lies in memory as `[channels, height, width]`. What an exporter writes as `Reshape` and
//! `Transpose` only changes how those numbers are looked at: the value stays, and its axes are
//! described by factors of its sizes. A shuffle of channels in `g` groups, say:
//!
//! ```text
//! [C, H, W]            factors C, H, W           axes (0) (1) (2)
//! reshape [g, C/g, H, W]       g, C/g, H, W           (0) (1) (2) (3)
//! transpose                                           (1) (0) (2) (3)
//! reshape [C, H, W]                                   (1 0) (2) (3)
//! ```
//! Only where an operation needs the memory in order, it is put in order.

use crate::shape::MapShape;

/// The axes of a tensor but for the first one, which is the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    /// Sizes above 1 in the order of memory; their product is the number of elements of a sample.
    factors: Vec<usize>,
    /// For each axis its factors, the slowest first; none for an axis of size 1.
    axes: Vec<Vec<usize>>,
}

impl Axes {
    /// Axes that lie in memory in their order.
    pub(super) fn plain(sizes: &[usize]) -> Self {
        let mut factors = Vec::new();
        let axis = |&size: &usize| match size {
            1 => Vec::new(),
            size => {
                factors.push(size);
                vec![factors.len() - 1]
            }
        };
        let axes = sizes.iter().map(axis).collect();
        Self { factors, axes }
    }

    /// A map `[channels, height, width]`.
    pub(super) fn map(shape: MapShape) -> Self {
        Self::plain(&[shape.channels, shape.height, shape.width])
    }

    /// A map's axes as `[height, width, channels]`.
    pub(super) fn channels_last(&self) -> Self {
        self.transposed(&[1, 2, 0]).expect("a map has three axes")
    }

    /// Sizes of the axes.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.axes
            .iter()
            .map(|axis| axis.iter().map(|&factor| self.factors[factor]).product())
            .collect()
    }

    /// Their number, the batch not counted.
    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    /// Numbers of a sample.
    pub(super) fn elements(&self) -> usize {
        self.factors.iter().product()
    }

    /// All factors in the order of the axes.
    fn order(&self) -> Vec<usize> {
        self.axes.concat()
    }

    /// Whether memory is in the order of the axes.
    pub(super) fn is_plain(&self) -> bool {
        self.order().is_sorted()
    }

    /// With the axes in another order: axis `i` is what axis `order[i]` was. The batch is not counted.
    pub(super) fn transposed(&self, order: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.axes.len()];
        order.iter().for_each(|&axis| seen.iter_mut().skip(axis).take(1).for_each(|s| *s = true));
        (order.len() == seen.len() && seen.iter().all(|&s| s)).then(|| Self {
            factors: self.factors.clone(),
            axes: order.iter().map(|&axis| self.axes[axis].clone()).collect(),
        })
    }

    /// As a tensor of other sizes, with the same numbers in the same order. `None` if they do not fit
    /// into each other.
    pub(super) fn reshaped(&self, sizes: &[usize]) -> Option<Self> {
        let elements = sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
        if elements != self.elements() || elements == 0 {
            return None;
        }
        let mut split = self.clone();
        let mut axes = Vec::new();
        // Factors that are left, the next one last.
        let mut left: Vec<usize> = self.order().into_iter().rev().collect();
        for &size in sizes {
            let (mut axis, mut rest) = (Vec::new(), size);
            while rest > 1 {
                let factor = left.pop()?;
                let own = split.factors[factor];
                if rest % own == 0 {
                    rest /= own;
                    axis.push(factor);
                    continue;
                }
                // Cut in two: the slower part belongs to this axis.
                if !own.is_multiple_of(rest) {
                    return None;
                }
                split.factors[factor] = rest;
                split.factors.insert(factor + 1, own / rest);
                let behind = |other: &mut usize| *other += usize::from(*other > factor);
                left.iter_mut().chain(axes.iter_mut().flatten()).for_each(behind);
                axis.iter_mut().for_each(behind);
                left.push(factor + 1);
                axis.push(factor);
                rest = 1;
            }
            axes.push(axis);
        }
        Some(Self { factors: split.factors, axes }.joined())
    }

    /// The same without cuts that nothing needs: factors that follow one another in memory and in an
    /// axis are one.
    fn joined(self) -> Self {
        let Self { mut factors, mut axes } = self;
        let mut at = 0;
        while at + 1 < factors.len() {
            let follow = |axis: &Vec<usize>| axis.windows(2).any(|pair| pair == [at, at + 1]);
            if !axes.iter().any(follow) {
                at += 1;
                continue;
            }
            factors[at] *= factors.remove(at + 1);
            for axis in &mut axes {
                axis.retain(|&factor| factor != at + 1);
                axis.iter_mut().for_each(|factor| *factor -= usize::from(*factor > at + 1));
            }
        }
        Self { factors, axes }
    }

    /// With an axis of size 1 before axis `at` (the batch not counted).
    pub(super) fn with_one(&self, at: usize) -> Option<Self> {
        let mut axes = self.axes.clone();
        (at <= axes.len()).then(|| axes.insert(at, Vec::new()))?;
        Some(Self { factors: self.factors.clone(), axes })
    }

    /// Without axis `at`, which has size 1.
    pub(super) fn without_one(&self, at: usize) -> Option<Self> {
        let mut axes = self.axes.clone();
        axes.get(at).filter(|axis| axis.is_empty())?;
        axes.remove(at);
        Some(Self { factors: self.factors.clone(), axes })
    }

    /// The axis that is the channels of a value of this shape, if one is just that.
    pub(super) fn channel_axis(&self, shape: MapShape) -> Option<usize> {
        if shape.channels == 1 {
            // Of a map in order it is the first.
            return (self.rank() == 3 && self.is_plain()).then_some(0);
        }
        let first = |axis: &Vec<usize>| axis.as_slice() == [0] && self.factors[0] == shape.channels;
        self.axes.iter().position(first)
    }

    /// The same axes with other channels: those are factor 0.
    pub(super) fn with_channels(&self, axis: usize, channels: usize) -> Self {
        let sizes = self.sizes();
        let mut factors = self.factors.clone();
        if self.axes[axis].as_slice() == [0] && channels > 1 {
            factors[0] = channels;
            return Self { factors, axes: self.axes.clone() };
        }
        // From or to a single channel: rebuilt, as the factor comes or goes.
        let mut order: Vec<usize> = (0..sizes.len()).filter(|&other| other != axis).collect();
        let place = |other: usize| self.axes[other].first().copied().unwrap_or(usize::MAX);
        order.sort_by_key(|&other| place(other));
        order.insert(0, axis);
        let mut new = Self { factors: Vec::new(), axes: vec![Vec::new(); sizes.len()] };
        for other in order {
            let size = if other == axis { channels } else { sizes[other] };
            if size > 1 {
                new.axes[other] = vec![new.factors.len()];
                new.factors.push(size);
            }
        }
        new
    }

    /// The groups of a shuffle of channels that brings this map into the order of its axes.
    pub(super) fn shuffle_groups(&self) -> Option<usize> {
        let order = self.order();
        let shuffled = order.len() >= 2 && order[..2] == [1, 0] && order[2..].is_sorted();
        let channels = self.axes.first()?.as_slice() == [1, 0];
        (shuffled && channels).then(|| self.factors[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_found_and_undone() {
        let map = Axes::plain(&[12, 4, 5]);
        let grouped = map.reshaped(&[3, 4, 4, 5]).unwrap();
        assert!(grouped.is_plain());
        let swapped = grouped.transposed(&[1, 0, 2, 3]).unwrap();
        let shuffled = swapped.reshaped(&[12, 4, 5]).unwrap();
        assert_eq!((shuffled.sizes(), shuffled.is_plain()), (vec![12, 4, 5], false));
        assert_eq!(shuffled.shuffle_groups(), Some(3));
        // Back again.
        let back = shuffled.reshaped(&[4, 3, 4, 5]).unwrap().transposed(&[1, 0, 2, 3]).unwrap();
        assert_eq!(back.reshaped(&[12, 4, 5]).unwrap(), map);
    }

    #[test]
    fn channels_last_keep_their_channels() {
        let shape = MapShape::new(6, 4, 5);
        let last = Axes::map(shape).transposed(&[1, 2, 0]).unwrap();
        assert_eq!((last.sizes(), last.channel_axis(shape)), (vec![4, 5, 6], Some(2)));
        assert_eq!(last.with_channels(2, 24).sizes(), [4, 5, 24]);
        assert_eq!(last.with_channels(2, 1).with_channels(2, 6), last);
        let tokens = last.reshaped(&[20, 6]).unwrap();
        assert_eq!(tokens.channel_axis(shape), Some(1));
        assert_eq!(tokens.reshaped(&[4, 5, 6]).unwrap(), last);
        assert!(!tokens.is_plain() && tokens.shuffle_groups().is_none());
    }

    #[test]
    fn flattening_and_ones_come_and_go() {
        let map = Axes::plain(&[6, 1, 1]);
        let rows = map.reshaped(&[6]).unwrap();
        assert_eq!(rows, Axes::plain(&[6]));
        assert_eq!(rows.with_one(1).unwrap().with_one(2).unwrap(), map);
        assert_eq!(map.without_one(2).unwrap().without_one(1).unwrap(), rows);
        assert!(map.without_one(0).is_none() && rows.with_one(2).is_none());
        let flat = Axes::plain(&[2, 3, 4]).reshaped(&[24]).unwrap();
        assert!(flat.is_plain() && flat.sizes() == [24]);
        assert!(Axes::plain(&[6, 4]).reshaped(&[4, 6]).is_none_or(|axes| axes.is_plain()));
        assert!(
            Axes::plain(&[6]).reshaped(&[5]).is_none()
                && Axes::plain(&[6]).transposed(&[1]).is_none()
        );
    }
}
