//! Terms on feature maps, off the tape: maps are the largest values of a step, so they are read
//! where they lie and their gradient comes out of the same pass.

use faculty_kernels::linear::{LinearShape, linear};
use faculty_kernels::pool::global_avg_pool;
use faculty_kernels::softmax_kl::cross_entropy_rows;
use faculty_kernels::squared_error::squared_error;
use faculty_nets::MapShape;

use faculty_nets::FrozenClassifier;

/// Values of a batch of maps, `[batch, channels, height, width]`, where they lie.
#[derive(Clone, Copy, Debug)]
pub struct MapValues<'a> {
    /// Row-major.
    pub values: &'a [f32],
    /// Of one sample.
    pub shape: MapShape,
}

/// `-log σ(head(map))[y]` of every sample, `head` being global average pooling and a teacher's
/// frozen classifier. No gradient.
#[must_use]
pub fn head_costs(map: MapValues<'_>, head: &FrozenClassifier, labels: &[u32]) -> Vec<f64> {
    let MapShape { channels, .. } = map.shape;
    let (batch, classes) = (labels.len(), head.bias.len());
    let mut pooled = vec![0.0; batch * channels];
    global_avg_pool(batch * channels, map.shape.positions(), map.values, &mut pooled);
    let mut logits = vec![0.0; batch * classes];
    let shape = LinearShape { batch, inputs: channels, outputs: classes };
    linear(&shape, &pooled, &head.weight, &head.bias, &mut logits);
    cross_entropy_rows(classes, &logits, labels)
}

/// Weighted squared differences of maps with all that comes out of the same pass.
#[derive(Clone, Debug)]
pub struct WeightedErrors {
    /// `mean_b Σ_k w[k,b] mean_chw (own_k - target_k)²`
    pub value: f64,
    /// Mean over channels and positions of the squared difference, `[teachers, batch]`.
    pub errors: Vec<f64>,
    /// For each teacher the gradient of `factor · value` by its own map.
    pub gradients: Vec<Vec<f32>>,
}

/// Compares `students[k]` with `targets[k]` for every teacher k; `weights` is `[teachers, batch]`.
/// Gradients are written into `buffers` as far as there are any: new memory costs more than the pass.
#[must_use]
pub fn weighted_errors(
    students: &[MapValues<'_>],
    targets: &[&[f32]],
    weights: &[f64],
    factor: f64,
    buffers: &mut Vec<Vec<f32>>,
) -> WeightedErrors {
    let batch = weights.len() / students.len().max(1);
    let mut result = WeightedErrors { value: 0.0, errors: Vec::new(), gradients: Vec::new() };
    for ((student, target), weights) in
        students.iter().zip(targets).zip(weights.chunks(batch.max(1)))
    {
        let factors: Vec<f32> =
            weights.iter().map(|weight| (factor * weight / batch as f64) as f32).collect();
        let mut gradient = buffers.pop().unwrap_or_default();
        gradient.resize(student.values.len(), 0.0);
        let errors = squared_error(student.values, target, &factors, &mut gradient);
        let weighted = errors.iter().zip(weights).map(|(error, weight)| error * weight);
        result.value += weighted.sum::<f64>() / batch as f64;
        result.errors.extend(errors);
        result.gradients.push(gradient);
    }
    result
}
