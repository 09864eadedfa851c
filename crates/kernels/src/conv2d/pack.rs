//! Layout changes: NCHW planes to channels-last with a zero border, and weights to panels.

use crate::simd::Simd;

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

impl Border {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns * self.pitch
    }
}

/// Copies `channels` planes of `height × width` to channels-last memory with a zero border.
#[inline(always)]
pub(crate) fn channels_last<S: Simd>(
    simd: S,
    planes: &[f32],
    [channels, height, width]: [usize; 3],
    border: &Border,
    packed: &mut [f32],
) {
    let plane = height * width;
    assert_eq!(planes.len(), channels * plane, "planes and shape differ");
    assert_eq!(packed.len(), border.len(), "buffer and border differ");
    assert!(border.top + height <= border.rows && border.left + width <= border.columns);
    assert!(channels <= border.pitch);
    if channels < border.pitch || border.len() != channels * plane {
        packed.fill(0.0);
    }
    let vectors = if width >= 4 { channels - channels % S::LANES } else { 0 };
    for y in 0..height {
        let row = ((y + border.top) * border.columns + border.left) * border.pitch;
        for channel in (0..vectors).step_by(S::LANES) {
            let mut x = 0;
            while x < width {
                // The last step goes back so that it ends with the row.
                let from = x.min(width - 4);
                // SAFETY: `channel + LANES <= channels` and `from + 4 <= width`, so the last
                // float read is inside `planes`, whose length is asserted above; the positions
                // written lie inside the border, asserted above too.
                unsafe {
                    let source = planes.as_ptr().add(channel * plane + y * width + from);
                    let columns = simd.load_columns4(source, plane);
                    let target = packed.as_mut_ptr().add(row + from * border.pitch + channel);
                    for i in 0..4 {
                        simd.store(target.add(i * border.pitch), columns[i]);
                    }
                }
                x += 4;
            }
        }
        for channel in vectors..channels {
            let source = &planes[channel * plane + y * width..][..width];
            for x in 0..width {
                packed[row + x * border.pitch + channel] = source[x];
            }
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
        self.depth() * self.lanes.next_multiple_of(vector)
    }

    /// Writes the panels: blocks of `block` vectors, the last one narrower, zeros behind the last
    /// lane. The block that starts at lane `l` starts at `l * depth`.
    pub(crate) fn pack(&self, vector: usize, block: usize, weight: &[f32], panels: &mut [f32]) {
        let depth = self.depth();
        let padded = self.lanes.next_multiple_of(vector);
        assert_eq!(panels.len(), depth * padded, "buffer and panels differ");
        for start in (0..padded).step_by(block * vector) {
            let width = (block * vector).min(padded - start);
            let panel = &mut panels[start * depth..][..width * depth];
            for lane in 0..width {
                if start + lane >= self.lanes {
                    panel.iter_mut().skip(lane).step_by(width).for_each(|w| *w = 0.0);
                    continue;
                }
                for channel in 0..self.channels {
                    let from = (start + lane) * self.lane_stride + channel * self.channel_stride;
                    for (tap, &offset) in self.taps.iter().enumerate() {
                        panel[(tap * self.channels + channel) * width + lane] =
                            weight[from + offset];
                    }
                }
            }
        }
    }
}
