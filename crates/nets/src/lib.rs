//! Networks for faculty: structure with feature taps, training and inference runs, weight files.
//!
//! A network is a [`Graph`] (what is computed) with values ([`Network`]). [`TrainingRun`] computes
//! with batch statistics and carries gradients back, [`BurnRun`] does the same in plain burn
//! operations on any device; [`Inference`] is the compiled plan of a frozen
//! network. Losses and optimisers live in `faculty-distill`.

mod activation_kind;
mod builder;
mod decoder;
mod decoder_config;
mod decoder_files;
mod description;
mod dropout_keys;
mod encoder_config;
mod encoder_files;
mod error;
mod family;
mod file_kind;
mod freeze;
mod graph;
mod initial;
mod kv_cache;
mod named;
mod network;
mod networks;
mod onnx;
pub mod onnx_file;
mod onnx_network;
mod onnx_reader;
mod op;
mod optimizer;
mod outputs;
mod parameter;
mod pattern;
mod precision;
mod pretrained;
mod recognise;
mod reusing;
mod run;
mod shape;
mod shortened;
mod suggest_student;
mod tap;
mod teacher_head;
mod teacher_input;
mod together;
pub mod weights;

pub use activation_kind::ActivationKind;
pub use builder::{BatchNormConfig, Conv2dConfig, ConvInit, GraphBuilder};
pub use decoder::Decoder;
pub use decoder_config::{DecoderConfig, DecoderFamily, RotaryLayout};
pub use decoder_files::{
    decoder_config, decoder_gguf, is_decoder, is_gguf, load_decoder, save_decoder,
};
pub use description::{DescribedNetwork, described};
pub use encoder_config::{EncoderConfig, EncoderFamily, Pooling};
pub use encoder_files::{EncoderFolder, LoadedEncoder};
pub use error::{Error, Result};
pub use faculty_kernels::activation::Activation;
pub use graph::{ClassifierIds, Graph, TokenLimits};
pub use kv_cache::KvCache;
pub use named::{graph_of, lasting_name};
pub use network::{Classifier, Network};
pub use networks::{Architecture, NETWORKS, NetworkInfo, all as all_networks, find, register};
pub use onnx::OnnxOptions;
pub use onnx_reader::OnnxNetwork;
pub use op::batch_norm::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM};
pub use optimizer::{Adjoint, OptimizerConfig, OptimizerState, ParameterRule, RuleConfig};
pub use outputs::{FrozenClassifier, TeacherOutputs};
pub use parameter::{BufferId, BufferSpec, Init, ParameterId, ParameterSpec, ValueId};
pub use pattern::ActivationPattern;
pub use precision::Precision;
pub use recognise::{Recognised, recognise};
pub use run::{BurnRun, Inference, Run, TrainingRun};
pub use shape::{MapShape, Per, Window};
pub use suggest_student::suggest_student;
pub use tap::Tap;
pub use teacher_head::Projection;
pub use teacher_input::{Renormalise, TeacherInput};
pub use together::Together;
