//! Networks for faculty: structure with feature taps, training and inference runs, weight files.
//!
//! A network is a [`Graph`] (what is computed) with values ([`Network`]). [`TrainingRun`] computes
//! with batch statistics and carries gradients back, [`BurnRun`] does the same in plain burn
//! operations on any device; [`Inference`] is the compiled plan of a frozen
//! network. Losses and optimisers live in `faculty-distill`.

mod builder;
mod burn_run;
mod deep_resnet;
mod error;
mod graph;
mod inference;
mod initial;
mod memory;
mod mobilenet_v2;
mod network;
mod networks;
mod recognise;
mod resnet;
mod reused;
mod run;
mod shuffle_v1;
mod shuffle_v2;
mod smaller;
mod training;
mod vgg;
pub mod weights;
mod wrn;

pub use builder::{Conv2dConfig, ConvStart, GraphBuilder};
pub use burn_run::BurnRun;
pub use error::{Error, Result};
pub use graph::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BufferId, BufferSpec, ClassifierIds, Graph, Initial,
    MapShape, ParameterId, ParameterSpec, ValueId, Window,
};
pub use inference::Inference;
pub use inference::onnx::OnnxOptions;
pub use network::{Classifier, Network};
pub use networks::{NETWORKS, NetworkInfo, find, graph_of};
pub use recognise::{Recognised, recognise};
pub use reused::Projection;
pub use run::Run;
pub use smaller::smaller;
pub use training::TrainingRun;
