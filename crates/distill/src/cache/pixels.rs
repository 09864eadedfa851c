//! The images that teachers are run on.

use std::path::PathBuf;

use faculty_data::{Augmentation, Part, Renderer, SampleId, View};
use rayon::prelude::*;

use super::manifest::ViewsEntry;
use super::plan::CachePlan;
use crate::error::{Error, Result};

/// The images of a cache's samples.
pub(super) struct Pixels {
    train: Part,
    test: Option<Part>,
    /// Every id of the data set: position, and whether it is in the test part only.
    positions: std::collections::HashMap<SampleId, (bool, usize)>,
    pub(super) views: Renderer,
    pub(super) plain: Renderer,
}

impl Pixels {
    pub(super) fn new(plan: &CachePlan<'_>) -> Result<Self> {
        let (train, test) = (plan.dataset.train_part(), plan.dataset.test_part());
        let mut positions = std::collections::HashMap::new();
        // The same image has the same id in both parts, so it does not matter which one is taken.
        for (part, is_test) in [(Some(&train), false), (test.as_ref(), true)] {
            for (position, id) in part.map(Part::ids).unwrap_or_default().into_iter().enumerate() {
                positions.entry(id).or_insert((is_test, position));
            }
        }
        let ViewsEntry { seed, crop_padding, flip, .. } = plan.manifest.views;
        let augmentation = Augmentation { pad: crop_padding, flip };
        let renderer = |augmentation| {
            Renderer::new(train.shape(), augmentation, &plan.data.normalisation, seed)
        };
        let (views, plain) = (renderer(augmentation)?, renderer(Augmentation::NONE)?);
        Ok(Self { train, test, positions, views, plain })
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
                let place = self.positions.get(&id).map(|&(is_test, position)| {
                    (
                        if is_test {
                            self.test.as_ref().unwrap_or(&self.train)
                        } else {
                            &self.train
                        },
                        position,
                    )
                });
                let Some((part, position)) = place else {
                    return Err(Error::CacheIncomplete {
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
