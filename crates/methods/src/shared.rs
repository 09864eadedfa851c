//! What several methods are made of.

pub(crate) mod bilevel;
pub(crate) mod features;
pub(crate) mod hints;
pub(crate) mod layers;
pub(crate) mod options;
pub(crate) mod output_layer;
pub(crate) mod transformer;
pub(crate) mod transport;
