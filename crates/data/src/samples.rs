//! What a split needs to know of its samples, whatever they are.

use std::fmt::Debug;
use std::sync::Arc;

use faculty_inputs::Inputs;

use crate::image::set::ImageSet;
use crate::text::set::TextSet;
use crate::view::View;
use crate::{DataError, SampleId};

mod image;
mod text;
mod views;

pub use views::{ImageViews, TextViews, ViewKind, ViewSettings};

/// Samples of one kind in memory, each with its id and true label.
pub trait Samples: Send + Sync + Debug {
    /// Ids, `[samples]`, all different.
    fn ids(&self) -> &[SampleId];

    /// True labels, `[samples]`.
    fn labels(&self) -> &[u32];

    /// Number of samples.
    fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Samples of each class, `[classes]`; labels from `classes` on are not counted.
    fn histogram(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in self.labels() {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The file of the data set that a sample comes from, and the line or row in it, where that is
    /// known.
    fn origin(&self, index: usize) -> Option<String> {
        let _ = index;
        None
    }

    /// What makes inputs of them.
    ///
    /// # Errors
    /// When the settings do not fit the samples.
    fn collator(self: Arc<Self>, settings: &ViewSettings) -> Result<Arc<dyn Collate>, DataError>;

    /// The samples as images, if they are.
    fn images(&self) -> Option<&ImageSet> {
        None
    }

    /// The samples as texts, if they are.
    fn texts(&self) -> Option<&TextSet> {
        None
    }
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
