//! Arguments of the commands for language models.

use std::path::PathBuf;

use clap::Args;
use faculty_language::{GenerationConfig, Sampling};

pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  faculty generate model.gguf --prompt \"It is a truth\" --temperature 0.8 --top-p 0.95
  faculty generate folder --prompts prompts.txt --max-tokens 64 --temperature 0 --json
  faculty generate model.gguf --prompt \"Once\" --samples 4 --seed 7

A text is a function of the model, its prompt, its sample number and the seed, whatever is written beside
it and on however many threads. See docs/language-models.md.";

#[derive(Debug, Args)]
pub(crate) struct GenerateOptions {
    /// A GGUF file, or a folder with `config.json`, `model.safetensors` and `tokenizer.json`
    pub(crate) model: PathBuf,
    /// A text to go on with, as it is: no chat template is put around it; may be repeated
    #[arg(long, value_name = "TEXT", required_unless_present = "prompts")]
    pub(crate) prompt: Vec<String>,
    /// A file with one text a line, or `-` for the standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// Most tokens to add
    #[arg(long, value_name = "N", default_value_t = GenerationConfig::default().max_tokens)]
    pub(crate) max_tokens: usize,
    /// Below 1 the likely tokens become likelier; 0 always takes the likeliest
    #[arg(long, value_name = "T", default_value_t = Sampling::default().temperature)]
    pub(crate) temperature: f32,
    /// Draw from so many of the likeliest tokens only [default: from all]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Draw only from the likeliest tokens that have this probability together [default: from all]
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f64>,
    /// Texts for each prompt
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) samples: u32,
    /// Random seed
    #[arg(long, default_value_t = GenerationConfig::default().seed)]
    pub(crate) seed: u64,
    /// Texts at work at once; costs memory, changes no text
    #[arg(long, value_name = "N", default_value_t = GenerationConfig::default().batch)]
    pub(crate) batch: usize,
    /// Threads to work on; the texts do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// One JSON object a text on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
