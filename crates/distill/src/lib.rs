//! Knowledge distillation from several teachers: runs that are set up, trained, resumed, compared.
//!
//! ```text
//! recipe.toml -> Recipe -> CheckedRun -> train -> run folder
//! ```
//! [`recipe`] reads what a run shall do; [`CheckedRun`] loads and checks everything; [`train`] runs
//! it. [`methods`] holds one file a method, [`weighting`] one a rule, [`teachers`] the sources of
//! teacher outputs, [`learner`] the gradient step. Nothing here prints or exits.

pub mod ablation;
pub mod bench_model;
mod best_by;
pub mod cache;
mod changeable;
pub mod checkpoint;
pub mod comparison;
mod earlier_run;
mod encoder_start;
mod error;
pub mod evaluate;
pub mod export;
mod fit;
pub mod heads;
mod objective;

pub mod plan;
pub mod predict;

mod epoch_sums;
pub mod report_data;
pub mod run;
pub mod run_folder;
pub mod schedule;

mod settings;
mod student;
mod student_start;
pub mod sweep;
mod task_loss;
pub mod tfidf;
mod train;
mod weight_file;

pub use error::{Error, Result};
pub use faculty_contract::{class_cost, losses};
pub use faculty_escape as escape;
pub use faculty_learner as learner;
pub use faculty_methods as methods;
pub use faculty_methods::weighting;
pub use faculty_recipe as recipe;
pub use faculty_teachers as teachers;
pub use faculty_teachers::preflight;

/// Where the student's steps are computed, as [`faculty_learner`] has it.
pub mod compute {
    pub use faculty_learner::Compute;
}

/// Optimisers, as [`faculty_nets`] has them.
pub mod optimizer {
    pub use faculty_nets::{Adjoint, OptimizerConfig, OptimizerState, ParameterRule, RuleConfig};
}

/// Places in a network, as [`faculty_nets`] names them.
pub mod tap {
    pub use faculty_nets::Tap;
}

pub use faculty_records::{quality as metrics, run as record, statistics};
pub use run::{CheckedRun, open_dataset};
pub use run_folder::{RunFolder, Start};
pub use student::{FinishedStudent, StudentChoice, know_student};
pub use train::{Event, headline, train};
