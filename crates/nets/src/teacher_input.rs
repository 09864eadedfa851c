//! Samples as a teacher wants them: images of its own size and normalisation, tokens of its own
//! tokenizer.

use std::sync::Arc;

use crate::shape::MapShape;
use faculty_inputs::{Input, Texts, Tokenize};
use faculty_kernels::resize::{ResizeShape, resize_bilinear};

/// From the student's normalisation to the teacher's: `scale x + shift` per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Renormalise {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Renormalise {
    /// `None` when both normalisations are the same. All slices have one value a channel.
    #[must_use]
    pub fn between(student: (&[f32], &[f32]), teacher: (&[f32], &[f32])) -> Option<Self> {
        if student == teacher {
            return None;
        }
        let ((mean_s, std_s), (mean_t, std_t)) = (student, teacher);
        let scale = std_s.iter().zip(std_t).map(|(s, t)| s / t).collect();
        let shift = mean_s
            .iter()
            .zip(mean_t)
            .zip(std_t)
            .map(|((mean_s, mean_t), std_t)| (mean_s - mean_t) / std_t)
            .collect();
        Some(Self { scale, shift })
    }

    /// `images` (planes of `positions` values, `[batch, channels, positions]`) in its own normalisation.
    pub fn apply(&self, images: &[f32], positions: usize, out: &mut Vec<f32>) {
        let channels = self.scale.len();
        out.clear();
        out.extend(images.chunks_exact(positions).enumerate().flat_map(|(plane, pixels)| {
            let (scale, shift) = (self.scale[plane % channels], self.shift[plane % channels]);
            pixels.iter().map(move |x| x * scale + shift)
        }));
    }
}

/// From the student's input to a teacher's, each sample by itself.
#[derive(Clone, Debug)]
pub struct TeacherInput {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Images(TeacherImages),
    Texts(TeacherTexts),
}

/// Renormalised, then resized bilinearly (half-pixel centres, no antialiasing, as PyTorch's
/// `interpolate`).
#[derive(Clone, Debug)]
struct TeacherImages {
    from: MapShape,
    to: MapShape,
    renormalise: Option<Renormalise>,
    renormalised: Vec<f32>,
    resized: Vec<f32>,
}

impl TeacherInput {
    /// From images of the shape `from` to images of the same channels and of the size
    /// `[height, width]`; `None` leaves them as they are.
    #[must_use]
    pub fn new(from: MapShape, renormalise: Option<Renormalise>, size: Option<[usize; 2]>) -> Self {
        let [height, width] = size.unwrap_or([from.height, from.width]);
        let to = MapShape { height, width, ..from };
        let (renormalised, resized) = (Vec::new(), Vec::new());
        let images = TeacherImages { from, to, renormalise, renormalised, resized };
        Self { kind: Kind::Images(images) }
    }

    /// Of texts: tokens of the teacher's own tokenizer; without one, the student's tokens.
    #[must_use]
    pub fn of_texts(tokenizer: Option<Arc<dyn Tokenize>>) -> Self {
        Self { kind: Kind::Texts(TeacherTexts { tokenizer, texts: Texts::default() }) }
    }

    /// Shape of the images that the teacher sees; of texts nothing by nothing.
    #[must_use]
    pub fn shape(&self) -> MapShape {
        match &self.kind {
            Kind::Images(images) => images.to,
            Kind::Texts(_) => MapShape::new(0, 0, 0),
        }
    }

    /// The student's input to the teacher's: images `[batch, channels, height, width]` of its own
    /// size and normalisation, or texts in its own tokens.
    ///
    /// # Panics
    /// If the images are not of the student's shape, or the samples of the other kind.
    pub fn prepare<'a>(&'a mut self, input: impl Into<Input<'a>>) -> Input<'a> {
        match (&mut self.kind, input.into()) {
            (Kind::Images(own), Input::Images(images)) => own.prepare(images),
            (Kind::Texts(own), Input::Texts(texts)) => own.prepare(texts),
            _ => panic!("a teacher of images and texts, or the reverse"),
        }
    }
}

/// In tokens of another tokenizer than the student's.
#[derive(Clone, Debug)]
struct TeacherTexts {
    tokenizer: Option<Arc<dyn Tokenize>>,
    texts: Texts,
}

impl TeacherTexts {
    fn prepare<'a>(&'a mut self, texts: &'a Texts) -> Input<'a> {
        let Some(tokenizer) = &self.tokenizer else { return Input::Texts(texts) };
        self.texts.texts.clone_from(&texts.texts);
        self.texts.tokens.clear();
        for text in &texts.texts {
            tokenizer.tokenize(text, &mut self.texts.tokens);
        }
        Input::Texts(&self.texts)
    }
}

impl TeacherImages {
    fn prepare<'a>(&'a mut self, images: &'a [f32]) -> Input<'a> {
        let Self { from, to, renormalise, renormalised, resized } = self;
        let images = match renormalise {
            None => images,
            Some(renormalise) => {
                renormalise.apply(images, from.positions(), renormalised);
                renormalised
            }
        };
        if to == from {
            return Input::Images(images);
        }
        let planes = images.len() / from.positions();
        resized.resize(planes * to.positions(), 0.0);
        let shape =
            ResizeShape { planes, input: [from.height, from.width], output: [to.height, to.width] };
        resize_bilinear(&shape, images, resized);
        Input::Images(resized)
    }
}

#[cfg(test)]
mod tests {
    use faculty_inputs::{Text, Tokens};

    use super::*;

    #[test]
    fn renormalised_pixels_are_those_of_the_other_normalisation() {
        let (mean_s, std_s, mean_t, std_t) = ([0.5, 0.4], [0.25, 0.2], [0.1, 0.3], [0.5, 0.125]);
        let renormalise = Renormalise::between((&mean_s, &std_s), (&mean_t, &std_t)).unwrap();
        let raw = [0.0_f32, 0.3, 1.0, 0.7];
        let normalised = |mean: &[f32; 2], std: &[f32; 2]| -> Vec<f32> {
            raw.iter().enumerate().map(|(i, x)| (x - mean[i / 2]) / std[i / 2]).collect()
        };
        let mut input = TeacherInput::new(MapShape::new(2, 1, 2), Some(renormalise), None);
        let student = normalised(&mean_s, &std_s);
        let got = input.prepare(&student).images().unwrap();
        for (got, want) in got.iter().zip(normalised(&mean_t, &std_t)) {
            assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
        }
        assert_eq!(Renormalise::between((&mean_s, &std_s), (&mean_s, &std_s)), None);
    }

    #[test]
    fn texts_get_the_teachers_tokens() {
        #[derive(Debug)]
        struct Lengths;
        impl Tokenize for Lengths {
            fn tokenize(&self, text: &Text, into: &mut Tokens) {
                let ids: Vec<u32> = text.first.split(' ').map(|word| word.len() as u32).collect();
                into.push(&ids, &vec![0; ids.len()]);
            }
            fn vocabulary(&self) -> usize {
                100
            }
            fn identity(&self) -> &str {
                "lengths"
            }
        }
        let mut texts = Texts::default();
        for text in ["a bcd", "ef"] {
            texts.texts.push(Text::single(text));
            texts.tokens.push(&[7], &[0]);
        }
        let mut input = TeacherInput::of_texts(Some(Arc::new(Lengths)));
        for _ in 0..2 {
            let tokens = &input.prepare(&texts).texts().unwrap().tokens;
            assert_eq!((tokens.ids(), tokens.offsets()), (&[1, 3, 2][..], &[0, 2, 3][..]));
        }
        assert_eq!(TeacherInput::of_texts(None).prepare(&texts), (&texts).into());
    }

    #[test]
    fn images_are_scaled_to_the_teachers_size_one_by_one() {
        let mut input = TeacherInput::new(MapShape::new(1, 1, 2), None, Some([2, 4]));
        assert_eq!(input.shape(), MapShape::new(1, 2, 4));
        let row = [0.0, 0.25, 0.75, 1.0];
        let both = [row, row, [4.0; 4], [4.0; 4]].concat();
        assert_eq!(input.prepare(&[0.0, 1.0, 4.0, 4.0]), (&both).into());
        assert_eq!(input.prepare(&[0.0, 1.0]), both[..8].into());
    }
}
