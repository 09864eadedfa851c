//! What a distillation method is to the rest of the program: it says what it needs ([`Needs`]) and
//! trains beside the student ([`Projector`]), sees one batch ([`Step`]) and gives loss terms
//! ([`Loss`]); between steps it may try things on the student ([`Sandbox`]), which is then put back.
//!
//! The learner provides all this and knows no method by name; methods know no learner.

pub mod class_cost;
mod class_space;
mod facts;
mod loss;
pub mod losses;
mod method;
mod needs;
mod parts;
mod sandbox;
mod scale;
mod setup;
mod step;

pub use class_cost::{ClassCost, ClassCostError};
pub use class_space::ClassSpace;
pub use facts::{Facts, Shapes, TapShapes, TeacherProfile, TeacherTraits, TrainingSamples};
pub use loss::{Loss, MapStep, MapTerm, TeacherWeights, Term};
pub use method::{Method, needs_of_run};
pub use needs::Needs;
pub use parts::{MeanLogits, Parts, Projector, Write};
pub use sandbox::{AfterStep, Point, Sandbox};
pub use scale::Scale;
pub use setup::Setup;
pub use step::{ClassifierTensors, LearnerBatch, Step};
