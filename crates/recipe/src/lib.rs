//! Recipes: the one file that says what a run does, read into plain data.
//!
//! ```text
//! defaults  <  recipe file  <  --set key.path=value      each value remembers where it is from
//! ```
//! The sections and their keys are declared once, in `recipe/schema.rs`: a field there is the key,
//! its type, range, default, the origin of that default and its help text; reading, checking,
//! [`LoadedRecipe::explain`] and the rustdoc all come from it. The options of `[method]` come from
//! the method table that the caller hands in, so nothing here knows a method by name.
//!
//! All problems of a recipe are reported in one go, each with its place and a way to fix it.

mod check;
mod class_weights;
mod classes;
mod explain;
mod file;
mod heads;
mod key_path;
mod language;
mod load;
mod method;
mod overrides;
mod problems;
mod range;
mod reader;
mod schema;
mod section;
mod setting;
mod spec;
mod tree;
mod validation;

#[cfg(test)]
mod tests;

pub use check::{MethodWarmUp, warm_ups as method_warm_ups};
pub use class_weights::ClassWeights;
pub use classes::Classes;
pub use explain::{Entry, Origin};
pub use file::LoadedRecipe;
pub use heads::Heads;
pub use language::{
    LanguageData, LanguageDivergence, LanguageMethod, LanguageMethodName, LanguageRecipe,
    LanguageStudent, LanguageTeacher, LanguageTrain, Writing, WritingPolicy,
};
pub use method::{Method, MethodTerm, TERM_WEIGHTS};
pub use problems::{Location, Problem, RecipeError, nearest};
pub use range::Range;
pub use schema::milestones as default_milestones;
pub use schema::{
    BestBy, Cache, CacheDtype, CacheMaps, ColorJitter, Data, Device, ExifOrientation, HeadTraining,
    LabelNoise, OnBadImage, OnDuplicateText, Optimizer, OutputType, Plan, PlanKind, Precision,
    RandAugment, Recipe, Sampling, Schedule, Student, Teacher, Train, Unlabelled,
    WeightDecayExempt,
};
pub use spec::{Exception, MethodSpec, OptionSpec, OptionValue};
pub use validation::Validation;
