//! The images that teachers are run on.

use std::path::PathBuf;

use faculty_data::{Augmentation, Dataset, Normalisation, Part, Renderer, SampleId, View};
use rayon::prelude::*;

use super::manifest::ViewsEntry;
use crate::error::{Result, TeacherError};

/// The images of a cache's samples.
pub(super) struct Pixels {
    /// All splits of the data set.
    splits: Vec<Part>,
    /// Every id of the data set: its split, and its position there.
    positions: std::collections::HashMap<SampleId, (usize, usize)>,
    pub(super) views: Renderer,
    pub(super) plain: Renderer,
}

impl Pixels {
    pub(super) fn new(
        dataset: &Dataset,
        views: &ViewsEntry,
        normalisation: &Normalisation,
    ) -> Result<Self> {
        let others = [dataset.validation_part(), dataset.test_part()];
        let splits: Vec<Part> =
            std::iter::once(dataset.train_part()).chain(others.into_iter().flatten()).collect();
        let mut positions = std::collections::HashMap::new();
        // The same image has the same id in every split, so it does not matter which one is taken.
        for (split, part) in splits.iter().enumerate() {
            for (position, id) in part.ids().into_iter().enumerate() {
                positions.entry(id).or_insert((split, position));
            }
        }
        let ViewsEntry { seed, crop_padding, flip, .. } = *views;
        let augmentation = Augmentation { pad: crop_padding, flip };
        let renderer =
            |augmentation| Renderer::new(dataset.shape(), augmentation, normalisation, seed);
        let (views, plain) = (renderer(augmentation)?, renderer(Augmentation::NONE)?);
        Ok(Self { splits, positions, views, plain })
    }

    /// One view of each sample, `[samples, channels, height, width]`.
    pub(super) fn render(
        &self,
        renderer: &Renderer,
        ids: &[SampleId],
        number: u32,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        out.resize(ids.len() * renderer.view_len(), 0.0);
        ids.par_iter().zip(out.par_chunks_exact_mut(renderer.view_len())).try_for_each(
            |(&id, out)| {
                let place = self.positions.get(&id);
                let place = place.map(|&(split, position)| (&self.splits[split], position));
                let Some((part, position)) = place else {
                    return Err(TeacherError::CacheIncomplete {
                        path: PathBuf::from("samples.safetensors"),
                        what: format!("the image of sample {id} in the data set"),
                    });
                };
                renderer.render_into(part.image(position), View { id, number }, out);
                Ok(())
            },
        )
    }
}
