//! Channels picked out of one or two maps: concatenation, splitting and ShuffleNet's shuffle as one
//! copy of whole planes.
//!
//! ```text
//! joined = first followed by second, C channels in all         y[i] = joined[source(start + i)]
//! source(o) = (o mod groups) * C / groups + o div groups       groups = 1 leaves the order
//! ```
//!
//! # Shapes
//! first `[batch, first, spatial]`, second `[batch, second, spatial]` (`second` may be 0), output
//! `[batch, count, spatial]`.
//!
//! # Threads
//! Images are spread over rayon's current pool; nothing is summed.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::parallel::ELEMENTS_PER_TASK;
use crate::sizes;

/// The sizes of a copy; see the [module](self) for what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelsShape {
    /// Images.
    pub batch: usize,
    /// Channels of the first map.
    pub first: usize,
    /// Channels of the second map.
    pub second: usize,
    /// Groups of the shuffle; must divide the joined channels.
    pub groups: usize,
    /// First channel taken of the shuffled ones.
    pub start: usize,
    /// Channels taken.
    pub count: usize,
    /// Rows times columns.
    pub spatial: usize,
}

/// One of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The map whose channels come first.
    First,
    /// The other one.
    Second,
}

impl ChannelsShape {
    fn joined(&self) -> usize {
        self.first + self.second
    }

    fn check(&self) {
        let joined = self.first.checked_add(self.second);
        let joined = joined.unwrap_or_else(|| panic!("too many channels in {self:?}"));
        assert!(self.groups > 0 && joined.is_multiple_of(self.groups), "groups in {self:?}");
        assert!(self.start <= joined && self.count <= joined - self.start, "channels in {self:?}");
    }

    /// The joined channel that output channel `index` takes.
    ///
    /// # Panics
    /// If the shape is none that [`join_channels`] takes, or `index` is not below `count`.
    #[must_use]
    pub fn source(&self, index: usize) -> usize {
        self.check();
        assert!(index < self.count, "output channel {index} of {self:?}");
        let at = self.start + index;
        at % self.groups * (self.joined() / self.groups) + at / self.groups
    }

    /// The output channel that takes the joined channel `index`, if one does.
    fn target(&self, index: usize) -> Option<usize> {
        let each = self.joined() / self.groups;
        let at = index % each * self.groups + index / each;
        at.checked_sub(self.start).filter(|&at| at < self.count)
    }

    /// Images one task handles.
    fn images(&self, channels: usize) -> usize {
        (ELEMENTS_PER_TASK / (channels * self.spatial).max(1)).max(1)
    }
}

fn check_len(name: &str, got: usize, channels: usize, shape: &ChannelsShape) {
    let want = sizes::elements([shape.batch, channels, shape.spatial]);
    assert!(got == want, "`{name}` has {got} elements, {want} expected for {shape:?}");
}

/// Copies the channels; the formula is the [module](self)'s.
///
/// # Panics
/// If a length does not match `shape`, its groups do not divide the channels, or it takes channels
/// that do not exist.
pub fn join_channels(shape: &ChannelsShape, first: &[f32], second: &[f32], output: &mut [f32]) {
    shape.check();
    let ChannelsShape { spatial, count, .. } = *shape;
    check_len("first", first.len(), shape.first, shape);
    check_len("second", second.len(), shape.second, shape);
    check_len("output", output.len(), count, shape);
    if output.is_empty() {
        return;
    }
    let images = output.par_chunks_mut(count * spatial).enumerate();
    images.with_min_len(shape.images(count)).for_each(|(image, output)| {
        for (index, plane) in output.chunks_exact_mut(spatial).enumerate() {
            let source = shape.source(index);
            let from = match source.checked_sub(shape.first) {
                None => &first[(image * shape.first + source) * spatial..],
                Some(source) => &second[(image * shape.second + source) * spatial..],
            };
            plane.copy_from_slice(&from[..spatial]);
        }
    });
}

/// Gradient by one of the two maps: the output gradient of the channels taken, zero for the others.
/// It is added to `grad` with `add`, and overwrites it otherwise.
///
/// # Panics
/// As for [`join_channels`].
pub fn join_channels_backward(
    shape: &ChannelsShape,
    side: Side,
    output_grad: &[f32],
    add: bool,
    grad: &mut [f32],
) {
    shape.check();
    let ChannelsShape { spatial, count, .. } = *shape;
    let (offset, channels) = match side {
        Side::First => (0, shape.first),
        Side::Second => (shape.first, shape.second),
    };
    check_len("output_grad", output_grad.len(), count, shape);
    check_len("grad", grad.len(), channels, shape);
    if grad.is_empty() {
        return;
    }
    let images = grad.par_chunks_mut(channels * spatial).enumerate();
    images.with_min_len(shape.images(channels)).for_each(|(image, grad)| {
        for (index, plane) in grad.chunks_exact_mut(spatial).enumerate() {
            let target = shape.target(offset + index);
            let from = target.map(|t| &output_grad[(image * count + t) * spatial..][..spatial]);
            match from {
                Some(from) if add => {
                    plane.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
                }
                Some(from) => plane.copy_from_slice(from),
                None if add => {}
                None => plane.fill(0.0),
            }
        }
    });
}
