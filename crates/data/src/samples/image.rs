//! Images as samples, and batches of them.

use std::sync::Arc;

use faculty_inputs::Inputs;

use super::{Collate, ImageViews, Samples, ViewSettings};
use crate::image::augmentation::{Augmentation, Renderer};
use crate::image::mixing::Mixing;
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
        let Ok(ImageViews { augmentation, mixing, normalisation }) = settings.images() else {
            return Err(DataError::NotTexts);
        };
        let seed = settings.seed;
        let renderer =
            |augmentation| Renderer::new(self.shape(), augmentation, normalisation, seed);
        let (train, plain) = (renderer(*augmentation)?, renderer(Augmentation::NONE)?);
        // Of another set, views are of other sizes and not mixed with those of the training part.
        let mixing = mixing.clone().filter(|mixing| mixing.shape() == self.shape());
        Ok(Arc::new(ImageCollator { set: self, train, plain, mixing, seed }))
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
    mixing: Option<Mixing>,
    seed: u64,
}

impl Collate for ImageCollator {
    fn collate(&self, indices: &[usize], view: View, into: &mut Inputs) {
        let (renderer, number) = match view {
            View::Train(number) => (&self.train, number),
            View::Plain | View::Probe => (&self.plain, 0),
        };
        let pixels = into.images_mut();
        pixels.resize(indices.len() * renderer.view_len(), 0.0);
        let mixing = self.mixing.as_ref().filter(|_| matches!(view, View::Train(_)));
        let mut other = Vec::new();
        for (&index, out) in indices.iter().zip(pixels.chunks_exact_mut(renderer.view_len())) {
            let id = self.set.ids()[index];
            renderer.render_into(self.set.image(index), id, number, out);
            let Some(mixing) = mixing else { continue };
            if let Some(mixed) = mixing.of(self.seed, id, number) {
                other.resize(out.len(), 0.0);
                let partner = mixed.partner;
                renderer.render_into(mixing.pixels(partner), partner.id, number, &mut other);
                mixed.mix(out, &other, self.set.shape());
            }
        }
    }
}
