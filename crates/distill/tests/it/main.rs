//! Integration tests of training: gradients through the whole student, whole runs, resuming, sources
//! of teachers.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod augmentation;
mod cache;
mod ckd;
mod combinations;
mod data;
mod described_student;
mod faults;
mod finite_differences;
mod gradients;
mod heads;
mod ikd;
mod methods;
mod mixing;
mod mmkd;
mod onnx;
mod onnx_limits;
mod onnx_operators;
mod onnx_student;
mod other_classes;
mod plans;
mod precision;
mod pretrained;
mod ranks;
mod resume;
mod runs;
mod sources;
mod starts;
mod sweeps;
mod texts;
mod training_options;
mod unlabelled;
