//! Text encoders in files: folders as Hugging Face's `save_pretrained` writes them, and weights
//! under their names.

mod folder;
mod load;

pub use self::folder::EncoderFolder;
pub use self::load::LoadedEncoder;
