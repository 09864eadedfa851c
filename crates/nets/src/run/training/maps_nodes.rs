//! Nodes of a training step that run between maps of bfloat16.

use faculty_kernels::bf16::Maps;
use faculty_kernels::elementwise::add_scaled;

use super::TrainingRun;
use super::backward::Pass;
use super::plan::StepPlan;
use crate::network::Network;
use crate::op::{GradRoute, MapsBackward, MapsForward};
use crate::parameter::ValueId;

impl TrainingRun {
    /// Sizes of a value as maps.
    fn maps_sizes(&self, plan: &StepPlan, id: ValueId) -> [usize; 4] {
        let shape = plan.graph.shape(id);
        [self.size.samples, shape.channels, shape.height, shape.width]
    }

    /// Takes over planes of a value that is read as maps.
    pub(super) fn write_maps(&mut self, plan: &StepPlan, id: ValueId, planes: Option<&[f32]>) {
        let sizes = self.maps_sizes(plan, id);
        let value = plan.value(id, self.size);
        let planes = planes.unwrap_or_else(|| self.memory.part(value));
        self.on_maps.values[id.0].write(sizes, planes);
    }

    /// The forward pass of a node that runs between maps.
    pub(super) fn run_node_on_maps(
        &mut self,
        plan: &StepPlan,
        index: usize,
        network: &mut Network,
    ) {
        let graph = &plan.graph;
        let (node, site) = (&graph.nodes[index], graph.site(index, self.size));
        let mut output = std::mem::take(&mut self.on_maps.values[index]);
        let value = |id: &ValueId| &self.on_maps.values[id.0];
        let step = MapsForward {
            input: value(&node.inputs[0]),
            residual: node.inputs.get(1).map(value),
            output: &mut output,
            parameters: &network.parameters,
            buffers: &mut network.buffers,
            state: &mut self.states[index],
            frozen_statistics: self.frozen_statistics || graph.keeps_statistics(index),
            together: &self.together,
        };
        node.op.on_maps(&site).expect("the node runs between maps").forward(&site, step);
        if plan.forms.planes[index] {
            let [planes] = self.memory.parts([plan.value(ValueId(index), self.size)]);
            output.read(planes);
        }
        self.on_maps.values[index] = output;
    }

    /// Adds planes of a gradient by a value that maps made.
    pub(super) fn seed_maps_grad(&mut self, pass: &mut Pass<'_>, id: ValueId, planes: &[f32]) {
        let mut gradient = self.on_maps.take();
        gradient.write(self.maps_sizes(pass.plan, id), planes);
        self.on_maps.add(id, gradient);
        pass.has_grad[id.0] = true;
    }

    /// The same of planes that lie in the gradient's part of the memory.
    pub(super) fn collect_maps_grad(&mut self, pass: &mut Pass<'_>, id: ValueId, from: ValueId) {
        let mut gradient = self.on_maps.take();
        let planes = self.memory.part(pass.plan.gradient(from, self.size));
        gradient.write(self.maps_sizes(pass.plan, id), planes);
        self.on_maps.add(id, gradient);
        pass.has_grad[id.0] = true;
    }

    /// The backward pass of a node that runs between maps.
    pub(super) fn node_backward_on_maps(
        &mut self,
        pass: &mut Pass<'_>,
        index: usize,
        network: &Network,
    ) {
        let plan = pass.plan;
        let (graph, forms) = (&plan.graph, &plan.forms);
        let (node, site) = (&graph.nodes[index], graph.site(index, self.size));
        let op = node.op.on_maps(&site).expect("the node runs between maps");
        let by_output = self.on_maps.gradients[index].take().expect("the node has a gradient");
        let first = node.inputs[0];
        let skips = first.0 == 0 && !pass.by_input && node.op.skips_input_grad();
        let writes = |which: usize| node.op.grad_route(which) != GradRoute::Same;
        let mut by_input = (!skips && writes(0)).then(|| self.on_maps.take());
        let mut by_residual = (node.inputs.len() > 1 && writes(1)).then(|| self.on_maps.take());
        let adds_up = op.adds_up() && forms.runs[first.0] && by_input.is_some();
        let there = if adds_up { self.on_maps.gradients[first.0].take() } else { None };
        let step = MapsBackward {
            input: &self.on_maps.values[first.0],
            output: &self.on_maps.values[index],
            by_output: &by_output,
            by_input: by_input.as_mut(),
            there: there.as_ref(),
            by_residual: by_residual.as_mut(),
            parameters: &network.parameters,
            gradients: &mut self.gradients,
            state: &mut self.states[index],
            frozen_statistics: self.frozen_statistics || graph.keeps_statistics(index),
            together: &self.together,
        };
        op.backward(&site, step);
        self.on_maps.spare.extend(there);
        if let Some(gradient) = by_input {
            self.pass_on(pass, [index, 0], first, gradient);
        }
        if let Some(gradient) = by_residual {
            self.pass_on(pass, [index, 1], node.inputs[1], gradient);
        }
        let mut same =
            node.inputs.iter().enumerate().filter(|(which, _)| !writes(*which)).peekable();
        let mut by_output = Some(by_output);
        while let Some((which, &id)) = same.next() {
            // The last one has it itself.
            let gradient = match same.peek() {
                None => by_output.take(),
                Some(_) => by_output.clone(),
            };
            self.pass_on(pass, [index, which], id, gradient.expect("taken last"));
        }
        self.on_maps.spare.extend(by_output);
    }

    /// Adds a gradient by an input of a node to what that has.
    fn pass_on(
        &mut self,
        pass: &mut Pass<'_>,
        [node, which]: [usize; 2],
        id: ValueId,
        gradient: Maps,
    ) {
        let (plan, size) = (pass.plan, self.size);
        let had = std::mem::replace(&mut pass.has_grad[id.0], true);
        if plan.forms.runs[id.0] {
            self.on_maps.add(id, gradient);
            return;
        }
        if had {
            let more = plan.more(node, which, size);
            let [sum, more] = self.memory.parts([plan.gradient(id, size), more]);
            gradient.read(more);
            add_scaled(sum, 1.0, more);
        } else {
            let [planes] = self.memory.parts([plan.gradient(id, size)]);
            gradient.read(planes);
        }
        self.on_maps.spare.push(gradient);
    }
}
