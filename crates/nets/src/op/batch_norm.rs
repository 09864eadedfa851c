//! `[relu](gamma (x - mean) / sqrt(variance + epsilon) + beta [+ residual])`

use burn::Tensor;
use burn::tensor::TensorData;
use burn::tensor::activation::relu;
use faculty_kernels::batch_norm::{
    NormShape, ReluGate, batch_norm_backward_sums, batch_norm_backward_with_sums,
    batch_norm_inference, batch_norm_inference_backward, batch_norm_sums, batch_norm_train,
    batch_norm_train_backward, moments_of_sums,
};
use faculty_kernels::bf16::batch_norm::{Gate, Normalised, backward as bf16_backward, moments};
use faculty_kernels::bf16::elementwise::affine;

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenNorm, FrozenOp, FrozenStep, MapsBackward,
    MapsForward, MapsOp, MapsStep, OnMaps, Op, OpState, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::parameter::{BufferId, ParameterId};
use crate::pattern::ActivationPattern;
use crate::together::Together;

/// Batch-norm epsilon of every network here (PyTorch's default).
pub const BATCH_NORM_EPSILON: f32 = 1e-5;
/// Weight of the newest batch in the running statistics (PyTorch's default).
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// Batch norm, with the shortcut and the ReLU behind it.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    pub(crate) gamma: ParameterId,
    pub(crate) beta: ParameterId,
    pub(crate) running_mean: BufferId,
    pub(crate) running_variance: BufferId,
    pub(crate) epsilon: f32,
    /// Weight of the newest batch in the running statistics.
    pub(crate) momentum: f32,
    pub(crate) residual: bool,
    pub(crate) relu: bool,
}

fn shape(site: &Site) -> NormShape {
    let shape = site.output;
    NormShape { batch: site.batch, channels: shape.channels, spatial: shape.positions() }
}

/// `running = (1 - momentum) running + momentum · scale · batch`
fn blend(momentum: f32, running: &mut [f32], batch: &[f32], scale: f32) {
    for (running, &batch) in running.iter_mut().zip(batch) {
        *running += momentum * (scale * batch - *running);
    }
}

/// Values of a channel in this rank's batch.
fn count(site: &Site) -> f64 {
    (site.batch * site.output.positions()) as f64
}

/// PyTorch normalises by the biased variance but records the unbiased one.
fn unbiased(count: f64) -> f32 {
    let count = count as f32;
    if count > 1.0 { count / (count - 1.0) } else { 1.0 }
}

/// Mean and biased variance over the batches of all ranks from the sums of this one's, as of
/// [`batch_norm_sums`] with the count of values behind them; gives the count of all.
fn moments_together(
    together: &Together,
    sums: &mut [f64],
    mean: &mut [f32],
    variance: &mut [f32],
) -> f64 {
    together.sum(sums);
    let (count, sums) = sums.split_last().expect("the count comes last");
    moments_of_sums(sums, *count, mean, variance);
    *count
}

impl Op for BatchNorm {
    fn kind(&self) -> &'static str {
        "BatchNorm"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.gamma, self.beta]
    }

    /// Where ReLU cut is told from the value, unless the input tells it.
    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: self.relu && self.residual }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let ForwardStep { inputs: [input, residual], output, parameters, buffers, state, .. } =
            step;
        let [gamma, beta] = [self.gamma, self.beta].map(|id| parameters[id.0].as_slice());
        let residual = self.residual.then_some(residual);
        let held = self.relu && step.pattern == ActivationPattern::Held;
        let relu = self.relu && !held;
        let OpState { floats: [mean, variance], gate, .. } = state;
        if step.frozen_statistics {
            mean.clone_from(&buffers[self.running_mean.0]);
            variance.clone_from(&buffers[self.running_variance.0]);
            batch_norm_inference(
                &shape(site),
                input,
                gamma,
                beta,
                mean,
                variance,
                self.epsilon,
                residual,
                relu,
                output,
            );
        } else {
            mean.resize(site.output.channels, 0.0);
            variance.resize(site.output.channels, 0.0);
            let all = if step.together.is_alone() {
                batch_norm_train(
                    &shape(site),
                    input,
                    gamma,
                    beta,
                    self.epsilon,
                    residual,
                    relu,
                    output,
                    mean,
                    variance,
                );
                count(site)
            } else {
                let mut sums = vec![0.0; 2 * mean.len() + 1];
                batch_norm_sums(&shape(site), input, &mut sums[..2 * mean.len()]);
                sums[2 * mean.len()] = count(site);
                let all = moments_together(step.together, &mut sums, mean, variance);
                batch_norm_inference(
                    &shape(site),
                    input,
                    gamma,
                    beta,
                    mean,
                    variance,
                    self.epsilon,
                    residual,
                    relu,
                    output,
                );
                all
            };
            blend(self.momentum, &mut buffers[self.running_mean.0], mean, 1.0);
            blend(self.momentum, &mut buffers[self.running_variance.0], variance, unbiased(all));
        }
        if held {
            assert_eq!(gate.len(), output.len(), "a pattern is held on a batch of its size");
            let cut = output.iter_mut().zip(gate).filter(|(_, gate)| **gate <= 0.0);
            cut.for_each(|(value, _)| *value = 0.0);
        } else if relu && step.pattern == ActivationPattern::Recorded {
            gate.clear();
            gate.extend_from_slice(output);
        }
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { input, output, by_output, by_inputs, parameters, .. } = step;
        let [by_input, by_residual] = by_inputs.map(|target| target.map(|target| target.values));
        let gate = match (self.relu, self.residual) {
            (false, _) => ReluGate::Open,
            (true, _) if step.pattern == ActivationPattern::Held => {
                ReluGate::Output(&step.state.gate)
            }
            (true, false) => ReluGate::Beta(&parameters[self.beta.0]),
            (true, true) => ReluGate::Output(output),
        };
        let [mean, variance] = &step.state.floats;
        let [by_gamma, by_beta] = step
            .gradients
            .get_disjoint_mut([self.gamma.0, self.beta.0])
            .expect("gamma and beta are two parameters of the graph");
        let by_input = by_input.expect("batch norm leaves out no gradient");
        let gamma = &parameters[self.gamma.0];
        if !step.frozen_statistics && !step.together.is_alone() {
            let mut sums = vec![0.0; 2 * mean.len() + 1];
            batch_norm_backward_sums(
                &shape(site),
                input,
                gate,
                by_output,
                gamma,
                mean,
                variance,
                self.epsilon,
                by_gamma,
                by_beta,
                &mut sums[..2 * mean.len()],
            );
            sums[2 * mean.len()] = count(site);
            step.together.sum(&mut sums);
            let (all, sums) = sums.split_last().expect("the count comes last");
            batch_norm_backward_with_sums(
                &shape(site),
                input,
                gate,
                by_output,
                gamma,
                mean,
                variance,
                self.epsilon,
                sums,
                all.max(1.0),
                by_input,
                by_residual,
            );
            return;
        }
        let by_statistics = match step.frozen_statistics {
            true => batch_norm_inference_backward,
            false => batch_norm_train_backward,
        };
        by_statistics(
            &shape(site),
            input,
            gate,
            by_output,
            gamma,
            mean,
            variance,
            self.epsilon,
            by_input,
            by_gamma,
            by_beta,
            by_residual,
        );
    }

    fn on_maps(&self, _site: &Site) -> Option<&dyn OnMaps> {
        Some(self)
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenBatchNorm(self.norm(values)))
    }

    fn activates(&self) -> bool {
        self.relu
    }

    fn is_norm(&self) -> bool {
        true
    }

    fn as_norm(&self, values: Values<'_>) -> Option<FrozenNorm> {
        Some(self.norm(values))
    }

    /// With batch statistics, which move the network's running ones, unless those are frozen.
    fn burn(&self, site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let per_channel = |t: Tensor<4>| t.mean_dim(0).mean_dim(2).mean_dim(3);
        let numbers = |t: Tensor<4>| -> Vec<f32> {
            t.detach().into_data().try_to_vec().expect("every tensor here holds f32")
        };
        let mut inputs = step.inputs.into_iter();
        let x = inputs.next().expect("batch norm reads a value");
        let (centred, variance) = if step.frozen_statistics {
            let channels = site.output.channels;
            let constant = |id: BufferId| {
                let data = TensorData::new(step.buffers[id.0].clone(), [1, channels, 1, 1]);
                Tensor::<4>::from_data(data, &x.device())
            };
            let (mean, variance) = (constant(self.running_mean), constant(self.running_variance));
            (x - mean, variance)
        } else {
            let mean = per_channel(x.clone());
            let centred = x - mean.clone();
            let variance = per_channel(centred.clone() * centred.clone());
            blend(self.momentum, &mut step.buffers[self.running_mean.0], &numbers(mean), 1.0);
            let running = &mut step.buffers[self.running_variance.0];
            blend(self.momentum, running, &numbers(variance.clone()), unbiased(count(site)));
            (centred, variance)
        };
        let [gamma, beta] = [self.gamma, self.beta]
            .map(|id| step.parameters[id.0].clone().reshape([1, site.output.channels, 1, 1]));
        let result = centred / (variance + self.epsilon).sqrt() * gamma + beta;
        let result = inputs.next().map_or(result.clone(), |residual| result + residual);
        match step.pattern {
            _ if !self.relu => result,
            ActivationPattern::Free => relu(result),
            ActivationPattern::Recorded => {
                *step.decided = Some(result.clone().detach().greater_elem(0.0).int());
                relu(result)
            }
            ActivationPattern::Held => {
                let passed = step.decided.clone().expect("a pattern is held that was recorded");
                result * passed.float()
            }
        }
    }
}

impl OnMaps for BatchNorm {
    fn forward(&self, site: &Site, step: MapsForward<'_>) {
        let MapsForward { input, residual, output, parameters, buffers, state, .. } = step;
        let [mean, variance] = &mut state.floats;
        if step.frozen_statistics {
            mean.clone_from(&buffers[self.running_mean.0]);
            variance.clone_from(&buffers[self.running_variance.0]);
        } else {
            mean.resize(site.output.channels, 0.0);
            variance.resize(site.output.channels, 0.0);
            moments(input, mean, variance);
            let mut all = count(site);
            if !step.together.is_alone() {
                let first = mean.iter().map(|mean| all * f64::from(*mean));
                let both = mean.iter().zip(variance.iter());
                let second = both.map(|(m, v)| all * (f64::from(*v) + f64::from(*m).powi(2)));
                let mut sums: Vec<f64> = first.chain(second).chain([all]).collect();
                all = moments_together(step.together, &mut sums, mean, variance);
            }
            blend(self.momentum, &mut buffers[self.running_mean.0], mean, 1.0);
            blend(self.momentum, &mut buffers[self.running_variance.0], variance, unbiased(all));
        }
        let normalised = self.normalised(parameters, state, step.frozen_statistics);
        let [scale, shift] = normalised.constants(&parameters[self.beta.0]);
        affine(input, Some([&scale, &shift]), residual, self.relu, output);
    }

    fn backward(&self, _site: &Site, step: MapsBackward<'_>) {
        let MapsBackward { input, output, by_output, parameters, gradients, state, .. } = step;
        let gate = match (self.relu, self.residual) {
            (false, _) => Gate::Open,
            (true, false) => Gate::Beta(&parameters[self.beta.0]),
            (true, true) => Gate::Output(output),
        };
        let [by_gamma, by_beta] = gradients
            .get_disjoint_mut([self.gamma.0, self.beta.0])
            .expect("gamma and beta are two parameters of the graph");
        bf16_backward(
            &self.normalised(parameters, state, step.frozen_statistics),
            input,
            gate,
            by_output,
            step.by_input.expect("batch norm leaves out no gradient"),
            by_gamma,
            by_beta,
            step.by_residual,
            &|sums| {
                if !step.frozen_statistics && !step.together.is_alone() {
                    step.together.sum(sums);
                }
            },
        );
    }
}

impl BatchNorm {
    fn normalised<'a>(
        &self,
        parameters: &'a [Vec<f32>],
        state: &'a OpState,
        frozen_statistics: bool,
    ) -> Normalised<'a> {
        let [mean, variance] = &state.floats;
        Normalised {
            gamma: &parameters[self.gamma.0],
            mean,
            variance,
            epsilon: self.epsilon,
            of_the_batch: !frozen_statistics,
        }
    }

    fn norm(&self, values: Values<'_>) -> FrozenNorm {
        FrozenNorm {
            constants: [
                values.parameters[self.gamma.0].clone(),
                values.parameters[self.beta.0].clone(),
                values.buffers[self.running_mean.0].clone(),
                values.buffers[self.running_variance.0].clone(),
            ],
            epsilon: self.epsilon,
            residual: self.residual,
            relu: self.relu,
        }
    }
}

/// A batch norm of an inference plan that does not follow a convolution.
struct FrozenBatchNorm(FrozenNorm);

impl std::fmt::Debug for FrozenBatchNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenBatchNorm").field("relu", &self.0.relu).finish_non_exhaustive()
    }
}

impl FrozenOp for FrozenBatchNorm {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, residual], activate, output, .. } = step;
        let FrozenNorm { constants: [gamma, beta, mean, variance], .. } = &self.0;
        batch_norm_inference(
            &shape(site),
            input,
            gamma,
            beta,
            mean,
            variance,
            self.0.epsilon,
            self.0.residual.then_some(residual),
            self.0.relu && activate,
            output,
        );
    }

    fn on_maps(&self, _site: &Site) -> Option<Box<dyn MapsOp>> {
        let FrozenNorm { constants: [gamma, beta, mean, variance], epsilon, relu, .. } = &self.0;
        let scale: Vec<f32> = (gamma.iter().zip(variance))
            .map(|(gamma, variance)| gamma / (variance + epsilon).sqrt())
            .collect();
        let shift = (beta.iter().zip(mean).zip(&scale))
            .map(|((beta, mean), scale)| beta - mean * scale)
            .collect();
        Some(Box::new(MapsNorm { scale, shift, relu: *relu }))
    }

    fn onnx(
        &self,
        _site: &Site,
        target: &str,
        second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let names = ["scale", "shift", "mean", "variance"];
        let read: Vec<String> = names
            .iter()
            .zip(&self.0.constants)
            .map(|(name, values)| {
                constants.floats(&format!("{target}.{name}"), &[values.len()], values)
            })
            .collect();
        let norm = Link::new("BatchNormalization").reading(read);
        norm.with_float("epsilon", self.0.epsilon).then(second, self.0.relu)
    }
}

/// The same between maps of bfloat16.
#[derive(Debug)]
struct MapsNorm {
    scale: Vec<f32>,
    shift: Vec<f32>,
    relu: bool,
}

impl MapsOp for MapsNorm {
    fn run(&self, step: MapsStep<'_>) {
        let constants = Some([&self.scale[..], &self.shift[..]]);
        let relu = self.relu && step.activate;
        affine(step.input, constants, step.residual, relu, step.output);
    }
}
