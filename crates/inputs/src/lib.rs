//! What a batch gives a network.
//!
//! ```text
//! data: Collate -> Inputs -> Input -> nets: the graph's input, or a teacher's adapter
//! ```
//! Only these two ends look inside; everything between passes it on. So a new kind of sample is a
//! variant here, a collator that makes it and a network that reads it.

mod texts;
mod tokenize;

pub use texts::{Text, Texts, Tokens};
pub use tokenize::Tokenize;

/// The inputs of a batch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Inputs {
    /// `[batch, channels, height, width]`, normalised.
    Images(Vec<f32>),
    /// Texts and their tokens.
    Texts(Texts),
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
            Self::Texts(texts) => Input::Texts(texts),
        }
    }

    /// Adds the samples of another batch behind those of this one, which are of the same kind or none.
    ///
    /// # Panics
    /// If there are samples of another kind.
    pub fn append(&mut self, other: Input<'_>) {
        match (self, other) {
            (Self::Images(pixels), Input::Images(more)) => pixels.extend_from_slice(more),
            (Self::Texts(texts), Input::Texts(more)) => texts.append(more),
            (this, other) => {
                let none = match this {
                    Self::Images(pixels) => pixels.is_empty(),
                    Self::Texts(texts) => texts.is_empty(),
                };
                assert!(none, "a batch is of one kind of samples");
                *this = other.to_owned();
            }
        }
    }

    /// Memory for pixels: those that are there, or none.
    pub fn images_mut(&mut self) -> &mut Vec<f32> {
        if !matches!(self, Self::Images(_)) {
            *self = Self::default();
        }
        let Self::Images(pixels) = self else { unreachable!("made one just now") };
        pixels
    }

    /// Memory for texts: those that are there, or none.
    pub fn texts_mut(&mut self) -> &mut Texts {
        if !matches!(self, Self::Texts(_)) {
            *self = Self::Texts(Texts::default());
        }
        let Self::Texts(texts) = self else { unreachable!("made one just now") };
        texts
    }
}

/// The inputs of a batch, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// `[batch, channels, height, width]`, normalised.
    Images(&'a [f32]),
    /// Texts and their tokens.
    Texts(&'a Texts),
}

impl<'a> Input<'a> {
    /// The pixels, `[batch, channels, height, width]`, if these are images.
    #[must_use]
    pub fn images(self) -> Option<&'a [f32]> {
        match self {
            Self::Images(pixels) => Some(pixels),
            Self::Texts(_) => None,
        }
    }

    /// The texts, if these are texts.
    #[must_use]
    pub fn texts(self) -> Option<&'a Texts> {
        match self {
            Self::Texts(texts) => Some(texts),
            Self::Images(_) => None,
        }
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_owned(self) -> Inputs {
        match self {
            Self::Images(pixels) => Inputs::Images(pixels.to_vec()),
            Self::Texts(texts) => Inputs::Texts(texts.clone()),
        }
    }

    /// Some of its samples, of which there are `batch`, in this order.
    ///
    /// # Panics
    /// If a sample is not below `batch`.
    #[must_use]
    pub fn select(self, samples: &[usize], batch: usize) -> Inputs {
        match self {
            Self::Images(pixels) => {
                let each = pixels.len() / batch.max(1);
                let row = |&sample: &usize| &pixels[sample * each..(sample + 1) * each];
                Inputs::Images(samples.iter().flat_map(row).copied().collect())
            }
            Self::Texts(texts) => Inputs::Texts(texts.select(samples)),
        }
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

impl<'a> From<&'a Texts> for Input<'a> {
    fn from(texts: &'a Texts) -> Self {
        Self::Texts(texts)
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
    #[test]
    fn none_of_a_kind_becomes_the_kind_that_is_added() {
        let mut texts = Texts::default();
        texts.texts.push(Text::single("a b"));
        texts.tokens.push(&[4, 5], &[0, 0]);
        let mut all = Inputs::default();
        all.append((&texts).into());
        all.append((&texts).into());
        assert_eq!(all.view().select(&[1], 2), Inputs::Texts(texts));
        assert!(all.images_mut().is_empty());
    }
}
