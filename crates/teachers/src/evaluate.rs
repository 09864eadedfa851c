//! Quality of teachers, alone and together, on a split of a data set.

use faculty_data::{BatchLoader, LoaderConfig, Split, ViewSettings};
use faculty_nets::TeacherOutputs;

use crate::error::Result;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_records::quality::{Quality, QualityMeter};

/// Large enough to keep all threads busy, small enough to stay in the caches' reach.
const BATCH: usize = 128;

/// Quality of each teacher, then of their ensemble (mean of probabilities); `None` for an empty
/// part. `views` are the student's, as in training.
///
/// # Errors
/// When a batch cannot be prepared or a teacher fails.
pub fn teachers_quality(
    teachers: &mut [&mut dyn TeacherSource],
    part: &Split,
    views: &ViewSettings,
) -> Result<Option<(Vec<Quality>, Quality)>> {
    let mut meters = vec![QualityMeter::default(); teachers.len()];
    let mut ensemble = QualityMeter::default();
    for_each_batch(part, views, |batch| {
        let view = TeacherBatch::from(batch);
        let outputs = teachers
            .iter_mut()
            .map(|teacher| teacher.outputs(&view, &[]))
            .collect::<Result<Vec<TeacherOutputs>>>()?;
        for (meter, output) in meters.iter_mut().zip(&outputs) {
            meter.add(&output.logits, &batch.labels);
        }
        if let Some(logits) = mean_of_probabilities(&outputs, batch.len()) {
            ensemble.add(&logits, &batch.labels);
        }
        Ok(())
    })?;
    let qualities: Option<Vec<Quality>> = meters.iter().map(QualityMeter::quality).collect();
    Ok(qualities.zip(ensemble.quality()))
}

/// Every batch of a split in its own order, as plain images.
///
/// # Errors
/// When a batch cannot be prepared, and what `act` gives.
pub fn for_each_batch(
    part: &Split,
    views: &ViewSettings,
    mut act: impl FnMut(&faculty_data::Batch) -> Result<()>,
) -> Result<()> {
    let config = LoaderConfig::new(BATCH, views.clone());
    let mut loader = BatchLoader::new(part, part.plain_order(), config)?;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        act(&batch)?;
        loader.recycle(batch);
    }
    Ok(())
}

/// The log of the teachers' mean probabilities, usable as logits: `[batch, classes]`.
#[must_use]
pub fn mean_of_probabilities(outputs: &[TeacherOutputs], batch: usize) -> Option<Vec<f32>> {
    let classes = outputs.first()?.logits.len() / batch;
    let mut mean = vec![0.0_f64; batch * classes];
    for output in outputs {
        for (row, sums) in output.logits.chunks_exact(classes).zip(mean.chunks_exact_mut(classes)) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exponentials = row.iter().map(|&z| f64::from(z - largest).exp());
            let whole: f64 = exponentials.clone().sum();
            sums.iter_mut().zip(exponentials).for_each(|(sum, e)| *sum += e / whole);
        }
    }
    let count = outputs.len() as f64;
    // The floor keeps a class that every teacher rules out finite.
    Some(mean.iter().map(|sum| (sum / count).max(1e-30).ln() as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ensemble_averages_probabilities() {
        let ln3 = 3.0_f32.ln();
        let output = |logits: [f32; 2]| TeacherOutputs { logits: logits.to_vec(), maps: vec![] };
        // (3/4, 1/4) and (1/4, 3/4) make (1/2, 1/2).
        let mean = mean_of_probabilities(&[output([ln3, 0.0]), output([0.0, ln3])], 1).unwrap();
        for value in mean {
            assert!((value - 0.5_f32.ln()).abs() < 1e-6, "{value}");
        }
    }
}
