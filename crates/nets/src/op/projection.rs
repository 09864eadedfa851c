//! `x Wᵀ [+ r]` on every row: a linear layer without a bias, as decoders have it.

use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, PackedMatrix, matmul, matmul_packed};

use super::{
    BackwardStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, ReadBack, Site, Values,
};
use crate::parameter::ParameterId;

/// Weight `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) weight: ParameterId,
    /// Whether a second value is added.
    pub(crate) residual: bool,
}

/// Rows, inputs and outputs.
fn sizes(site: &Site) -> [usize; 3] {
    [site.batch, site.input().elements(), site.output.elements()]
}

/// A weight `[outputs, inputs]` packed for products with rows of inputs.
pub(crate) fn packed(weight: &[f32], sizes: [usize; 2]) -> PackedMatrix {
    PackedMatrix::new(Matrix::new(weight, sizes).transposed())
}

fn finish(residual: bool, values: &[f32]) -> Finish<'_> {
    match residual {
        true => Finish::Residual { bias: None, residual: values },
        false => Finish::Store,
    }
}

impl Op for Projection {
    fn kind(&self) -> &'static str {
        "Projection"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.weight]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn grad_route(&self, which: usize) -> GradRoute {
        if which == 0 { GradRoute::Add } else { GradRoute::Same }
    }

    fn multiply_adds(&self, _site: &Site, weights: usize) -> usize {
        weights
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let [input, residual] = step.inputs;
        matmul(
            Matrix::new(input, [rows, inputs]),
            Matrix::new(&step.parameters[self.weight.0], [outputs, inputs]).transposed(),
            finish(self.residual, residual),
            MatrixMut::new(step.output, [rows, outputs]),
        );
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let grad = Matrix::new(step.by_output, [rows, outputs]);
        let [by_input, _] = step.by_inputs;
        if let Some(target) = by_input {
            let finish = if target.add { Finish::Add } else { Finish::Store };
            let weight = Matrix::new(&step.parameters[self.weight.0], [outputs, inputs]);
            matmul(grad, weight, finish, MatrixMut::new(target.values, [rows, inputs]));
        }
        let by_weight = MatrixMut::new(&mut step.gradients[self.weight.0], [outputs, inputs]);
        let input = Matrix::new(step.input, [rows, inputs]);
        matmul(grad.transposed(), input, Finish::Store, by_weight);
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let [outputs, inputs] = values.matrix_sizes(self.weight);
        let weight = packed(&values.parameters[self.weight.0], [outputs, inputs]);
        Box::new(FrozenProjection { weight, residual: self.residual })
    }
}

#[derive(Debug)]
struct FrozenProjection {
    weight: PackedMatrix,
    residual: bool,
}

impl FrozenOp for FrozenProjection {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let FrozenStep { inputs: [input, residual], output, .. } = step;
        matmul_packed(
            Matrix::new(input, [rows, inputs]),
            &self.weight,
            finish(self.residual, residual),
            MatrixMut::new(output, [rows, outputs]),
        );
    }
}
