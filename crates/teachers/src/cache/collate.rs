//! The inputs that teachers are run on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use faculty_data::{Collate, Dataset, Inputs, SampleId, Split, View, ViewSettings};
use rayon::prelude::*;

use crate::error::{Result, TeacherError};

/// The samples of a cache, as inputs.
pub(super) struct Collator {
    /// Of each split of the data set.
    splits: Vec<Arc<dyn Collate>>,
    /// Every id of the data set: its split, and its index there.
    places: HashMap<SampleId, (usize, usize)>,
}

impl Collator {
    pub(super) fn new(dataset: &Dataset, views: &ViewSettings) -> Result<Self> {
        let others = [dataset.validation_split(), dataset.test_split()];
        let splits: Vec<Split> =
            std::iter::once(dataset.train_split()).chain(others.into_iter().flatten()).collect();
        let mut places = HashMap::new();
        // The same sample has the same id in every split, so it does not matter which one is taken.
        for (split, part) in splits.iter().enumerate() {
            for (id, &index) in part.ids().into_iter().zip(part.indices()) {
                places.entry(id).or_insert((split, index));
            }
        }
        let collators = splits.iter().map(|part| Ok(part.collator(views)?));
        Ok(Self { splits: collators.collect::<Result<_>>()?, places })
    }

    /// One view of each sample.
    pub(super) fn collate(&self, ids: &[SampleId], view: View) -> Result<Inputs> {
        let one = |&id: &SampleId| {
            let Some(&(split, index)) = self.places.get(&id) else {
                return Err(TeacherError::CacheIncomplete {
                    path: PathBuf::from("samples.safetensors"),
                    what: format!("sample {id} in the data set"),
                });
            };
            let mut input = Inputs::default();
            self.splits[split].collate(&[index], view, &mut input);
            Ok(input)
        };
        let each = ids.par_iter().map(one).collect::<Result<Vec<Inputs>>>()?;
        Ok(each.iter().fold(Inputs::default(), |mut all, one| {
            all.append(one.view());
            all
        }))
    }
}
