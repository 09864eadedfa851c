//! Networks for faculty: structure with feature taps, training and inference runs, weight files.
//!
//! A network is a [`Graph`] (what is computed) with values ([`Network`]). [`TrainingRun`] computes
//! with batch statistics and carries gradients back; [`Inference`] is the compiled plan of a frozen
//! network. Losses and optimisers live in `faculty-distill`.

mod error;
mod graph;
mod inference;
mod initial;
mod network;
mod networks;
mod resnet;
mod training;
pub mod weights;

pub use error::{Error, Result};
pub use graph::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BufferId, BufferSpec, ClassifierIds, Conv2dConfig,
    Graph, GraphBuilder, Initial, MapShape, ParameterId, ParameterSpec, ValueId,
};
pub use inference::Inference;
pub use network::{Classifier, Network};
pub use networks::{NETWORKS, NetworkInfo, find};
pub use training::TrainingRun;
