//! Images as samples, and batches of them.

use std::sync::Arc;

use faculty_inputs::Inputs;

use super::{Collate, ImageViews, Samples, ViewSettings};
use crate::image::augmentation::{Augmentation, Renderer};
use crate::image::set::ImageSet;
use crate::view::View;
use crate::{DataError, SampleId};

impl Samples for ImageSet {
    fn ids(&self) -> &[SampleId] {
        self.ids()
    }

    fn labels(&self) -> &[u32] {
        self.labels()
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.origin(index)
    }

    fn collator(self: Arc<Self>, settings: &ViewSettings) -> Result<Arc<dyn Collate>, DataError> {
        // What was asked for are texts.
        let Ok(ImageViews { augmentation, normalisation }) = settings.images() else {
            return Err(DataError::NotTexts);
        };
        let seed = settings.seed;
        let renderer =
            |augmentation| Renderer::new(self.shape(), augmentation, normalisation, seed);
        let (train, plain) = (renderer(*augmentation)?, renderer(Augmentation::NONE)?);
        Ok(Arc::new(ImageCollator { set: self, train, plain }))
    }

    fn images(&self) -> Option<&ImageSet> {
        Some(self)
    }
}

/// Renders views of the images of one set.
struct ImageCollator {
    set: Arc<ImageSet>,
    train: Renderer,
    plain: Renderer,
}

impl Collate for ImageCollator {
    fn collate(&self, indices: &[usize], view: View, into: &mut Inputs) {
        let (renderer, number) = match view {
            View::Train(number) => (&self.train, number),
            View::Plain | View::Probe => (&self.plain, 0),
        };
        let pixels = into.images_mut();
        pixels.resize(indices.len() * renderer.view_len(), 0.0);
        for (&index, out) in indices.iter().zip(pixels.chunks_exact_mut(renderer.view_len())) {
            renderer.render_into(self.set.image(index), self.set.ids()[index], number, out);
        }
    }
}
