//! Arguments of the commands for language models.

use std::path::PathBuf;

use clap::Args;
use faculty_language::{GenerationConfig, JudgementConfig, Sampling, SpeculativeConfig};

pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  faculty generate model.gguf --prompt \"It is a truth\" --temperature 0.8 --top-p 0.95
  faculty generate folder --prompts prompts.txt --max-tokens 64 --temperature 0 --json
  faculty generate model.gguf --prompt \"Once\" --samples 4 --seed 7
  faculty generate large.gguf --draft small.gguf --prompt \"Once\"

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
    /// A smaller model with the same tokens, that drafts for this one: texts have the same distribution
    /// as without it, at temperature 0 they are the same
    #[arg(long, value_name = "MODEL")]
    pub(crate) draft: Option<PathBuf>,
    /// Tokens that it drafts before the model looks at them
    #[arg(long, value_name = "N", requires = "draft",
          default_value_t = SpeculativeConfig::default().drafts)]
    pub(crate) drafts: usize,
    /// Threads to work on; the texts do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// One JSON object a text on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a student is judged by a teacher.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct JudgementOptions {
    /// A language model with the same tokens, to judge this one by: on the text and on what it writes
    #[arg(long, value_name = "MODEL", requires = "weights")]
    pub(crate) teacher: Option<PathBuf>,
    /// Prompts that are taken from the text
    #[arg(long, value_name = "N", requires = "teacher",
          default_value_t = JudgementConfig::default().prompts)]
    pub(crate) prompts: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", requires = "teacher",
          default_value_t = JudgementConfig::default().prompt_tokens)]
    pub(crate) prompt_tokens: usize,
    /// Most tokens behind a prompt
    #[arg(long, value_name = "N", requires = "teacher",
          default_value_t = JudgementConfig::default().max_tokens)]
    pub(crate) max_tokens: usize,
    /// Of what the student writes; 0 always takes the likeliest token
    #[arg(long, value_name = "T", requires = "teacher",
          default_value_t = JudgementConfig::default().sampling.temperature)]
    pub(crate) temperature: f32,
    /// Tokens that the student drafts before the teacher looks at them
    #[arg(long, value_name = "N", requires = "teacher",
          default_value_t = JudgementConfig::default().drafts)]
    pub(crate) drafts: usize,
    /// Random seed of what is written
    #[arg(long, requires = "teacher", default_value_t = JudgementConfig::default().seed)]
    pub(crate) seed: u64,
}
