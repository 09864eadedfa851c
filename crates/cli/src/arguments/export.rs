//! Options of the commands that use a finished student.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use faculty_distill::export::Int8Export;
use faculty_distill::recipe::Precision;

use super::Size;

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  faculty export runs/recipe --onnx student.onnx
  faculty export runs/recipe --onnx student.onnx --batch 1 --normalise
  faculty export runs/recipe --onnx student-int8.onnx --int8
  faculty export runs/recipe --safetensors student.safetensors --card model --licence MIT
  faculty export runs/reviews --transformers student
  faculty export model --gguf model.gguf --quantise q8_0
  faculty export --network resnet20 --weights resnet20.pth --size 32,32 --onnx resnet20.onnx

Exit code 1: a second runtime does not agree with the student, or 8 bits cost more accuracy than
allowed; no ONNX file is written then.
See docs/export.md.";

pub(super) const PREDICT_EXAMPLES: &str = "\
Examples:
  faculty predict runs/recipe cat.png dog.jpg
  faculty predict student.onnx photos --top 3 --json
  faculty predict runs/recipe photos --top 1 --output predictions.csv

Exit code 2: at least one image could not be read; the others are done.";

pub(super) const BENCH_MODEL_EXAMPLES: &str = "\
Examples:
  faculty bench-model runs/recipe
  faculty bench-model runs/recipe --precision bf16
  faculty bench-model recipe.toml --threads 1 --json";

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// A finished run folder, or a language model: a GGUF file, or a folder
    #[arg(required_unless_present = "weights", conflicts_with_all = ["weights", "network"])]
    pub(crate) run: Option<PathBuf>,
    /// Instead of a run, a weight file: .pth, .pt or .safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Which of several sets of weights in that file: `state_dict_ema` [default: the only one]
    #[arg(long, value_name = "KEY", requires = "weights")]
    pub(crate) weights_key: Option<String>,
    /// Network of the weights [default: the one named in a .safetensors file of faculty]
    #[arg(long, value_name = "NAME", requires = "weights")]
    pub(crate) network: Option<String>,
    /// Height and width of the images [default: those of the run's data]
    #[arg(long, value_name = "H,W")]
    pub(crate) size: Option<Size>,
    /// Write an ONNX file (opset 13), checked with a second runtime
    #[arg(long, value_name = "FILE")]
    pub(crate) onnx: Option<PathBuf>,
    /// Images of a run of the ONNX file: a number, or `dynamic`
    #[arg(long, value_name = "N", default_value = "dynamic", requires = "onnx")]
    pub(crate) batch: Batch,
    /// Normalise inside the ONNX graph: its input is then pixel / 255
    #[arg(long, requires = "onnx")]
    pub(crate) normalise: bool,
    /// Write its convolutions and linear layers in 8 bits, calibrated on the run's training images
    #[arg(long, requires = "onnx", conflicts_with = "weights")]
    pub(crate) int8: bool,
    /// Images of the training part to calibrate on
    #[arg(long, value_name = "N", requires = "int8", default_value_t = default_int8().calibration_images,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub(crate) int8_images: usize,
    /// Percentage points of accuracy that 8 bits may cost; at more, no file is written
    #[arg(long, value_name = "POINTS", requires = "int8", default_value_t = default_int8().most_loss,
          value_parser = points)]
    pub(crate) int8_loss: f64,
    /// Write the weights with everything needed to use them in the metadata
    #[arg(long, value_name = "FILE")]
    pub(crate) safetensors: Option<PathBuf>,
    /// Write a language model as a GGUF file, with its tokenizer, that llama.cpp opens
    #[arg(long, value_name = "FILE")]
    pub(crate) gguf: Option<PathBuf>,
    /// Numbers of its matrices
    #[arg(long, value_enum, requires = "gguf", default_value_t = Quantisation::F16)]
    pub(crate) quantise: Quantisation,
    /// Write a text encoder or a language model as a folder that Hugging Face's `transformers` opens
    #[arg(long, value_name = "FOLDER")]
    pub(crate) transformers: Option<PathBuf>,
    /// Write `model-card.md` and `model-card.json` of the run into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "weights")]
    pub(crate) card: Option<PathBuf>,
    /// Licence of the student, for the card
    #[arg(long, value_name = "TEXT", requires = "card")]
    pub(crate) licence: Option<String>,
    /// Licence of the data, for the card
    #[arg(long, value_name = "TEXT", requires = "card")]
    pub(crate) data_licence: Option<String>,
    /// What was written, as one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// How numbers are written in a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Quantisation {
    /// Four bytes each
    F32,
    /// Half floats
    F16,
    /// Eight bits, a scale for every 32
    #[value(name = "q8_0")]
    Q8_0,
}

/// Images of one run of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Option<usize>);

fn default_int8() -> Int8Export {
    Int8Export::default()
}

/// Percentage points.
fn points(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 100".to_owned())
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dynamic" => Ok(Self(None)),
            number => match number.parse::<u32>() {
                Ok(size @ 1..=65_536) => Ok(Self(Some(size as usize))),
                _ => Err("a number from 1 to 65536, or `dynamic`".to_owned()),
            },
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PredictOptions {
    /// A run folder, a weight file of faculty, or an exported ONNX file
    pub(crate) model: PathBuf,
    /// Image files, or folders with such files in them and in folders inside; for a network that reads texts, files with
    /// one text a line, or `-` for the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) images: Vec<PathBuf>,
    /// How many classes to show of each image, likeliest first
    #[arg(long, value_name = "K", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
    /// Which of several sets of weights in a weight file: `state_dict_ema` [default: the only one]
    #[arg(long, value_name = "KEY")]
    pub(crate) weights_key: Option<String>,
    /// Network of a weight file that does not name it
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Height and width that images are scaled to [default: those of the run's data, or what the
    /// file says]
    #[arg(long, value_name = "H,W")]
    pub(crate) size: Option<Size>,
    #[command(flatten)]
    pub(crate) onnx: OnnxOptions,
    /// Write a table with a row for each sample instead: `.csv` or `.parquet`
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) output: Option<PathBuf>,
    /// Read images as they are stored, not turned as their EXIF orientation says [default: as for the
    /// run's data]
    #[arg(long)]
    pub(crate) ignore_exif_orientation: bool,
    /// One JSON object an image on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the outputs of an ONNX file are read.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct OnnxOptions {
    /// Output of an ONNX file with the logits, or else the probabilities [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) onnx_output: Option<String>,
    /// What an ONNX file gives [default: recognised]
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) output_type: Option<GivenOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GivenOutput {
    Logits,
    Probabilities,
    Sigmoid,
}

#[derive(Debug, Args)]
pub(crate) struct BenchModelOptions {
    /// A finished run folder, where the result is kept as `bench.json`, or a recipe
    #[arg(value_name = "RUN|RECIPE")]
    pub(crate) run: PathBuf,
    /// Run all networks but ONNX files in this precision; nothing is kept then [default: the
    /// student in f32, teachers as the recipe says]
    #[arg(long, value_name = "PRECISION", value_parser = precision())]
    pub(crate) precision: Option<Precision>,
    /// Threads to work on [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES).map(|name| {
        let all = [Precision::F32, Precision::Bf16];
        all.into_iter().find(|own| own.name() == name).expect("one of the names")
    })
}
