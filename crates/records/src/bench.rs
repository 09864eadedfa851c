//! `bench.json`: size and speed of a student and its teachers.

use std::fs;
use std::path::Path;

use faculty_files::{FileError, failed};
use serde::{Deserialize, Serialize};

/// Images of a batch for throughput.
pub const THROUGHPUT_BATCH: usize = 64;

/// File in a run folder that keeps the result.
pub const BENCH_FILE: &str = "bench.json";

/// `bench.json`: what was measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelBench {
    /// Version of this file's layout.
    pub format: u32,
    /// Program version.
    pub faculty: String,
    /// Path of the numeric kernels that ran.
    pub kernels: String,
    /// The processor, as the system names it.
    pub processor: String,
    /// Threads that the networks ran on.
    pub threads: usize,
    /// Shape of the student's images, `[channels, height, width]`.
    pub input_shape: [usize; 3],
    /// The student, then the teachers.
    pub models: Vec<MeasuredModel>,
    /// Teachers that were left out, and why.
    pub left_out: Vec<String>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredModel {
    /// `student`, or the teacher's name in the recipe.
    pub name: String,
    /// Its network, or its file.
    pub network: String,
    /// In which it ran: `f32` or `bf16`.
    #[serde(default = "crate::run::f32")]
    pub precision: String,
    /// Values of its parameters; not known of an ONNX file or a head.
    pub parameters: Option<usize>,
    /// Multiply-adds of convolutions and linear layers for one image.
    pub multiply_adds: Option<usize>,
    /// Milliseconds for one image, median.
    pub latency_median_ms: f64,
    /// The same, 95th percentile.
    pub latency_p95_ms: f64,
    /// Runs behind the two.
    pub latency_runs: usize,
    /// Images a second in batches of [`THROUGHPUT_BATCH`].
    pub images_per_second: f64,
}

/// What an earlier measurement left in a run folder; nothing if there is no such file, or one
/// of another version.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read_bench(run: &Path) -> Result<Option<ModelBench>, FileError> {
    let file = run.join(BENCH_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", file)(error)),
    }
}
