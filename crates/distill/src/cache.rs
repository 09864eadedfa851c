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
mod identity;
mod manifest;
mod pixels;
mod plan;
mod shard;
mod source;
mod verify;
mod work;

pub use identity::TeacherIdentity;
pub use manifest::{DataEntry, Manifest, SamplesEntry, TeacherEntry, ViewsEntry};
pub(crate) use plan::check_maps;
pub use plan::{CachePlan, CacheSize, Estimate};
pub use source::CachedTeacher;
pub use verify::{Verification, verify};
pub use work::{Built, CacheEvent};

use crate::tap::Tap;

/// Version of the folder's layout.
const FORMAT: u32 = 2;

/// The version before, whose records do not say of what they are: the manifest alone does.
const WITHOUT_ORIGIN: u32 = 1;

/// One set of shards of a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Logits of plain images.
    Plain,
    /// Logits of every view.
    Logits,
    /// Values of every view at a tap.
    Tap(Tap),
}

impl Kind {
    /// Name of its folder.
    fn folder(self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::Logits => "logits".to_owned(),
            Self::Tap(tap) => tap.to_string(),
        }
    }
}
