//! Integration tests of the networks.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod batches;
mod burn_agreement;
mod decoder_files;
mod decoders;
mod encoder_files;
mod encoders;
mod gradients;
mod networks;
mod onnx;
mod onnx_networks;
mod patterns;
mod pretrained;
mod table;
mod torchvision;
mod weight_files;
mod zip_files;
