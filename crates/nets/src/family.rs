//! Network families: one file each, from a name's numbers to a graph.

pub(crate) mod decoder;
pub(crate) mod deep_resnet;
pub(crate) mod efficientnet;
pub(crate) mod encoder;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilenet_v3;
pub(crate) mod resnet;
pub(crate) mod shuffle_v1;
pub(crate) mod shuffle_v2;
pub(crate) mod squeeze_excitation;
pub(crate) mod vgg;
pub(crate) mod wrn;
