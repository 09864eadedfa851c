//! `f(x Gᵀ) · (x Uᵀ)` on every row: the first half of a gated feed-forward part (Shazeer, 2020,
//! arXiv:2002.05202; SwiGLU with SiLU).

use faculty_kernels::activation::{Activation, gated, gated_backward};
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, PackedMatrix, matmul, matmul_packed};

use super::{
    BackwardStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, ReadBack, Site, Values,
};
use crate::op::projection::packed;
use crate::parameter::ParameterId;

/// Weights `[outputs, inputs]` of the gate `G` and of what passes it, `U`.
#[derive(Debug)]
pub(crate) struct GatedProjection {
    pub(crate) gate: ParameterId,
    pub(crate) up: ParameterId,
    pub(crate) activation: Activation,
}

/// Rows, inputs and outputs.
fn sizes(site: &Site) -> [usize; 3] {
    [site.batch, site.input().elements(), site.output.elements()]
}

impl Op for GatedProjection {
    fn kind(&self) -> &'static str {
        "GatedProjection"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.gate, self.up]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Add
    }

    fn multiply_adds(&self, _site: &Site, weights: usize) -> usize {
        2 * weights
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let input = Matrix::new(step.inputs[0], [rows, inputs]);
        let [gate, up, ..] = &mut step.state.between;
        for (weight, values) in [(self.gate, &mut *gate), (self.up, &mut *up)] {
            values.resize(rows * outputs, 0.0);
            let weight = Matrix::new(&step.parameters[weight.0], [outputs, inputs]).transposed();
            matmul(input, weight, Finish::Store, MatrixMut::new(values, [rows, outputs]));
        }
        gated(self.activation, gate, up, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let [gate, up, by_gate, by_up] = &mut step.state.between;
        for grad in [&mut *by_gate, &mut *by_up] {
            grad.resize(rows * outputs, 0.0);
        }
        gated_backward(self.activation, gate, up, step.by_output, by_gate, by_up);
        let input = Matrix::new(step.input, [rows, inputs]);
        let [mut by_input, _] = step.by_inputs;
        for (which, (id, grad)) in [(self.gate, by_gate), (self.up, by_up)].into_iter().enumerate()
        {
            let grad = Matrix::new(grad, [rows, outputs]);
            if let Some(target) = &mut by_input {
                let finish = if target.add || which > 0 { Finish::Add } else { Finish::Store };
                let weight = Matrix::new(&step.parameters[id.0], [outputs, inputs]);
                matmul(grad, weight, finish, MatrixMut::new(target.values, [rows, inputs]));
            }
            let by_weight = MatrixMut::new(&mut step.gradients[id.0], [outputs, inputs]);
            matmul(grad.transposed(), input, Finish::Store, by_weight);
        }
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let packed = |id: ParameterId| packed(&values.parameters[id.0], values.matrix_sizes(id));
        let (weights, activation) = ([packed(self.gate), packed(self.up)], self.activation);
        Box::new(FrozenGatedProjection { weights, activation })
    }
}

#[derive(Debug)]
struct FrozenGatedProjection {
    /// Of the gate, and of what passes it.
    weights: [PackedMatrix; 2],
    activation: Activation,
}

impl FrozenOp for FrozenGatedProjection {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let input = Matrix::new(step.inputs[0], [rows, inputs]);
        let [gate, up, ..] = &mut step.scratch.floats;
        for (weight, values) in self.weights.iter().zip([&mut *gate, &mut *up]) {
            values.resize(rows * outputs, 0.0);
            matmul_packed(input, weight, Finish::Store, MatrixMut::new(values, [rows, outputs]));
        }
        gated(self.activation, gate, up, step.output);
    }
}
