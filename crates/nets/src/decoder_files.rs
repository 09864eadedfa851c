//! Decoders in files: Hugging Face's folders, and GGUF files of llama.cpp.

mod folder;
mod gguf;
mod save;
mod save_gguf;

use std::io::Read as _;
use std::path::Path;

use faculty_files::open_regular;

pub use self::save::save_decoder;
pub use self::save_gguf::decoder_gguf;
use crate::decoder_config::DecoderConfig;
use crate::error::Result;
use crate::network::Network;

/// The decoder in a GGUF file, in a folder as Hugging Face's `save_pretrained` writes it, or in a file
/// of weights with a `config.json` beside it.
///
/// Quantised tensors become `f32`. Weights of queries and keys stay in the file's order, of which
/// [`crate::DecoderConfig::rotary_layout`] tells.
///
/// # Errors
/// When it cannot be read, is no decoder that is known, or lacks a tensor or has one too many.
pub fn load_decoder(path: &Path) -> Result<Network> {
    if is_gguf(path) { gguf::load(path) } else { folder::load(path) }
}

/// The settings of the decoder that [`load_decoder`] reads, without its weights. Whether a head that is
/// written out is that of the words is not looked at.
///
/// # Errors
/// When they cannot be read, or are of no decoder that is known.
pub fn decoder_config(path: &Path) -> Result<DecoderConfig> {
    if is_gguf(path) { gguf::config(path) } else { folder::config(path) }
}

/// Whether there is a decoder: a GGUF file, or a folder or a file of weights whose `config.json` names
/// one that is known.
#[must_use]
pub fn is_decoder(path: &Path) -> bool {
    is_gguf(path) || folder::names_one(path)
}

/// Whether a file begins as a GGUF file does, or is called one.
#[must_use]
pub fn is_gguf(path: &Path) -> bool {
    let named = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    let mut start = Vec::new();
    let opened = open_regular(path).ok();
    let read = opened.and_then(|(file, _)| file.take(4).read_to_end(&mut start).ok());
    read.is_some() && start == b"GGUF" || named && path.is_file()
}
