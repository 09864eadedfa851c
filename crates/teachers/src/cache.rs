//! The cache: every teacher's outputs for every view of every training sample, computed once and
//! kept in files.
//!
//! ```text
//! CACHE/manifest.json                         what it was made from: data, views, teachers
//! CACHE/samples.safetensors                   ids of the samples that have records
//! CACHE/teachers/NAME/logits/00000.safetensors   views of a block of samples, a file a block
//! CACHE/teachers/NAME/map/00000.safetensors      likewise for each tap that a method reads
//! CACHE/teachers/NAME/plain/00000.safetensors    plain images that the teachers are measured on
//! CACHE/teachers/NAME/classifier.safetensors     the frozen classifier
//! ```
//! `docs/cache.md` describes the files and what they promise. [`CachePlan`] says what a recipe
//! needs and what of it is missing, and builds it; a run opens a complete cache by itself.

mod classifier;
mod collate;
mod kind;
mod manifest;
mod plan;
mod shard;
mod source;
mod verify;
mod work;

pub use manifest::{DataEntry, Manifest, SamplesEntry, TeacherEntry, ViewsEntry};
pub use plan::{CacheNeeds, CachePlan, CacheSize, Estimate};
pub use source::CachedTeacher;
pub use verify::{Verification, verify};
pub use work::{Built, CacheEvent};
