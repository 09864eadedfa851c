//! Layout changes: NCHW planes to channels-last with a zero border, and weights to panels.

use rayon::prelude::*;

use crate::simd::Simd;
use crate::sizes;

/// Where the planes go inside the channels-last buffer `[rows, columns, pitch]`.
#[derive(Clone, Copy)]
pub(crate) struct Border {
    /// Zero rows above.
    pub(crate) top: usize,
    /// Zero columns at the left.
    pub(crate) left: usize,
    /// All rows.
    pub(crate) rows: usize,
    /// All columns.
    pub(crate) columns: usize,
    /// Floats from one position to the next: at least the channels; the rest is zero.
    pub(crate) pitch: usize,
}

/// Channels-last memory for planes of one size.
pub(crate) struct Layout {
    pub(crate) border: Border,
    /// Channels, rows and columns of the planes.
    pub(crate) dims: [usize; 3],
    /// Where each position of a plane goes.
    offsets: Vec<usize>,
}

impl Layout {
    /// The layout of planes of `dims` inside `border`, which must have room for them.
    pub(crate) fn new(dims: [usize; 3], border: Border) -> Self {
        let [channels, height, width] = dims;
        assert!(border.top + height <= border.rows && border.left + width <= border.columns);
        assert!(channels <= border.pitch);
        // Everything below, and the windows of a pass, stay within the buffer's length.
        sizes::elements([border.rows, border.columns, border.pitch]);
        let row = |y: usize| (border.top + y) * border.columns + border.left;
        let offsets = (0..height * width).map(|p| (row(p / width) + p % width) * border.pitch);
        Self { border, dims, offsets: offsets.collect() }
    }

    /// The layout without a border: position `p` goes to `p * pitch`.
    pub(crate) fn plain(dims: [usize; 3], pitch: usize) -> Self {
        let border = Border { top: 0, left: 0, rows: dims[1], columns: dims[2], pitch };
        Self::new(dims, border)
    }

    /// Floats of the buffer.
    pub(crate) fn len(&self) -> usize {
        self.border.rows * self.border.columns * self.border.pitch
    }

    /// Floats of the planes.
    fn planes_len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Copies planes to channels-last memory and sets the border to zero.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(&self, simd: S, planes: &[f32], packed: &mut [f32]) {
        let channels = self.dims[0];
        let plane = self.offsets.len();
        assert!(planes.len() == self.planes_len() && packed.len() == self.len());
        if packed.len() != planes.len() {
            packed.fill(0.0);
        }
        if channels < S::LANES || plane < S::LANES {
            for channel in 0..channels {
                for p in 0..plane {
                    packed[self.offsets[p] + channel] = planes[channel * plane + p];
                }
            }
            return;
        }
        // Here and below the last square goes back over what is done: the same values again.
        for channel in (0..channels).step_by(S::LANES) {
            let channel = channel.min(channels - S::LANES);
            for p in (0..plane).step_by(S::LANES) {
                let p = p.min(plane - S::LANES);
                // SAFETY: the square ends inside the planes by the two `min`; `new` made all
                // offsets end, with all channels, inside the buffer.
                unsafe {
                    let from = planes.as_ptr().add(channel * plane + p);
                    let to = packed.as_mut_ptr().add(channel);
                    simd.transpose(from, plane, to, self.offsets.as_ptr().add(p));
                }
            }
        }
    }

    /// Copies channels-last memory back to planes.
    #[inline(always)]
    pub(crate) fn unpack<S: Simd>(&self, simd: S, packed: &[f32], planes: &mut [f32]) {
        let channels = self.dims[0];
        let plane = self.offsets.len();
        let plain = self.border.rows * self.border.columns == plane;
        assert!(planes.len() == self.planes_len() && packed.len() == self.len() && plain);
        if channels < S::LANES || plane < S::LANES {
            for channel in 0..channels {
                for p in 0..plane {
                    planes[channel * plane + p] = packed[self.offsets[p] + channel];
                }
            }
            return;
        }
        let mut rows = [0; 16];
        for lane in 0..S::LANES {
            rows[lane] = lane * plane;
        }
        for channel in (0..channels).step_by(S::LANES) {
            let channel = channel.min(channels - S::LANES);
            for p in (0..plane).step_by(S::LANES) {
                let p = p.min(plane - S::LANES);
                // SAFETY: without a border position `p` stands at `p * pitch`; the square ends
                // inside both by the two `min`.
                unsafe {
                    let pitch = self.border.pitch;
                    let from = packed.as_ptr().add(p * pitch + channel);
                    let to = planes.as_mut_ptr().add(channel * plane + p);
                    simd.transpose(from, pitch, to, rows.as_ptr());
                }
            }
        }
    }
}

/// Adds the residual and applies ReLU, when there is a residual; otherwise the kernels have
/// applied ReLU already.
#[inline(always)]
pub(crate) fn add_residual(residual: Option<&[f32]>, relu: bool, output: &mut [f32]) {
    let Some(residual) = residual else { return };
    if relu {
        for (y, add) in output.iter_mut().zip(residual) {
            let sum = *y + add;
            *y = if sum < 0.0 { 0.0 } else { sum };
        }
    } else {
        for (y, add) in output.iter_mut().zip(residual) {
            *y += add;
        }
    }
}

/// How a weight tensor is read into panels `[block][tap][channel][lane]`.
pub(crate) struct Panels<'a> {
    /// Channels that become lanes.
    pub(crate) lanes: usize,
    /// Distance of two of them in the weight.
    pub(crate) lane_stride: usize,
    /// Channels that are summed over.
    pub(crate) channels: usize,
    /// Distance of two of them in the weight.
    pub(crate) channel_stride: usize,
    /// Offset of every tap, in the order they are summed.
    pub(crate) taps: &'a [usize],
}

impl Panels<'_> {
    /// Floats summed into one output.
    pub(crate) fn depth(&self) -> usize {
        self.taps.len() * self.channels
    }

    /// Floats of the panels with vectors of `vector` lanes.
    pub(crate) fn len(&self, vector: usize) -> usize {
        sizes::elements([self.taps.len(), self.channels, self.lanes.next_multiple_of(vector)])
    }

    /// Writes the panels: blocks of `block` vectors, the last one narrower, zeros behind the last
    /// lane. The block that starts at lane `l` starts at `l * depth`.
    pub(crate) fn pack(&self, vector: usize, block: usize, weight: &[f32], panels: &mut [f32]) {
        let depth = self.depth();
        let padded = self.lanes.next_multiple_of(vector);
        assert_eq!(panels.len(), depth * padded, "buffer and panels differ");
        let block = block * vector;
        panels.par_chunks_mut(block * depth.max(1)).enumerate().for_each(|(index, panel)| {
            let width = panel.len() / depth;
            let lanes = width.min(self.lanes - index * block);
            if lanes < width {
                panel.fill(0.0);
            }
            let mut copy = |lane: usize, channel: usize| {
                let from = (index * block + lane) * self.lane_stride;
                let taps = &weight[from + channel * self.channel_stride..];
                for (tap, &offset) in self.taps.iter().enumerate() {
                    panel[(tap * self.channels + channel) * width + lane] = taps[offset];
                }
            };
            // The inner loop over what lies close together in the weight.
            if self.lane_stride < self.channel_stride {
                for channel in 0..self.channels {
                    (0..lanes).for_each(|lane| copy(lane, channel));
                }
            } else {
                for lane in 0..lanes {
                    (0..self.channels).for_each(|channel| copy(lane, channel));
                }
            }
        });
    }
}
