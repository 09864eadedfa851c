//! The backward pass of a training run.

use faculty_kernels::elementwise::add_scaled;

use super::TrainingRun;
use super::plan::StepPlan;
use crate::dropout_keys::DropoutKeys;
use crate::network::Network;
use crate::op::{BackwardStep, GradRoute, MOST_INPUTS, ReadBack, Target};
use crate::parameter::ValueId;
use crate::shape::BatchSize;

/// The progress of one backward pass.
pub(super) struct Pass<'a> {
    pub(super) plan: &'a StepPlan,
    size: BatchSize,
    /// Values whose gradient is there.
    pub(super) has_grad: Vec<bool>,
    pub(super) by_input: bool,
    /// Nodes with a trained parameter in or in front of them.
    reaches_trained: Vec<bool>,
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
        let (graph, size) = (&plan.graph, self.size);
        self.gradients.resize_with(graph.parameters.len(), Vec::new);
        for (gradient, values) in self.gradients.iter_mut().zip(&network.parameters) {
            gradient.resize(values.len(), 0.0);
        }
        let shared = graph.nodes.iter().flat_map(|node| node.op.shared_parameters());
        for id in shared.chain(graph.token_head) {
            self.gradients[id.0].fill(0.0);
        }
        let mut losses: Vec<Vec<G>> = graph.nodes.iter().map(|_| Vec::new()).collect();
        for (id, gradient) in loss_gradients {
            let want = size.rows(graph.per(id)) * graph.shape(id).elements();
            let got = gradient.as_ref().len();
            assert_eq!(got, want, "gradient of value {}", id.0);
            losses[id.0].push(gradient);
        }
        let has_grad = vec![false; graph.nodes.len()];
        let reaches_trained = graph.reaches_trained();
        let mut pass =
            Pass { plan: &plan, size, has_grad, by_input: input_gradient, reaches_trained };
        for index in (0..graph.nodes.len()).rev() {
            for gradient in std::mem::take(&mut losses[index]) {
                self.seed_grad(&mut pass, ValueId(index), gradient.as_ref());
            }
            if index == 0 {
                break;
            }
            let is_passed_on = pass.by_input || pass.reaches_trained[index];
            match pass.has_grad[index] && is_passed_on {
                true => self.node_backward(&mut pass, index, network),
                false => {
                    // Parameters of a node that no loss reaches, or that are frozen and have
                    // nothing trained in front of them.
                    let op = &graph.nodes[index].op;
                    let shared = op.shared_parameters();
                    for id in op.parameters().into_iter().filter(|id| !shared.contains(id)) {
                        self.gradients[id.0].fill(0.0);
                    }
                }
            }
        }
        input_gradient.then(|| match pass.has_grad[0] {
            true => self.memory.part(plan.gradient(ValueId(0), size)).to_vec(),
            false => vec![0.0; size.samples * graph.input_shape().elements()],
        })
    }

    /// A gradient by value `id` that lies outside the memory.
    fn seed_grad(&mut self, pass: &mut Pass<'_>, id: ValueId, gradient: &[f32]) {
        if pass.plan.forms.runs[id.0] {
            return self.seed_maps_grad(pass, id, gradient);
        }
        let [sum] = self.memory.parts([pass.plan.gradient(id, pass.size)]);
        match std::mem::replace(&mut pass.has_grad[id.0], true) {
            true => add_scaled(sum, 1.0, gradient),
            false => sum.copy_from_slice(gradient),
        }
    }

    /// The gradient by value `id` is that by value `from`, or has that in addition.
    fn forward_grad(&mut self, pass: &mut Pass<'_>, id: ValueId, from: usize) {
        if pass.plan.forms.runs[id.0] {
            return self.collect_maps_grad(pass, id, ValueId(from));
        }
        let (plan, size) = (pass.plan, pass.size);
        let [sum, gradient] =
            self.memory.parts([plan.gradient(id, size), plan.gradient(ValueId(from), size)]);
        match std::mem::replace(&mut pass.has_grad[id.0], true) {
            true => add_scaled(sum, 1.0, gradient),
            false => sum.copy_from_slice(gradient),
        }
    }

    fn node_backward(&mut self, pass: &mut Pass<'_>, index: usize, network: &Network) {
        if pass.plan.forms.runs[index] {
            return self.node_backward_on_maps(pass, index, network);
        }
        let (plan, size) = (pass.plan, pass.size);
        let node = &plan.graph.nodes[index];
        // Where each gradient is written, and whether it is then added to the one that is there.
        let mut targets = [const { 0..0 }; MOST_INPUTS];
        let mut routes = [None; MOST_INPUTS];
        for (which, &id) in node.inputs.iter().enumerate() {
            let route = node.op.grad_route(which);
            if id.0 == 0 && !pass.by_input && node.op.skips_input_grad() {
                continue;
            }
            // Among maps the planes only pass on what is added there.
            let has_planes = pass.has_grad[id.0] && !plan.forms.runs[id.0];
            match (route, has_planes) {
                (GradRoute::Same, _) => {
                    self.forward_grad(pass, id, index);
                    continue;
                }
                (GradRoute::Write, true) => targets[which] = plan.more(index, which, size),
                (GradRoute::Write, false) | (GradRoute::Add, _) => {
                    targets[which] = plan.gradient(id, size);
                }
            }
            routes[which] = Some(route);
        }
        let ReadBack { input, output } = node.op.reads_back();
        let input = if input { plan.value(node.inputs[0], size) } else { 0..0 };
        let output = if output { plan.value(ValueId(index), size) } else { 0..0 };
        let by_output = plan.gradient(ValueId(index), size);
        let [first, second] = targets;
        let [input, output, by_output, first, second] =
            self.memory.parts([input, output, by_output, first, second]);
        let target = |which: usize, values| {
            let route = routes[which]?;
            let id = node.inputs[which];
            let has_planes = pass.has_grad[id.0] && !plan.forms.runs[id.0];
            let add = route == GradRoute::Add && has_planes;
            Some(Target { values, add })
        };
        let by_inputs = [target(0, first), target(1, second)];
        let step = BackwardStep {
            input,
            output,
            by_output,
            by_inputs,
            parameters: &network.parameters,
            gradients: &mut self.gradients,
            state: &mut self.states[index],
            frozen_statistics: self.frozen_statistics || plan.graph.keeps_statistics(index),
            pattern: self.pattern,
            precision: self.precision,
            maps: &mut self.maps,
            tokens: &self.tokens,
            dropout: DropoutKeys { samples: &self.dropout },
            together: &self.together,
        };
        node.op.backward(&plan.graph.site(index, size), step);
        for (which, &id) in node.inputs.iter().enumerate() {
            if let Some(route) = routes[which] {
                self.accumulate(pass, index, which, id, route);
            }
        }
    }

    /// After node `node` has written its gradient by the value `input`.
    fn accumulate(
        &mut self,
        pass: &mut Pass<'_>,
        node: usize,
        which: usize,
        input: ValueId,
        route: GradRoute,
    ) {
        if pass.plan.forms.runs[input.0] {
            return self.collect_maps_grad(pass, input, input);
        }
        let had = std::mem::replace(&mut pass.has_grad[input.0], true);
        if had && route == GradRoute::Write {
            let more = pass.plan.more(node, which, pass.size);
            let [sum, more] = self.memory.parts([pass.plan.gradient(input, pass.size), more]);
            add_scaled(sum, 1.0, more);
        }
    }
}
