//! GGUF files: values, damages, and what is written.

mod blocks;
mod damages;
