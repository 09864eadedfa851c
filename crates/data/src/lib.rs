//! Datasets of images and of texts for distillation: read, split, augment and batch, as plain arrays.
//!
//! ```text
//! folder on disk -> Dataset::open -> Samples (an ImageSet: u8, CHW; a TextSet) -> Split (indices and labels)
//!                -> Collate (normalised pixels; texts and their tokens) -> BatchLoader -> Batch { ids, labels, Inputs }
//! ```
//!
//! Three rules hold everywhere in this crate:
//!
//! - **A sample is named by its content**, never by its position: [`SampleId`]. Shuffling,
//!   re-ordering or cutting the files changes neither ids, nor splits, nor augmentations.
//! - **The same view is the same pixels, or words**, on every machine and for any number of threads: all
//!   randomness is a hash of (seed, sample id, view number), see [`rng`].
//! - **A bad file is an error that says where**, never a panic, and never makes the reader allocate
//!   more than a file of that size can hold: see [`DataError`].
//!
//! One format is one file: [`idx`], [`cifar_binary`], [`cifar_python`], [`parquet`], [`folder`],
//! [`list`] for images; those of texts are in [`text_files`]. [`LogitTable`] reads what a teacher of elsewhere said about the samples.

mod bounds;
pub mod cifar_binary;
pub mod cifar_python;
mod classes;
mod dataset;
mod error;
mod files;
mod findings;
pub mod folder;
mod format;
pub mod idx;
mod image;
mod label;
pub mod label_noise;
pub mod list;
mod listing;
mod loader;
mod logit_table;
mod npy;
pub mod npz;
mod open;
mod options;
mod origin;
pub mod parquet;
mod pickle;
mod sample_id;
mod samples;
mod separated;
mod shards;
mod split;
mod splits;
mod subset;
mod text;
pub mod text_files;
mod utf8;
mod view;

pub use dataset::{Dataset, DatasetInfo, SamplesInfo, SplitInfo};
pub use error::DataError;
pub use faculty_inputs::{Input, Inputs, Text, Texts, Tokenize, Tokens};
pub use faculty_random as rng;
pub use files::{FileRoot, open_regular};
pub use findings::{Findings, Skipped};
pub use format::{Format, FormatInfo, OwnFormat, formats};
pub use image::augmentation::{
    Augmentation, ColorJitter, Placement, Policy, Renderer, ResizedCrop,
};
pub use image::file::{has_image_name, read_image};
pub use image::mixing::{MixConfig, MixedLabels, Mixing};
pub use image::normalisation::Normalisation;
pub use image::set::ImageSet;
pub use image::thumbnail::thumbnail;
pub use label::UNLABELLED;
pub use label_noise::{LabelNoise, with_label_noise};
pub use loader::{Batch, BatchLoader, LoaderConfig};
pub use logit_table::LogitTable;
pub use open::{FormatReader, recognise, register};
pub use options::{ExifOrientation, OnBadImage, OnDuplicateText, ReadOptions};
pub use sample_id::SampleId;
pub use samples::{Collate, ImageViews, Samples, TextViews, ViewKind, ViewSettings};
pub use split::Split;
pub use subset::{DEFAULT_SPLIT_SEED, keep_labels, split_validation, subset};
pub use text::set::{TextSet, WordCounts};
pub use text::tokenizer::Tokenizer;
pub use text::words::WordChanges;
pub use view::View;
