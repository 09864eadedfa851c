//! Gradients of several batches for one update.

/// Sum of a network's gradients, each times its batch's samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Accumulated {
    /// One a parameter; empty where nothing was added yet.
    pub(super) sums: Vec<Vec<f32>>,
}

impl Accumulated {
    pub(super) fn add(&mut self, gradients: &[Vec<f32>], samples: usize) {
        if self.sums.is_empty() {
            self.sums = gradients.iter().map(|values| vec![0.0; values.len()]).collect();
        }
        for (sum, gradient) in self.sums.iter_mut().flatten().zip(gradients.iter().flatten()) {
            *sum += samples as f32 * gradient;
        }
    }

    /// Writes the mean over `samples` samples, and begins anew; zeros where nothing was added.
    pub(super) fn take_mean(&mut self, samples: usize, gradients: &mut [Vec<f32>]) {
        let sums = std::mem::take(&mut self.sums);
        if sums.is_empty() {
            gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
            return;
        }
        for (gradient, sum) in gradients.iter_mut().flatten().zip(sums.iter().flatten()) {
            *gradient = sum / samples as f32;
        }
    }
}
