//! What a batch gives a network.
//!
//! ```text
//! data: Collate -> Inputs -> Input -> nets: the graph's input, or a teacher's adapter
//! ```
//! Only these two ends look inside; everything between passes it on. So a new kind of sample is a
//! variant here, a collator that makes it and a network that reads it.

/// The inputs of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// `[batch, channels, height, width]`, normalised.
    Images(Vec<f32>),
}

impl Default for Inputs {
    /// Of no samples.
    fn default() -> Self {
        Self::Images(Vec::new())
    }
}

impl Inputs {
    /// The same, borrowed.
    #[must_use]
    pub fn view(&self) -> Input<'_> {
        match self {
            Self::Images(pixels) => Input::Images(pixels),
        }
    }

    /// Adds the samples of another batch behind those of this one.
    pub fn append(&mut self, other: Input<'_>) {
        let (Self::Images(own), Input::Images(pixels)) = (self, other);
        own.extend_from_slice(pixels);
    }
}

/// The inputs of a batch, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input<'a> {
    /// `[batch, channels, height, width]`, normalised.
    Images(&'a [f32]),
}

impl Input<'_> {
    /// Some of its samples, of which there are `batch`, in this order.
    ///
    /// # Panics
    /// If a sample is not below `batch`.
    #[must_use]
    pub fn select(self, samples: &[usize], batch: usize) -> Inputs {
        let Self::Images(pixels) = self;
        let each = pixels.len() / batch.max(1);
        let rows = samples.iter().flat_map(|&sample| &pixels[sample * each..(sample + 1) * each]);
        Inputs::Images(rows.copied().collect())
    }
}

impl<'a> From<&'a Inputs> for Input<'a> {
    fn from(inputs: &'a Inputs) -> Self {
        inputs.view()
    }
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(pixels: &'a [f32]) -> Self {
        Self::Images(pixels)
    }
}

impl<'a> From<&'a Vec<f32>> for Input<'a> {
    fn from(pixels: &'a Vec<f32>) -> Self {
        Self::Images(pixels)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Input<'a> {
    fn from(pixels: &'a [f32; N]) -> Self {
        Self::Images(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_chosen_and_added_whole() {
        let three = Inputs::Images(vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        let mut chosen = three.view().select(&[2, 0], 3);
        assert_eq!(chosen, Inputs::Images(vec![2.0, 2.5, 0.0, 0.5]));
        chosen.append((&[3.0, 3.5]).into());
        assert_eq!(chosen.view().select(&[2], 3), Inputs::Images(vec![3.0, 3.5]));
        assert_eq!(three.view().select(&[], 3), Inputs::Images(Vec::new()));
    }
}
