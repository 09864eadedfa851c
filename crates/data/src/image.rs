//! Images: sets of them in memory, their files, and how they become a network's input.

pub(crate) mod augmentation;
pub(crate) mod duplicates;
pub(crate) mod file;
pub(crate) mod mixing;
pub(crate) mod normalisation;
pub(crate) mod picture;
pub(crate) mod set;
pub(crate) mod thumbnail;
