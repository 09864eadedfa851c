//! Classifier heads inside teachers: a stage before training that makes more teachers of one.
//!
//! ```text
//! [[teachers]] name = "ada", heads = ["f1", "f2"]
//!     ->  ada     the network itself
//!         ada.f1  the network as far as f1, then a linear layer on that map, flattened
//!         ada.f2  likewise
//! HEADS/NETWORK-f1-HASH.safetensors     a trained head; HASH is of all that it depends on
//! ```
//! The network stays frozen; each head is trained on the labels by cross-entropy, all heads of one
//! network in the same passes over it. A head's file depends on the network, the training samples
//! with their labels and views, and `[heads]`, but not on the run's seed or method, so that every
//! run of a comparison finds it. Files appear complete or not at all.
//!
//! A mounted recipe says `head = FILE` in a teacher of its own. From there on a head is a teacher
//! like any other: measured, cached, weighed by whatever rule.

use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_recipe::Recipe;

use crate::error::{Error, Result};

mod plan;
mod training;

pub use plan::HeadsPlan;
pub use training::{HeadProgress, HeadsEvent};

/// The recipe with its heads as teachers of their own; trains those that are missing.
///
/// `stop` ends it after the current batch; heads of finished teachers are kept.
///
/// # Errors
/// When a teacher or its map is not there, a head file cannot be used or written, a loss breaks
/// down, or it is stopped.
pub fn mount(
    recipe: &Recipe,
    dataset: &Dataset,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(HeadsEvent<'_>),
) -> Result<Recipe> {
    let plan = HeadsPlan::new(recipe, dataset)?;
    plan.train(stop, observe)?;
    Ok(plan.recipe())
}

/// The recipe with its heads as teachers of their own, all of which are trained.
///
/// # Errors
/// As [`HeadsPlan::new`], and [`Error::HeadMissing`].
pub(crate) fn mounted(recipe: &Recipe, dataset: &Dataset) -> Result<Recipe> {
    let plan = HeadsPlan::new(recipe, dataset)?;
    match plan.missing().next() {
        None => Ok(plan.recipe()),
        Some(own) => Err(Error::HeadMissing { head: own.name.clone(), path: own.path.clone() }),
    }
}

/// The recipe with its heads if they are trained: by a run, not by looking at its teachers.
pub(crate) fn mounted_if_trained(recipe: &Recipe, dataset: &Dataset) -> Result<Recipe> {
    let heads = HeadsPlan::new(recipe, dataset)?;
    Ok(if heads.is_complete() { heads.recipe() } else { recipe.clone() })
}
