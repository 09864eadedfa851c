//! A student as ONNX in 8 bits: calibrated on the training part, and refused where it loses too much.
//!
//! ```text
//! float ONNX -> rten on training images -> range of every tensor -> QDQ ONNX
//!            -> rten on test images: float beside int8 -> file
//! ```

use std::path::Path;

use faculty_data::{Normalisation, Split, UNLABELLED};
use faculty_files::{failed, write_atomically};
use faculty_nets::{Inference, OnnxOptions};
use serde::Serialize;

use super::{OnnxExport, onnx_options, rendered, runtime};
use crate::error::{Error, Result};
use crate::student::FinishedStudent;

/// How a student is written in 8 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Int8Export {
    /// Images of the training part that ranges are taken from.
    pub calibration_images: usize,
    /// Images of the test part that both files are measured on, at most.
    pub test_images: usize,
    /// Percentage points of accuracy that may be lost.
    pub most_loss: f64,
}

impl Default for Int8Export {
    /// 256 images to calibrate, 1,000 to measure, 1 point.
    fn default() -> Self {
        Self { calibration_images: 256, test_images: 1000, most_loss: 1.0 }
    }
}

/// What a student in 8 bits is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Int8Accuracy {
    /// Images that it was calibrated on.
    pub calibration_images: usize,
    /// Images that both were measured on.
    pub images: usize,
    /// Whether those are of the test split, not of the training part.
    pub tested: bool,
    /// Share of them that the float file gets right.
    pub float: f64,
    /// Share of them that the file in 8 bits gets right.
    pub int8: f64,
    /// Share of them for which both say the same class.
    pub agreement: f64,
    /// Bytes of the two files.
    pub bytes: [usize; 2],
}

/// Metadata: how the file's numbers are stored.
const QUANTISED: &str = "quantised";

/// Writes `student` as an ONNX file with layers of 8 bits.
///
/// # Errors
/// When its data cannot be read, the second runtime fails, the accuracy in it falls by more than
/// `int8.most_loss`, or the file cannot be written; then there is no new file.
pub fn export_int8(
    student: &FinishedStudent,
    path: &Path,
    export: OnnxExport,
    int8: Int8Export,
) -> Result<Int8Accuracy> {
    let (train, test, tested) = parts(student)?;
    let mut options = onnx_options(student, export)?;
    let plan = Inference::new(&student.network, &[]);
    let name = student.network.name();
    let (shape, batch) = (student.shape(), export.batch);

    // Ranges do not depend on the batch, and are taken of one image at a time.
    let open = OnnxOptions { batch: None, ..options.clone() };
    let float = plan.to_onnx(name, &open)?;
    let calibration = spread(&train, int8.calibration_images)?;
    let images = seen(student, &calibration, export)?;
    let tensors = plan.int8_tensors(name, &open)?;
    let ranges = runtime::ranges(&float, &images, shape, tensors)?;
    drop(images);

    options.metadata.insert(QUANTISED.to_owned(), "int8".to_owned());
    let bytes = plan.to_onnx_int8(name, &options, &ranges)?;
    let measured = spread(&test, int8.test_images)?;
    let labels = measured.labels().to_vec();
    let images = seen(student, &measured, export)?;
    let classes = student.network.classes();
    let want = predicted(&runtime::logits(&float, &images, shape, None)?, classes);
    let got = predicted(&runtime::logits(&bytes, &images, shape, batch)?, classes);
    let share = |right: usize| right as f64 / labels.len() as f64;
    let right = |own: &[usize]| {
        share(own.iter().zip(&labels).filter(|(own, label)| **own == **label as usize).count())
    };
    let accuracy = Int8Accuracy {
        calibration_images: calibration.len(),
        images: labels.len(),
        tested,
        float: right(&want),
        int8: right(&got),
        agreement: share(want.iter().zip(&got).filter(|(a, b)| a == b).count()),
        bytes: [float.len(), bytes.len()],
    };
    // A hair more than asked, so that the loss of one image of a hundred is one point.
    let loss = 100.0 * (accuracy.float - accuracy.int8);
    if loss > int8.most_loss + 1e-9 {
        return Err(Error::Int8LosesTooMuch {
            path: path.to_owned(),
            float: 100.0 * accuracy.float,
            int8: 100.0 * accuracy.int8,
            most_loss: int8.most_loss,
        });
    }
    write_atomically(path, &bytes).map_err(failed("write", path))?;
    Ok(accuracy)
}

/// Training and test images with labels, and whether the latter are a part of their own.
fn parts(student: &FinishedStudent) -> Result<(Split, Split, bool)> {
    let no_data = |reason| Error::Student {
        path: student.path.clone(),
        reason,
        hint: "export from the run folder, where the recipe names the data; without data, export \
               without `--int8`",
    };
    let Some(data) = &student.data else {
        return Err(no_data("8 bits need images to calibrate on, and its data are not known"));
    };
    let Ok(data) = data else {
        return Err(no_data("8 bits need images to calibrate on, and its data cannot be read"));
    };
    let train = data.train_split();
    let own = data.test_split().filter(|part| !part.is_empty());
    let tested = own.is_some();
    let test = own.unwrap_or_else(|| train.clone());
    let fits = |part: &Split| part.shape().is_ok_and(|shape| shape == student.shape());
    if !fits(&train) || !fits(&test) {
        return Err(no_data("its data are no images of the size that it reads"));
    }
    if test.labels().contains(&UNLABELLED) {
        return Err(no_data("its test images have no labels"));
    }
    Ok((train, test, tested))
}

/// At most `count` samples, spread over a part.
fn spread(part: &Split, count: usize) -> Result<Split> {
    let take = count.clamp(1, part.len().max(1));
    let positions: Vec<usize> = (0..take).map(|i| i * part.len() / take).collect();
    Ok(part.select(&positions)?)
}

/// Images as the file reads them.
fn seen(student: &FinishedStudent, part: &Split, export: OnnxExport) -> Result<Vec<f32>> {
    let identity = Normalisation::identity(student.shape()[0]);
    let own = student.normalisation.as_ref().filter(|_| !export.normalise);
    rendered(part, own.unwrap_or(&identity))
}

/// The class of the largest logit of each row, the first of equal ones.
fn predicted(logits: &[f32], classes: usize) -> Vec<usize> {
    let largest = |row: &[f32]| {
        (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
    };
    logits.chunks(classes.max(1)).map(largest).collect()
}
