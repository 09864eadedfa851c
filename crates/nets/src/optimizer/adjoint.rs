//! An update backwards: from the gradient of a later loss by what an update left to that by what it
//! started from.

use super::{OptimizerConfig, OptimizerState, ParameterRule};

/// Gradient of a loss by parameters and by the optimiser's memory of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjoint {
    /// By the parameters.
    pub parameters: Vec<Vec<f32>>,
    /// By the memory, in the order of [`OptimizerState::slots`].
    pub slots: Vec<Vec<Vec<f32>>>,
}

impl Adjoint {
    /// Of a loss that reads the parameters alone.
    #[must_use]
    pub fn new(config: &OptimizerConfig, by_parameters: Vec<Vec<f32>>) -> Self {
        let zeros: Vec<Vec<f32>> = by_parameters.iter().map(|p| vec![0.0; p.len()]).collect();
        Self { slots: vec![zeros; config.slot_names().len()], parameters: by_parameters }
    }

    /// Back through the update that [`OptimizerState::update_by`] made in state `before` by
    /// `gradients`. Afterwards this is the gradient by parameters and memory before the update, at
    /// constant `gradients`; the result is the gradient by `gradients`.
    ///
    /// # Panics
    /// When the shapes differ.
    #[must_use]
    pub fn pull_back(
        &mut self,
        rule: impl Fn(usize) -> ParameterRule,
        config: &OptimizerConfig,
        rate: f32,
        before: &OptimizerState,
        gradients: &[Vec<f32>],
    ) -> Vec<Vec<f32>> {
        let mut results: Vec<Vec<f32>> = gradients.iter().map(|g| vec![0.0; g.len()]).collect();
        let all = self.parameters.iter_mut().zip(&mut results).enumerate();
        for (index, (by_w, by_g)) in all {
            assert_eq!(by_w.len(), by_g.len(), "gradient of parameter {index}");
            let ParameterRule { trained, rate_factor, decays } = rule(index);
            if !trained {
                continue;
            }
            let rate = rate * rate_factor;
            let decay_of = |weight_decay: f32| if decays { weight_decay } else { 0.0 };
            match *config {
                OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                    let weight_decay = decay_of(weight_decay);
                    let ahead = if nesterov { momentum } else { 1.0 };
                    let by_velocity = &mut self.slots[0][index];
                    for ((by_w, by_g), by_v) in by_w.iter_mut().zip(by_g).zip(by_velocity) {
                        let by_new = *by_v - rate * ahead * *by_w;
                        *by_g = if nesterov { by_new - rate * *by_w } else { by_new };
                        *by_w += weight_decay * *by_g;
                        *by_v = momentum * by_new;
                    }
                }
                OptimizerConfig::AdamW { betas, epsilon, weight_decay } => {
                    // In f64: second moments may be as small as the squares of f32's smallest gradients.
                    let [beta1, beta2] = betas.map(f64::from);
                    let steps = i32::try_from(before.steps + 1).unwrap_or(i32::MAX);
                    let step_size = f64::from(rate) / (1.0 - beta1.powi(steps));
                    let correction = (1.0 - beta2.powi(steps)).sqrt();
                    let decay = 1.0 - rate * decay_of(weight_decay);
                    let [by_first, by_second] = self.slots.as_mut_slice() else {
                        unreachable!("AdamW has two state vectors")
                    };
                    let moment = |slot: usize, i: usize| {
                        before.slots.get(slot).map_or(0.0, |all| f64::from(all[index][i]))
                    };
                    let moments = by_first[index].iter_mut().zip(&mut by_second[index]);
                    let values = by_w.iter_mut().zip(by_g).zip(&gradients[index]).zip(moments);
                    for (i, (((by_w, by_g), &g), (by_m, by_v))) in values.enumerate() {
                        let g = f64::from(g);
                        let m = moment(0, i) + (1.0 - beta1) * (g - moment(0, i));
                        let v = beta2 * moment(1, i) + (1.0 - beta2) * g * g;
                        let root = v.sqrt();
                        let divisor = root / correction + f64::from(epsilon);
                        let by_new = f64::from(*by_w);
                        let by_m_new = f64::from(*by_m) - step_size * by_new / divisor;
                        // At v = 0 the root has no slope; v then stays 0 unless g does not.
                        let slope = if root > 0.0 { 0.5 / (correction * root) } else { 0.0 };
                        let by_v_new =
                            f64::from(*by_v) + step_size * by_new * m / (divisor * divisor) * slope;
                        *by_g =
                            ((1.0 - beta1) * by_m_new + 2.0 * (1.0 - beta2) * g * by_v_new) as f32;
                        *by_w *= decay;
                        (*by_m, *by_v) = ((beta1 * by_m_new) as f32, (beta2 * by_v_new) as f32);
                    }
                }
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters after two updates, the gradient of the second depending on where the first led.
    struct Path {
        /// `[start, first gradient, offset of the second]`.
        given: [f64; 3],
    }

    /// How the second gradient grows with the parameter.
    const CURVATURE: f32 = 0.7;
    const RATE: f32 = 0.04;

    impl Path {
        fn second_gradient(&self, w: f32) -> f32 {
            CURVATURE * w + self.given[2] as f32
        }

        /// The end, and the gradient of the end by everything given.
        fn run(&self, config: &OptimizerConfig, decays: bool) -> (f64, [f64; 3]) {
            let [start, first, _] = self.given.map(|v| v as f32);
            let mut w = vec![vec![start], vec![9.0]];
            let mut state = OptimizerState::default();
            let rule =
                |index: usize| ParameterRule { trained: index == 0, rate_factor: 1.5, decays };
            let mut before = Vec::new();
            for number in 0..2 {
                let g = if number == 0 { first } else { self.second_gradient(w[0][0]) };
                let g = vec![vec![g], vec![3.0]];
                before.push((state.clone(), g.clone()));
                state.update_by(rule, config, RATE, &mut w, &g);
            }
            let mut adjoint = Adjoint::new(config, vec![vec![1.0], vec![5.0]]);
            let mut by_gradient = [0.0; 2];
            for (number, (state, g)) in before.iter().enumerate().rev() {
                let by_g = adjoint.pull_back(rule, config, RATE, state, g);
                assert_eq!(by_g[1], [0.0], "what is not trained has no gradient to give");
                by_gradient[number] = f64::from(by_g[0][0]);
                if number == 1 {
                    adjoint.parameters[0][0] += CURVATURE * by_g[0][0];
                }
            }
            assert_eq!(adjoint.parameters[1], [5.0], "and keeps its own");
            let by_start = f64::from(adjoint.parameters[0][0]);
            (f64::from(w[0][0]), [by_start, by_gradient[0], by_gradient[1]])
        }
    }

    #[test]
    fn going_back_through_updates_agrees_with_differences() {
        let sgd = |nesterov| OptimizerConfig::Sgd { momentum: 0.9, nesterov, weight_decay: 0.1 };
        let adam = OptimizerConfig::AdamW { betas: [0.8, 0.9], epsilon: 1e-2, weight_decay: 0.3 };
        for (config, decays) in
            [(sgd(false), true), (sgd(true), true), (adam, true), (sgd(true), false), (adam, false)]
        {
            let given = [0.8, 0.3, -0.9];
            let (_, gradient) = Path { given }.run(&config, decays);
            for (i, got) in gradient.into_iter().enumerate() {
                // The updates are f32's.
                let step = 2e-2;
                let at = |by: f64| {
                    let mut moved = Path { given };
                    moved.given[i] += by;
                    moved.run(&config, decays).0
                };
                let want = (at(step) - at(-step)) / (2.0 * step);
                let close = (got - want).abs() < 2e-3 * want.abs() + 2e-5;
                assert!(close, "{config:?}, {i}: {got} instead of {want}");
            }
        }
    }
}
