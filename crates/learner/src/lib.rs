//! One gradient step in one place: student and projectors forward, the method's loss, gradients
//! back, update.

mod accumulated;
mod average;

mod compute;
mod error;
mod learner;
mod memory;
mod ranks;
mod record;
mod sandbox;
mod step;
mod tape;
mod teachers;
mod trained;
mod trained_parts;
mod update;
mod weights;

pub use compute::Compute;
pub use error::LearnerError;
pub use faculty_contract::{AfterStep, LearnerBatch, Point, TeacherTraits, TrainingSamples, Write};
pub use learner::Learner;
pub use record::{StepRecord, TermValue};
pub use sandbox::LearnerSandbox;
pub use teachers::{Exam, LearningTeacher};
pub use trained::Trained;
pub use weights::WeightProbe;
