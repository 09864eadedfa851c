//! What a split needs to know of its samples, whatever they are.

use std::fmt::Debug;
use std::sync::Arc;

use faculty_inputs::Inputs;

use crate::image::augmentation::Augmentation;
use crate::image::normalisation::Normalisation;
use crate::image::set::ImageSet;
use crate::view::View;
use crate::{DataError, SampleId};

mod image;

/// Samples of one kind in memory, each with its id and true label.
pub trait Samples: Send + Sync + Debug {
    /// Ids, `[samples]`, all different.
    fn ids(&self) -> &[SampleId];

    /// True labels, `[samples]`.
    fn labels(&self) -> &[u32];

    /// What makes inputs of them.
    ///
    /// # Errors
    /// When the settings do not fit the samples.
    fn collator(self: Arc<Self>, settings: &ViewSettings) -> Result<Arc<dyn Collate>, DataError>;

    /// The samples as images, if they are.
    fn images(&self) -> Option<&ImageSet>;
}

/// Makes a network's inputs of samples.
pub trait Collate: Send + Sync {
    /// Puts a view of each of the samples at `indices` into `into`, whose memory is used again. A
    /// [`View::Probe`] is of the caller's making; here it is the plain view.
    ///
    /// # Panics
    /// If an index is not below the number of samples.
    fn collate(&self, indices: &[usize], view: View, into: &mut Inputs);
}

/// How samples become views of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSettings {
    /// Random seed of training views.
    pub seed: u64,
    /// What may happen to an image in training.
    pub augmentation: Augmentation,
    /// Mean and standard deviation of each channel.
    pub normalisation: Normalisation,
}

impl ViewSettings {
    /// Plain views, and training views that are no different.
    #[must_use]
    pub fn plain(normalisation: Normalisation) -> Self {
        Self { seed: 0, augmentation: Augmentation::NONE, normalisation }
    }

    /// With this augmentation of training views, drawn for this seed.
    #[must_use]
    pub fn with_augmentation(self, augmentation: Augmentation, seed: u64) -> Self {
        Self { augmentation, seed, ..self }
    }
}
