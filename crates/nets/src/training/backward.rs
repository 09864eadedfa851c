//! The backward pass of a training run.

use std::ops::Range;

use faculty_kernels::batch_norm::{
    ReluGate, batch_norm_inference_backward, batch_norm_train_backward,
};
use faculty_kernels::channels::{Side, join_channels_backward};
use faculty_kernels::conv2d::{conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad};
use faculty_kernels::elementwise::add_scaled;
use faculty_kernels::linear::linear_backward;
use faculty_kernels::pool::{
    adaptive_avg_pool2d_backward, avg_pool2d_backward, global_avg_pool_backward,
    max_pool2d_backward,
};
use faculty_kernels::resize::resize_bilinear_backward;

use super::plan::StepPlan;
use super::{
    TrainingRun, channels_shape, conv_shape, linear_shape, norm_shape, pool_shape, resize_shape,
    shrinks,
};
use crate::graph::{BATCH_NORM_EPSILON, MapShape, Node, Operation, PoolKind, ValueId};
use crate::network::Network;

/// The progress of one backward pass.
struct Pass<'a> {
    plan: &'a StepPlan,
    batch: usize,
    /// Values whose gradient is there.
    there: Vec<bool>,
    by_input: bool,
}

impl Pass<'_> {
    /// Where node `node` writes its gradient by its input number `which`, the value `input`.
    fn target(&self, node: usize, which: usize, input: ValueId) -> Range<usize> {
        match self.there[input.0] {
            true => self.plan.more(node, which, self.batch),
            false => self.plan.gradient(input, self.batch),
        }
    }
}

impl TrainingRun {
    /// Carries the loss gradients by the given values back to all parameters
    /// ([`TrainingRun::gradients`]). Returns the gradient by the input when `input_gradient` is set.
    ///
    /// `network` must have the parameters of the forward pass. Several gradients by one value add up. Parameters that no loss reaches get zeros.
    ///
    /// # Panics
    /// When a gradient has another length than its value, or there was no forward pass of this
    /// network.
    pub fn backward<G: AsRef<[f32]>>(
        &mut self,
        network: &Network,
        loss_gradients: impl IntoIterator<Item = (ValueId, G)>,
        input_gradient: bool,
    ) -> Option<Vec<f32>> {
        let plan = self.plan.clone().expect("the backward pass follows a forward pass");
        assert!(std::sync::Arc::ptr_eq(&plan.graph, network.graph()), "another network's pass");
        let (graph, batch) = (&plan.graph, self.batch);
        self.gradients.resize_with(graph.parameters.len(), Vec::new);
        for (gradient, values) in self.gradients.iter_mut().zip(&network.parameters) {
            gradient.resize(values.len(), 0.0);
        }
        let mut losses: Vec<Vec<G>> = graph.nodes.iter().map(|_| Vec::new()).collect();
        for (id, gradient) in loss_gradients {
            let (got, want) = (gradient.as_ref().len(), plan.value(id, batch).len());
            assert_eq!(got, want, "gradient of value {}", id.0);
            losses[id.0].push(gradient);
        }
        let there = vec![false; graph.nodes.len()];
        let mut pass = Pass { plan: &plan, batch, there, by_input: input_gradient };
        for (index, node) in graph.nodes.iter().enumerate().rev() {
            for gradient in std::mem::take(&mut losses[index]) {
                self.give(&mut pass, ValueId(index), gradient.as_ref());
            }
            if index == 0 {
                break;
            }
            match pass.there[index] {
                true => self.node_backward(&mut pass, index, node, network),
                false => self.unreached(node),
            }
        }
        input_gradient.then(|| match pass.there[0] {
            true => self.memory.part(plan.gradient(ValueId(0), batch)).to_vec(),
            false => vec![0.0; plan.value(ValueId(0), batch).len()],
        })
    }

    /// A gradient by value `id` that lies outside the memory.
    fn give(&mut self, pass: &mut Pass<'_>, id: ValueId, gradient: &[f32]) {
        let [sum] = self.memory.parts([pass.plan.gradient(id, pass.batch)]);
        match std::mem::replace(&mut pass.there[id.0], true) {
            true => add_scaled(sum, 1.0, gradient),
            false => sum.copy_from_slice(gradient),
        }
    }

    /// The gradient by value `id` is that by value `from`, or has that in addition.
    fn pass_on(&mut self, pass: &mut Pass<'_>, id: ValueId, from: usize) {
        let (plan, batch) = (pass.plan, pass.batch);
        let [sum, gradient] =
            self.memory.parts([plan.gradient(id, batch), plan.gradient(ValueId(from), batch)]);
        match std::mem::replace(&mut pass.there[id.0], true) {
            true => add_scaled(sum, 1.0, gradient),
            false => sum.copy_from_slice(gradient),
        }
    }

    /// After node `node` has written to [`Pass::target`].
    fn settle(&mut self, pass: &mut Pass<'_>, node: usize, which: usize, input: ValueId) {
        if std::mem::replace(&mut pass.there[input.0], true) {
            let more = pass.plan.more(node, which, pass.batch);
            let [sum, more] = self.memory.parts([pass.plan.gradient(input, pass.batch), more]);
            add_scaled(sum, 1.0, more);
        }
    }

    /// Parameters of a node that no loss reaches.
    fn unreached(&mut self, node: &Node) {
        let parameters = match node.operation {
            Operation::Conv2d { weight, bias, .. } => [Some(weight), bias],
            Operation::BatchNorm { gamma, beta, .. } => [Some(gamma), Some(beta)],
            Operation::Linear { weight, bias, .. } => [Some(weight), Some(bias)],
            _ => [None, None],
        };
        for id in parameters.into_iter().flatten() {
            self.gradients[id.0].fill(0.0);
        }
    }

    fn node_backward(&mut self, pass: &mut Pass<'_>, index: usize, node: &Node, network: &Network) {
        let (plan, batch) = (pass.plan, pass.batch);
        let graph = &*plan.graph;
        let value = |id: ValueId| plan.value(id, batch);
        let gradient = plan.gradient(ValueId(index), batch);
        match node.operation {
            Operation::Input => unreachable!("the input has no operation to go back through"),
            Operation::Conv2d { input, weight, bias, residual, .. } => {
                let shape = conv_shape(batch, graph, node);
                if let Some(residual) = residual {
                    self.pass_on(pass, residual, index);
                }
                let [x, by_output] = self.memory.parts([value(input), gradient.clone()]);
                conv2d_weight_grad(&shape, x, by_output, &mut self.gradients[weight.0]);
                if let Some(bias) = bias {
                    conv2d_bias_grad(&shape, by_output, &mut self.gradients[bias.0]);
                }
                if input.0 != 0 || pass.by_input {
                    let target = pass.target(index, 0, input);
                    let [by_output, by_input] = self.memory.parts([gradient, target]);
                    let weight = &network.parameters[weight.0];
                    conv2d_input_grad(&shape, weight, by_output, by_input);
                    self.settle(pass, index, 0, input);
                }
            }
            Operation::BatchNorm { input, gamma, beta, residual, relu, .. } => {
                let by_residual = residual.map_or(0..0, |id| pass.target(index, 1, id));
                let output = if relu && residual.is_some() { value(ValueId(index)) } else { 0..0 };
                let target = pass.target(index, 0, input);
                let [x, output, by_output, by_input, by_residual] =
                    self.memory.parts([value(input), output, gradient, target, by_residual]);
                let gate = match (relu, residual) {
                    (false, _) => ReluGate::Open,
                    (true, None) => ReluGate::Beta(&network.parameters[beta.0]),
                    (true, Some(_)) => ReluGate::Output(output),
                };
                let (mean, variance) = &self.statistics[index];
                let [by_gamma, by_beta] = self
                    .gradients
                    .get_disjoint_mut([gamma.0, beta.0])
                    .expect("gamma and beta are two parameters of the graph");
                let by_statistics = match self.frozen_statistics {
                    true => batch_norm_inference_backward,
                    false => batch_norm_train_backward,
                };
                by_statistics(
                    &norm_shape(batch, node.shape),
                    x,
                    gate,
                    by_output,
                    &network.parameters[gamma.0],
                    mean,
                    variance,
                    BATCH_NORM_EPSILON,
                    by_input,
                    by_gamma,
                    by_beta,
                    residual.is_some().then_some(by_residual),
                );
                self.settle(pass, index, 0, input);
                if let Some(residual) = residual {
                    self.settle(pass, index, 1, residual);
                }
            }
            Operation::Channels { first, second, .. } => {
                let shape = channels_shape(batch, graph, node);
                for (side, id) in [(Side::First, Some(first)), (Side::Second, second)] {
                    let Some(id) = id else { continue };
                    let add = std::mem::replace(&mut pass.there[id.0], true);
                    let parts = [gradient.clone(), plan.gradient(id, batch)];
                    let [by_output, by_source] = self.memory.parts(parts);
                    join_channels_backward(&shape, side, by_output, add, by_source);
                }
            }
            Operation::Pool { input, kind, window } => {
                let shape = pool_shape(batch, graph.shape(input), window);
                let target = pass.target(index, 0, input);
                let [by_output, by_input] = self.memory.parts([gradient, target]);
                match kind {
                    PoolKind::Max => {
                        max_pool2d_backward(&shape, by_output, &self.maxima[index], by_input);
                    }
                    PoolKind::Average => avg_pool2d_backward(&shape, by_output, by_input),
                }
                self.settle(pass, index, 0, input);
            }
            Operation::GlobalAvgPool { input } => {
                let target = pass.target(index, 0, input);
                let [by_output, by_input] = self.memory.parts([gradient, target]);
                let from = graph.shape(input);
                let planes = batch * from.channels;
                global_avg_pool_backward(planes, from.positions(), by_output, by_input);
                self.settle(pass, index, 0, input);
            }
            Operation::Resize { input } => {
                let target = pass.target(index, 0, input);
                let [by_output, by_input] = self.memory.parts([gradient, target]);
                resize_backward(batch, graph.shape(input), node.shape, by_output, by_input);
                self.settle(pass, index, 0, input);
            }
            Operation::Linear { input, weight, bias } => {
                let target = pass.target(index, 0, input);
                let [x, by_output, by_input] = self.memory.parts([value(input), gradient, target]);
                let [by_weight, by_bias] = self
                    .gradients
                    .get_disjoint_mut([weight.0, bias.0])
                    .expect("weight and bias are two parameters of the graph");
                linear_backward(
                    &linear_shape(batch, graph.shape(input), node.shape),
                    x,
                    &network.parameters[weight.0],
                    by_output,
                    by_input,
                    by_weight,
                    by_bias,
                );
                self.settle(pass, index, 0, input);
            }
        }
    }
}

fn resize_backward(
    batch: usize,
    from: MapShape,
    to: MapShape,
    gradient: &[f32],
    by_input: &mut [f32],
) {
    let shape = resize_shape(batch, from, to);
    if shrinks(from, to) {
        adaptive_avg_pool2d_backward(&shape, gradient, by_input);
    } else {
        resize_bilinear_backward(&shape, gradient, by_input);
    }
}
