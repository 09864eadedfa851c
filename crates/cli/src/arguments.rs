//! The command line.

mod data;
mod examples;
mod export;
mod language;
mod seeds;
mod size;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use faculty_comm::Share;

pub(crate) use self::data::DataOptions;
use self::examples::{
    CACHE_EXAMPLES, COMPARE_EXAMPLES, COMPLETIONS_EXAMPLES, DATASETS_EXAMPLES, DEMO_EXAMPLES,
    DISTILL_EXAMPLES, EVALUATE_EXAMPLES, EXAMPLES, EXPLAIN_EXAMPLES, INIT_EXAMPLES, MAN_EXAMPLES,
    METHODS_EXAMPLES, NETWORKS_EXAMPLES, REPORT_EXAMPLES, TEACHERS_EXAMPLES, TFIDF_EXAMPLES,
    TRAIN_EXAMPLES, WATCH_EXAMPLES,
};
use self::export::{BENCH_MODEL_EXAMPLES, EXPORT_EXAMPLES, PREDICT_EXAMPLES};
pub(crate) use self::export::{
    BenchModelOptions, ExportOptions, GivenOutput, OnnxOptions, PredictOptions, Quantisation,
};
use self::language::GENERATE_EXAMPLES;
pub(crate) use self::language::{GenerateOptions, JudgementOptions};
pub(crate) use self::seeds::Seeds;
pub(crate) use self::size::Size;

/// Knowledge distillation: several teachers in, one better student out.
#[derive(Debug, Parser)]
#[command(name = "faculty", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: teachers good and bad, one student, three ways to train it, in about a minute
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoOptions),
    /// Write a recipe for a data set and the weight files of teachers
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitOptions),
    /// Train one network on labels
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(RunOptions),
    /// Distil a student from the teachers of a recipe
    #[command(after_help = DISTILL_EXAMPLES)]
    Distill(RunOptions),
    /// Measure the teachers of a recipe: quality, calibration, agreement, suspicious settings
    #[command(after_help = TEACHERS_EXAMPLES)]
    Teachers(TeachersOptions),
    /// Train a linear classifier on words: the baseline of texts, and a teacher as a table of logits
    #[command(after_help = TFIDF_EXAMPLES)]
    Tfidf(TfidfOptions),
    /// Train a student with several methods on the same seeds and say which one helps
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareOptions),
    /// Make a report of a run, of several, or of a comparison
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportOptions),
    /// Follow runs while they train: a page for a browser on this machine
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchOptions),
    /// Build the cache of a recipe: run each teacher once and keep what it says
    #[command(after_help = CACHE_EXAMPLES)]
    Cache(CacheOptions),
    /// Measure a network on a data set, or the result of a run
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(EvaluateOptions),
    /// Write a student for other programs: ONNX, GGUF, safetensors, a model card
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportOptions),
    /// Classify image files with a student, native or exported
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(PredictOptions),
    /// Let a language model go on with prompts
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateOptions),
    /// Measure size and speed of a student and its teachers on this machine
    #[command(after_help = BENCH_MODEL_EXAMPLES)]
    BenchModel(BenchModelOptions),
    /// Show every value of a recipe and where it is from
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainOptions),
    /// List the distillation methods, or the options of one
    #[command(after_help = METHODS_EXAMPLES)]
    Methods(MethodsOptions),
    /// List the networks
    #[command(after_help = NETWORKS_EXAMPLES)]
    Networks(NetworksOptions),
    /// List the data set formats, or look into a data set
    #[command(after_help = DATASETS_EXAMPLES)]
    Datasets(DatasetsOptions),
    /// Write the completions of a shell to stdout
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsOptions),
    /// Write the manual page to stdout
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Texts instead of images: which novel is a passage from? Trains the teachers first
    #[arg(long)]
    pub(crate) text: bool,
    /// Language models instead: which token comes next? Trains the teachers first
    #[arg(long, conflicts_with = "text")]
    pub(crate) lm: bool,
    /// Train the three teachers of images too, instead of using the shipped ones
    #[arg(long, conflicts_with_all = ["text", "lm"])]
    pub(crate) retrain: bool,
    /// Of `--lm`: steps of each training on a twentieth of the text, to see whether all works
    #[arg(long, hide = true, requires = "lm", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: Option<u32>,
    /// Random seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the demo's data, recipes and runs; an earlier demo there is replaced [default:
    /// runs/demo, of texts runs/demo-text, of language models runs/demo-lm]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Threads to work on; the result does not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Events and the result as JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitOptions {
    /// The data set: a file or folder of a format of `faculty datasets`, or of language models the text
    pub(crate) data: PathBuf,
    /// The teachers: weights (.pth, .pt, .safetensors), ONNX files, folders of text encoders, tables
    /// of logits (.parquet, .npy, .safetensors); or language models, in GGUF files or folders
    pub(crate) weights: Vec<PathBuf>,
    /// Which set of weights to take where a file holds several: `state_dict_ema`
    #[arg(long, value_name = "KEY")]
    pub(crate) weights_key: Option<String>,
    /// The recipe to write
    #[arg(long, value_name = "FILE", default_value = "recipe.toml")]
    pub(crate) output: PathBuf,
    /// Network of the student, or its ONNX file; of texts also the folder of a trained encoder to start
    /// from, of language models the one to train on [default: one clearly smaller than the smallest teacher]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) student: Option<String>,
    /// Tokenizer of a student of texts: `tokenizer.json`, `vocab.txt`, or a folder with one [default:
    /// that of a teacher, or beside the data]
    #[arg(long, value_name = "PATH")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Method [default: ca-mkd, with one teacher kd, with none ce]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<String>,
    #[command(flatten)]
    pub(crate) reading: DataOptions,
    /// Replace a recipe that is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// What was found, as one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The recipe
    pub(crate) recipe: PathBuf,
    /// Replace a value of the recipe, for example `train.epochs=10`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Run folder [default: `output` of the recipe, else `runs/` and the recipe's name]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Go on with another value of the recipe, for example `train.epochs=60`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "overwrite")]
    pub(crate) resume_with: Vec<String>,
    /// Replace an earlier run in the run folder
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Write neither `report.html` nor TensorBoard events
    #[arg(long)]
    pub(crate) no_report: bool,
    /// TensorBoard events of every Nth training step too, beside those of epochs
    #[arg(long, value_name = "N", conflicts_with = "no_report",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) events_every: Option<u32>,
    /// Events and the result as JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TfidfOptions {
    /// The recipe whose data and splits are used; its data are texts
    pub(crate) recipe: PathBuf,
    /// Replace a value of the recipe; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Where the table of logits is written, for `logits = "FILE"` of a teacher
    #[arg(long, short, value_name = "FILE", default_value = "tfidf.safetensors")]
    pub(crate) output: PathBuf,
    /// Inverse of the pull of the weights towards 0
    #[arg(long, value_name = "C", default_value_t = 10.0, value_parser = above_zero)]
    pub(crate) c: f64,
    /// Parts of the training split, each judged by a model of the others
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub(crate) folds: u32,
    /// Count single words only, no pairs
    #[arg(long)]
    pub(crate) words_only: bool,
    /// The result as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number above 0.
fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0 is expected".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct TeachersOptions {
    /// The recipe
    pub(crate) recipe: PathBuf,
    /// Replace a value of the recipe; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Measure on at most this many validation samples [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: Option<u32>,
    /// Rank the teachers by how near their answers are to the labels, whatever their classes
    #[arg(long, conflicts_with = "ablate")]
    pub(crate) rank: bool,
    /// Train the student with all teachers and without each in turn: what is each one worth?
    #[arg(long)]
    pub(crate) ablate: bool,
    /// Seeds of the ablation, from that of the recipe on [default: 1]
    #[arg(long, value_name = "N", requires = "ablate",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) seeds: Option<u32>,
    /// Folder for the ablation's runs [default: the recipe's run folder with `-ablation` behind]
    #[arg(long, value_name = "FOLDER", requires = "ablate")]
    pub(crate) output: Option<PathBuf>,
    /// Go on with an interrupted ablation
    #[arg(long, requires = "ablate", conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Replace an earlier ablation in that folder
    #[arg(long, requires = "ablate")]
    pub(crate) overwrite: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// The recipe; options of its `[method]` belong to that method, others use their defaults
    pub(crate) recipe: PathBuf,
    /// Methods, comma-separated, or `all` that fit the recipe; `ce`, the student alone, is always
    /// there
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required_unless_present = "sweep")]
    pub(crate) methods: Vec<String>,
    /// Instead of methods: values of one key of the recipe's method or of `[train]`; several keys
    /// are tried in all combinations; without values, its temperature and weights at half, once and
    /// twice
    #[arg(long, value_name = "KEY=V1,V2,…", num_args = 0..=1, action = clap::ArgAction::Append,
          conflicts_with_all = ["methods", "against"], default_missing_value = "")]
    pub(crate) sweep: Option<Vec<String>>,
    /// Seeds of each method, from that of the recipe on; `auto` goes on until every interval is narrower
    /// than `--width`
    #[arg(long, value_name = "N|auto", default_value_t = Seeds::Count(1))]
    pub(crate) seeds: Seeds,
    /// With `--seeds auto`: the width that every interval is to stay below, points of top-1 from end to
    /// end
    #[arg(long, value_name = "POINTS", value_parser = seeds::points)]
    pub(crate) width: Option<f64>,
    /// With `--seeds auto`: the most seeds of each method
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub(crate) max_seeds: u32,
    /// What the others are compared with [default: `aver` if it is among them, else `ce`]
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Option<String>,
    /// Runs at a time, each in its own process with its share of the cores
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "sweep",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,
    /// Train only part I of N of the runs, while others train theirs: any order, any number at a time,
    /// one folder; the same command without `--shard` then compares
    #[arg(
        long,
        value_name = "I/N",
        default_value = "1/1",
        hide_default_value = true,
        conflicts_with = "sweep"
    )]
    pub(crate) shard: Share,
    /// Replace a value of the recipe, for all methods; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Folder for the runs and the tables [default: the recipe's run folder with `-comparison`
    /// behind]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Begin anew, in place of the runs that are there
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Write neither `report.html` nor TensorBoard events
    #[arg(long)]
    pub(crate) no_report: bool,
    /// Events and the result as JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    /// A run folder, several, or the folder of a comparison; unfinished ones give a part of it
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The page to write [default: `report.html` in the folder; here for several folders]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Results and curves as text on stdout instead of a page
    #[arg(long, group = "instead")]
    pub(crate) text: bool,
    /// Tables as Markdown on stdout instead of a page
    #[arg(long, group = "instead")]
    pub(crate) markdown: bool,
    /// Tables as LaTeX (booktabs) on stdout instead of a page
    #[arg(long, group = "instead")]
    pub(crate) latex: bool,
    /// Results as CSV on stdout instead of a page
    #[arg(long, group = "instead")]
    pub(crate) csv: bool,
    /// Every chart as an SVG file in this folder instead of a page
    #[arg(long, value_name = "FOLDER")]
    pub(crate) svg: Option<PathBuf>,
    /// What was written, as one JSON object on stdout
    #[arg(long, conflicts_with = "instead")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchOptions {
    /// A run folder, a comparison, or a folder with such below it
    #[arg(value_name = "RUNS", default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// Port on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The address as one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CacheOptions {
    /// The recipe, with `[cache]` and `data.views`
    pub(crate) recipe: PathBuf,
    /// Replace a value of the recipe, for example `cache.dtype=f16`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Only say how large it will be and how long it will take
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Build nothing; compute N random records again and compare
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "dry_run",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) verify: Option<u32>,
    /// Build only part I of N of what is missing, while others build theirs: any order, any number at a
    /// time, one folder
    #[arg(
        long,
        value_name = "I/N",
        default_value = "1/1",
        hide_default_value = true,
        conflicts_with = "verify"
    )]
    pub(crate) shard: Share,
    /// Events and the result as JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateOptions {
    /// A finished run folder; its student, data and normalisation are used
    #[arg(required_unless_present = "weights", conflicts_with_all = ["weights", "network"])]
    pub(crate) run: Option<PathBuf>,
    /// A file instead of a run: weights (.pth, .pt, .safetensors), an ONNX file, or a language model
    /// (a GGUF file, or a folder)
    #[arg(long, value_name = "FILE", requires = "data")]
    pub(crate) weights: Option<PathBuf>,
    /// Which of several sets of weights in that file: `state_dict_ema` [default: the only one]
    #[arg(long, value_name = "KEY", requires = "weights")]
    pub(crate) weights_key: Option<String>,
    /// Network of the weights [default: the one that the file names, else recognised by its tensors]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    #[command(flatten)]
    pub(crate) onnx: OnnxOptions,
    /// Data set; of a language model a file of text, or `-`
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: DataOptions,
    /// Split of the data set to measure on
    #[arg(long, alias = "part", value_enum, ignore_case = true, default_value_t = SplitName::Test)]
    pub(crate) split: SplitName,
    /// Mean of each channel over pixel / 255, comma-separated [default: from the weight file, else
    /// the published ones of CIFAR-100, else measured on the training split]
    #[arg(long, value_delimiter = ',', requires = "std")]
    pub(crate) mean: Option<Vec<f32>>,
    /// Standard deviation of each channel likewise
    #[arg(long, value_delimiter = ',', requires = "mean")]
    pub(crate) std: Option<Vec<f32>>,
    #[command(flatten)]
    pub(crate) judgement: JudgementOptions,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SplitName {
    /// Test images
    Test,
    /// Training images
    Train,
    /// Images of the data set's own validation split
    Validation,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// The recipe
    pub(crate) recipe: PathBuf,
    /// Replace a value of the recipe; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NetworksOptions {
    /// A network for images, written out layer by layer: a start for a `[student] file` of one's own
    #[arg(long, value_name = "NETWORK", conflicts_with = "json")]
    pub(crate) show: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MethodsOptions {
    /// A method to look into
    pub(crate) name: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DatasetsOptions {
    /// A data set to look into
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: DataOptions,
    /// Every sample as CSV on stdout: part, index in the files' order, id, label
    #[arg(long, requires = "path", conflicts_with = "json")]
    pub(crate) ids: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
