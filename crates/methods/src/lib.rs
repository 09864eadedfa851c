//! Distillation methods: one file each below `method/`, one row each in [`METHODS`].
//!
//! What methods share stands in `shared/` (feature maps, hints, options, layers), how teachers are
//! weighed in [`weighting`], terms of several methods in one loss in `combination.rs`.

mod combination;
mod costs;
mod error;
mod info;
mod method;
mod registry;
mod shared;
pub mod weighting;

#[cfg(test)]
mod tests;

pub use combination::build;
pub use combination::check as check_combination;
pub use error::MethodError;
pub use faculty_contract::{
    AfterStep, ClassCost, ClassifierTensors, Facts, LearnerBatch, Loss, MapStep, MapTerm,
    MeanLogits, Method, Needs, Parts, Point, Projector, Sandbox, Scale, Setup, Shapes, Step,
    TapShapes, TeacherProfile, TeacherTraits, TeacherWeights, Term, TrainingSamples, Write,
};
pub use info::{MethodInfo, Status};
pub use method::aekd::Aekd;
pub use method::aekd_f::{AekdF, AekdFConfig};
pub use method::amtml_kd::{AmtmlKd, AmtmlKdConfig};
pub use method::at::{At, AtConfig};
pub use method::aver::Aver;
pub use method::best_teacher::BestTeacher;
pub use method::ca_mkd::{CaMkd, CaMkdConfig, InterWeight, MapScale, OutputWeight, StudentMap};
pub use method::calibrated_confidence::{CalibratedConfidence, CalibratedConfidenceConfig};
pub use method::ce::Ce;
pub use method::ckd::{Ckd, CkdConfig, Tuples};
pub use method::class_reliability::{ClassReliability, ClassReliabilityConfig};
pub use method::crd::{Crd, CrdConfig};
pub use method::dih::{Dih, DihConfig, Reduce};
pub use method::dist::{Dist, DistConfig};
pub use method::dkd::{Dkd, DkdConfig};
pub use method::dml::Dml;
pub use method::dpk::{Dpk, DpkConfig, Ratio, minibatch_cka, prior_ratio};
pub use method::ebkd::Ebkd;
pub use method::fitnet::{Fitnet, FitnetConfig};
pub use method::fitnet_mkd::{FitnetMkd, FitnetMkdConfig};
pub use method::ikd::{Ikd, IkdConfig};
pub use method::kd::{Kd, KdConfig};
pub use method::max_probability::MaxProbability;
pub use method::mean_of_logits::MeanOfLogits;
pub use method::mean_of_probabilities::MeanOfProbabilities;
pub use method::mmkd::{Mmkd, MmkdConfig};
pub use method::mt_bert::{MtBert, MtBertConfig, reliability_weights, weighted_soft_cross_entropy};
pub use method::ot::{Ot, OtConfig};
pub use method::pkt::{Pkt, PktConfig};
pub use method::random_teacher::RandomTeacher;
pub use method::reviewkd::{ReviewKd, ReviewKdConfig};
pub use method::rkd::{Rkd, RkdConfig};
pub use method::semckd::{SemCkd, SemCkdConfig};
pub use method::simkd::{SimKd, SimKdConfig};
pub use method::sp::{Sp, SpConfig};
pub use method::vid::{Vid, VidConfig};
pub use registry::{METHODS, all, find, known, register, specs};
pub use shared::bilevel::{gradient_by_teacher_logits, gradient_by_weights, probe_step};
pub use shared::features::{LogitTermConfig, Stages};
pub use shared::output_layer::OutputConfig;
pub use shared::transport::{Transport, entropic_transport, label_cost};

/// Why [`Method::prepare`] has been called.
const PREPARED: &str = "a run tells the method about its teachers before the first step";
