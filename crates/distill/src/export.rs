//! Students for other programs: ONNX and safetensors files, checked before they appear.
//!
//! ```text
//! FinishedStudent -> bytes of the ONNX file -> run by rten on images -> compared with the student -> file
//! ```
//! A file appears under its name only if the largest difference between its logits and the student's
//! is at most [`TOLERANCE`] of the largest logit.

use std::path::Path;

use faculty_data::{BatchLoader, ImageSet, LoaderConfig, Normalisation, Split, ViewSettings};
use faculty_files::{failed, write_atomically};
use faculty_nets::weights::write;
use faculty_nets::{Inference, OnnxOptions};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::student::FinishedStudent;

mod card;
mod int8;
mod runtime;
mod transformers;

pub use card::{ModelCard, write_model_card};
pub use int8::{Int8Accuracy, Int8Export, export_int8};
pub use transformers::export_transformers;

/// Largest difference allowed, as a share of the largest logit: about a thousand roundings of f32.
pub const TOLERANCE: f64 = 1e-4;

/// Images that a file is checked on, and the most values that they may have together: large images
/// are checked on fewer.
const IMAGES: usize = 64;
const MOST_VALUES: usize = 64 * 3 * 224 * 224;

/// Metadata of ONNX files: what the input is.
pub(crate) const INPUT: &str = "input";
/// Its value where the graph normalises.
pub(crate) const PIXELS: &str = "pixel / 255";
const NORMALISED: &str = "(pixel / 255 - mean) / std";

/// How a student is written as ONNX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxExport {
    /// Samples of a run; any number if `None`.
    pub batch: Option<usize>,
    /// Whether the graph normalises: its input is then pixel / 255.
    pub normalise: bool,
}

/// How far an exported file agrees with its student.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// Images compared.
    pub images: usize,
    /// Whether they are of the run's data; random ones otherwise.
    pub real: bool,
    /// Largest difference between two logits.
    #[serde(with = "faculty_records::number")]
    pub largest_difference: f64,
    /// Largest logit of the student, without sign.
    #[serde(with = "faculty_records::number")]
    pub largest_logit: f64,
    /// The one divided by the other.
    #[serde(with = "faculty_records::number")]
    pub relative: f64,
}

/// Writes `student` as an ONNX file and says how far a second runtime agrees with it.
///
/// # Errors
/// When the student cannot be written so, the two disagree by more than [`TOLERANCE`], or the file
/// cannot be written; then there is no new file.
pub fn export_onnx(student: &FinishedStudent, path: &Path, export: OnnxExport) -> Result<Parity> {
    let options = onnx_options(student, export)?;
    let plan = Inference::new(&student.network, &[]);
    let bytes = plan.to_onnx(student.network.name(), &options)?;
    let parity = check(student, plan, &bytes, export)?;
    // Asked so, NaN is no agreement.
    let agrees = parity.relative <= TOLERANCE;
    if !agrees {
        return Err(Error::ExportDiffers { path: path.to_owned(), relative: parity.relative });
    }
    write_atomically(path, &bytes).map_err(failed("write", path))?;
    Ok(parity)
}

/// What the file says of itself, and what it does with pixels.
fn onnx_options(student: &FinishedStudent, export: OnnxExport) -> Result<OnnxOptions> {
    let mut metadata = student.metadata();
    let normalisation = match (&student.normalisation, export.normalise) {
        (Some(Normalisation { mean, std }), true) => Some([mean.clone(), std.clone()]),
        (None, true) => {
            return Err(Error::Student {
                path: student.path.clone(),
                reason: "mean and deviation of its input are not known",
                hint: "export without `--normalise`, or from the run folder",
            });
        }
        (_, false) => None,
    };
    metadata
        .insert(INPUT.to_owned(), if export.normalise { PIXELS } else { NORMALISED }.to_owned());
    Ok(OnnxOptions { batch: export.batch, normalisation, metadata })
}

/// Writes `student` as safetensors, with everything in the metadata that is needed to use it.
///
/// # Errors
/// When the file cannot be written.
pub fn export_safetensors(student: &FinishedStudent, path: &Path) -> Result<()> {
    Ok(write(path, &student.network.state_dict(), &student.metadata())?)
}

/// Runs the file and the student on the same images.
fn check(
    student: &FinishedStudent,
    mut plan: Inference,
    onnx: &[u8],
    export: OnnxExport,
) -> Result<Parity> {
    let size: usize = student.shape().iter().product();
    let count = IMAGES.min(MOST_VALUES / size.max(1)).max(1);
    let own = student.images(count);
    let real = own.is_some();
    let part = own.map_or_else(|| random_images(student.shape(), count), Ok)?;
    let identity = Normalisation::identity(student.shape()[0]);
    let normalisation = student.normalisation.as_ref().unwrap_or(&identity);
    let images = rendered(&part, normalisation)?;
    let want = plan.run(&images, part.len());
    let seen = if export.normalise { rendered(&part, &identity)? } else { images };
    let got = runtime::logits(onnx, &seen, student.shape(), export.batch)?;
    Ok(Parity { real, ..compare(&got, want, part.len()) })
}

fn compare(got: &[f32], want: &[f32], images: usize) -> Parity {
    let pairs = got.iter().zip(want).map(|(&a, &b)| f64::from(a - b).abs());
    let worst = pairs.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
    let largest_difference = if got.len() == want.len() { worst } else { f64::INFINITY };
    let largest_logit = want.iter().fold(0.0, |a: f64, &b| a.max(f64::from(b).abs()));
    let relative = match largest_difference == 0.0 {
        true => 0.0,
        false => largest_difference / largest_logit,
    };
    Parity { images, real: false, largest_difference, largest_logit, relative }
}

/// The images of a part, one after another.
fn rendered(part: &Split, normalisation: &Normalisation) -> Result<Vec<f32>> {
    let config = LoaderConfig::new(part.len(), ViewSettings::plain(normalisation.clone()));
    let mut images = Vec::new();
    for batch in BatchLoader::new(part, part.plain_order(), config)? {
        images.append(batch?.inputs.images_mut());
    }
    Ok(images)
}

/// Noise of all grey levels, always the same.
fn random_images(shape: [usize; 3], count: usize) -> Result<Split> {
    let [channels, height, width] = shape;
    let pixels = (0..count * channels * height * width)
        .map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let set = ImageSet::new(channels, height, width, pixels, vec![0; count])?;
    Ok(Split::whole(set.into()))
}

#[cfg(test)]
mod tests;
