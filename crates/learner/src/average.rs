//! A moving average of the student's weights.
//!
//! ```text
//! d_t = min(d, (1 + t) / (10 + t))          t = updates so far, this one included
//! a_t = d_t a_(t-1) + (1 - d_t) w_t         a_0 = the weights before the first update
//! ```
//! d is the decay of the recipe (Polyak, Juditsky 1992; as an exponential average Tarvainen, Valpola,
//! NeurIPS 2017, <https://arxiv.org/abs/1703.01780>). Early updates use a smaller one, as
//! TensorFlow's `ExponentialMovingAverage` with `num_updates`, so that a short run does not average
//! in what it started from. Running statistics of batch norm are averaged in the same way: those of
//! the student lag behind its weights by some batches, those of the average by as much as its weights.

use faculty_nets::Network;

/// The averaged network.
#[derive(Clone, Debug)]
pub(super) struct WeightAverage {
    pub(super) decay: f64,
    pub(super) network: Network,
}

impl WeightAverage {
    /// Of a student as it is now.
    pub(super) fn new(decay: f64, student: &Network) -> Self {
        Self { decay, network: student.clone() }
    }

    /// Takes in the student after its update number `updates`, from 1.
    pub(super) fn add(&mut self, student: &Network, updates: u64) {
        let updates = updates as f64;
        let decay = self.decay.min((1.0 + updates) / (10.0 + updates));
        let share = (1.0 - decay) as f32;
        let towards = |averages: &mut [Vec<f32>], values: &[Vec<f32>]| {
            let all = averages.iter_mut().flatten().zip(values.iter().flatten());
            all.for_each(|(average, &value)| *average += share * (value - *average));
        };
        towards(self.network.parameters_mut(), student.parameters());
        towards(self.network.buffers_mut(), student.buffers());
    }
}

#[cfg(test)]
mod tests {
    use faculty_nets::MapShape;

    use super::*;

    #[test]
    fn the_average_follows_the_formula_for_weights_and_statistics() {
        let network = |value: f32| {
            let mut network = Network::new("resnet8x0.5", MapShape::new(1, 8, 8), 2, 1).unwrap();
            network.parameters_mut().iter_mut().for_each(|values| values.fill(value));
            network.buffers_mut().iter_mut().for_each(|values| values.fill(10.0 * value));
            network
        };
        let mut average = WeightAverage::new(0.4, &network(1.0));
        // (1 + t) / (10 + t) is 2/11, 3/12, 4/13, 5/14, 6/15, 7/16: from t = 5 on d itself.
        let mut want = 1.0;
        for (at, value) in [2.0, -1.0, 0.5, 4.0, 3.0, -2.0_f32].into_iter().enumerate() {
            average.add(&network(value), 1 + at as u64);
            let t = 1.0 + at as f64;
            let d = f64::min(0.4, (1.0 + t) / (10.0 + t));
            want = d * want + (1.0 - d) * f64::from(value);
            let close = |got: f32, want: f64| (f64::from(got) - want).abs() < 1e-5;
            assert!(average.network.parameters().iter().flatten().all(|&a| close(a, want)));
            assert!(average.network.buffers().iter().flatten().all(|&a| close(a / 10.0, want)));
        }
    }
}
