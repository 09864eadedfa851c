//! Teachers: where their outputs come from, behind one trait; whether they are worth asking; and
//! what they said, kept in files.
//!
//! ```text
//! NetworkTeacher        a network of this program       logits, every tap, classifier
//! OnnxTeacher           an ONNX file                    logits, perhaps the last map and classifier
//! TableTeacher          logits by sample id             logits; the same in every view
//! AsLogits              any of them, its probabilities turned into logits
//! ClassMappedTeacher    any of them, with its classes put in the data's order
//! MemoryCachedTeacher   any of them, each view of each sample computed once
//! CachedTeacher         what any of them said, read from files
//! ```
//! [`load_teacher`] opens one of a recipe for the data of a run ([`RunData`]), [`measure_teachers`]
//! stops at one that is not worth asking, [`TeacherPool`] shares them between runs, and
//! [`cache::CachePlan`] keeps what they say. Nothing here trains, prints or exits.

mod as_logits;
pub mod cache;
mod class_file;
mod class_map;
mod class_mapped;
mod encoder;
mod error;
mod evaluate;
mod head;
mod identity;
mod measure;
mod memory_cached;
mod network;
mod onnx;
mod open;
mod other_kind;
mod pool;
mod precision;
pub mod preflight;
mod raw_outputs;
mod run_data;
mod soundness;
mod source;
mod suspicion;
mod table;

pub use as_logits::AsLogits;
pub use class_map::{ClassMap, ClassProblem, Declared, MISSING_BELOW};
pub use class_mapped::ClassMappedTeacher;
pub use encoder::{check_tokens, is_encoder};
pub use error::{Result, TeacherError};
pub use evaluate::{for_each_batch, mean_of_probabilities, teachers_quality};
pub use faculty_contract::ClassSpace;
pub use faculty_nets::{FrozenClassifier, Renormalise, TeacherInput, TeacherOutputs};
pub use head::Head;
pub use identity::TeacherIdentity;
pub use measure::{PROBE_SAMPLES, check_native_classes, inspect_teachers, measure_teachers};
pub use memory_cached::{MemoryCachedTeacher, bytes_needed};
pub use network::NetworkTeacher;
pub use onnx::{Activation, OnnxChoice, OnnxDescription, OnnxTeacher};
pub use open::{
    identify_teacher, identity_of, learnable_network, load_teacher, open_backbone, open_teacher,
    same_classes, shown_name, stage_taps, taps_there,
};
pub use pool::{KEEP_IN_MEMORY_BYTES, TeacherPool};
pub use precision::precision_of;
pub use raw_outputs::{OutputMeter, RawOutputs, SMALLEST};
pub use run_data::{RunData, hold_out, limited, prepare_data};
pub use soundness::{LARGEST_LOGIT, Soundness, unusable};
pub use source::{Teacher, TeacherBatch, TeacherSource, traits_of};
pub use suspicion::Suspicion;
pub use table::TableTeacher;
