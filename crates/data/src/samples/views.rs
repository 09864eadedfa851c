//! How samples become views of them.

use std::sync::Arc;

use faculty_inputs::Tokenize;

use crate::DataError;
use crate::image::augmentation::Augmentation;
use crate::image::mixing::Mixing;
use crate::image::normalisation::Normalisation;
use crate::text::words::WordChanges;

/// How samples become views of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSettings {
    /// Random seed of training views.
    pub seed: u64,
    /// What else there is to say of a view, by the kind of samples.
    pub kind: ViewKind,
}

/// What views of one kind of samples depend on, beside the seed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of a run, and none is copied in a loop"
)]
pub enum ViewKind {
    /// Of images.
    Images(ImageViews),
    /// Of texts.
    Texts(TextViews),
}

/// How images become views of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageViews {
    /// What may happen to an image in training.
    pub augmentation: Augmentation,
    /// What training views are mixed with, if they are.
    pub mixing: Option<Mixing>,
    /// Mean and standard deviation of each channel.
    pub normalisation: Normalisation,
}

impl ImageViews {
    /// Views without mixtures.
    #[must_use]
    pub fn new(augmentation: Augmentation, normalisation: Normalisation) -> Self {
        Self { augmentation, mixing: None, normalisation }
    }

    /// What there is beside crop and flip, in words that are the same for equal settings alone; nothing
    /// where there is nothing. For whatever keeps outputs and must know whether they are still of these
    /// views.
    #[must_use]
    pub fn beside_crop_and_flip(&self) -> Option<String> {
        self.in_words(self.mixing.as_ref().map(Mixing::identity))
    }

    /// The same for readers, who need not know the partners.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.in_words(self.mixing.as_ref().map(Mixing::words))
    }

    fn in_words(&self, mixing: Option<String>) -> Option<String> {
        let parts: Vec<String> =
            self.augmentation.beside_crop_and_flip().into_iter().chain(mixing).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// How texts become views of them; equal if the tokenizers have the same identity.
#[derive(Clone, Debug)]
pub struct TextViews {
    /// What makes the student's tokens.
    pub tokenizer: Arc<dyn Tokenize>,
    /// What may happen to the words of a text in training.
    pub words: WordChanges,
}

impl TextViews {
    /// Names what views of a seed depend on: the same for equal settings alone, on any machine. For
    /// whatever keeps outputs and must know whether they are still of these views.
    #[must_use]
    pub fn identity(&self) -> String {
        let WordChanges { deletion, swap } = self.words;
        format!("{} deletion {deletion:?} swap {swap:?}", self.tokenizer.identity())
    }
}

impl PartialEq for TextViews {
    fn eq(&self, other: &Self) -> bool {
        self.tokenizer.identity() == other.tokenizer.identity() && self.words == other.words
    }
}

impl ViewSettings {
    /// Plain views of images, and training views that are no different.
    #[must_use]
    pub fn plain(normalisation: Normalisation) -> Self {
        Self::of_images(Augmentation::NONE, normalisation, 0)
    }

    /// Views of images with this augmentation in training, drawn for `seed`.
    #[must_use]
    pub fn of_images(augmentation: Augmentation, normalisation: Normalisation, seed: u64) -> Self {
        Self { seed, kind: ViewKind::Images(ImageViews::new(augmentation, normalisation)) }
    }

    /// The same with training views mixed; texts stay as they are.
    #[must_use]
    pub fn with_mixing(mut self, mixing: Mixing) -> Self {
        if let ViewKind::Images(views) = &mut self.kind {
            views.mixing = Some(mixing);
        }
        self
    }

    /// The same without mixtures.
    #[must_use]
    pub fn unmixed(mut self) -> Self {
        if let ViewKind::Images(views) = &mut self.kind {
            views.mixing = None;
        }
        self
    }

    /// What training views are mixed with, if they are.
    #[must_use]
    pub fn mixing(&self) -> Option<&Mixing> {
        match &self.kind {
            ViewKind::Images(views) => views.mixing.as_ref(),
            ViewKind::Texts(_) => None,
        }
    }

    /// Views of texts with these changes in training, drawn for `seed`.
    #[must_use]
    pub fn of_texts(tokenizer: Arc<dyn Tokenize>, words: WordChanges, seed: u64) -> Self {
        Self { seed, kind: ViewKind::Texts(TextViews { tokenizer, words }) }
    }

    /// The same drawn for another seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// How images become views of them.
    ///
    /// # Errors
    /// [`DataError::NotImages`] if these are views of texts.
    pub fn images(&self) -> Result<&ImageViews, DataError> {
        match &self.kind {
            ViewKind::Images(views) => Ok(views),
            ViewKind::Texts(_) => Err(DataError::NotImages),
        }
    }

    /// How texts become views of them.
    ///
    /// # Errors
    /// [`DataError::NotTexts`] if these are views of images.
    pub fn texts(&self) -> Result<&TextViews, DataError> {
        match &self.kind {
            ViewKind::Texts(views) => Ok(views),
            ViewKind::Images(_) => Err(DataError::NotTexts),
        }
    }
}
