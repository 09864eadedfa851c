//! `x Wᵀ + b` on a map flattened as `[channels, height, width]`.

use burn::Tensor;
use faculty_kernels::columns::column_sums;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;
use crate::precision::Precision;

/// A linear layer: weight `[outputs, inputs]`, bias `[outputs]`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: ParameterId,
    pub(crate) bias: ParameterId,
}

/// Rows, inputs and outputs.
fn sizes(site: &Site) -> [usize; 3] {
    [site.batch, site.input().elements(), site.output.channels]
}

fn compute(
    site: &Site,
    precision: Precision,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let [rows, inputs, outputs] = sizes(site);
    precision.multiply(
        Matrix::new(input, [rows, inputs]),
        Matrix::new(weight, [outputs, inputs]).transposed(),
        Finish::Bias { bias },
        MatrixMut::new(output, [rows, outputs]),
    );
}

impl Op for Linear {
    fn kind(&self) -> &'static str {
        "Linear"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.weight, self.bias]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn multiply_adds(&self, _site: &Site, weights: usize) -> usize {
        weights
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [weight, bias] = [self.weight, self.bias].map(|id| &step.parameters[id.0]);
        compute(site, step.precision, step.inputs[0], weight, bias, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let grad = Matrix::new(step.by_output, [rows, outputs]);
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("a linear layer leaves out no gradient").values;
        let weight = Matrix::new(&step.parameters[self.weight.0], [outputs, inputs]);
        let by_input = MatrixMut::new(by_input, [rows, inputs]);
        step.precision.multiply(grad, weight, Finish::Store, by_input);
        let input = Matrix::new(step.input, [rows, inputs]);
        let by_weight = MatrixMut::new(&mut step.gradients[self.weight.0], [outputs, inputs]);
        step.precision.multiply(grad.transposed(), input, Finish::Store, by_weight);
        column_sums(rows, step.by_output, &mut step.gradients[self.bias.0]);
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let [weight, bias] = [self.weight, self.bias].map(|id| values.parameters[id.0].clone());
        Box::new(FrozenLinear { weight, bias })
    }

    fn burn(&self, site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let (inputs, outputs) = (site.input().elements(), site.output.channels);
        let rows = step.inputs.remove(0).reshape([site.batch, inputs]);
        let weight = step.parameters[self.weight.0].clone().reshape([outputs, inputs]);
        let bias = step.parameters[self.bias.0].clone().reshape([1, outputs]);
        (rows.matmul(weight.transpose()) + bias).reshape(site.dims())
    }
}

#[derive(Debug)]
struct FrozenLinear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl FrozenOp for FrozenLinear {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, precision, .. } = step;
        compute(site, precision, input, &self.weight, &self.bias, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let shape = [self.bias.len(), self.weight.len() / self.bias.len().max(1)];
        let weight = constants.floats(&format!("{target}.weight"), &shape, &self.weight);
        let bias = constants.floats(&format!("{target}.bias"), &shape[..1], &self.bias);
        let gemm = Link::new("Gemm").reading([weight, bias]).with_int("transB", 1);
        vec![Link::new("Flatten").with_int("axis", 1), gemm]
    }

    fn gives_rows(&self) -> bool {
        true
    }
}
