//! `dropout(f(x Wᵀ + b)) + r` on every row, of samples or of tokens.

use faculty_kernels::activation::{Activation, activate_backward};
use faculty_kernels::columns::column_sums;
use faculty_kernels::dropout::dropout;
use faculty_kernels::elementwise::add_scaled;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut};

use super::{
    BackwardStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, ReadBack, Site, Values,
};
use crate::op::dropout::Dropout;
use crate::parameter::ParameterId;
use crate::precision::Precision;

/// A linear layer with what stands around it in a text network; weight `[outputs, inputs]`, bias
/// `[outputs]`. Activation and residual exclude one another.
#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) weight: ParameterId,
    pub(crate) bias: ParameterId,
    pub(crate) activation: Option<Activation>,
    /// In training, before the residual.
    pub(crate) dropout: Option<Dropout>,
    /// Whether a second value is added.
    pub(crate) residual: bool,
}

/// Rows, inputs and outputs.
fn sizes(site: &Site) -> [usize; 3] {
    [site.batch, site.input().elements(), site.output.elements()]
}

impl Op for Dense {
    fn kind(&self) -> &'static str {
        "Dense"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.weight, self.bias]
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

    fn drops(&self) -> bool {
        self.dropout.is_some()
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [rows, _, outputs] = sizes(site);
        let [input, residual] = step.inputs;
        let [weight, bias] = [self.weight, self.bias].map(|id| &step.parameters[id.0]);
        let keys = self.dropout.as_ref().map(|layer| {
            (layer.probability, step.dropout.rows(layer.layer, site.per, step.tokens))
        });
        let keys = keys.and_then(|(probability, keys)| Some((probability, keys?)));
        let finish = match self.activation {
            Some(activation) => {
                step.state.gate.resize(rows * outputs, 0.0);
                Finish::Activate { bias, activation, before: Some(&mut step.state.gate) }
            }
            None if self.residual && keys.is_none() => {
                Finish::Residual { bias: Some(bias), residual }
            }
            None => Finish::Bias { bias },
        };
        product(site, step.precision, input, weight, finish, step.output);
        if let Some((probability, keys)) = keys {
            dropout(outputs, &keys, probability, step.output);
            if self.residual {
                add_scaled(step.output, 1.0, residual);
            }
        }
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [rows, inputs, outputs] = sizes(site);
        let keys = |layer: &Dropout| step.dropout.rows(layer.layer, site.per, step.tokens);
        let keys = self.dropout.as_ref().and_then(|layer| Some((layer.probability, keys(layer)?)));
        let [dropped, activated, ..] = &mut step.state.between;
        let mut grad = step.by_output;
        if let Some((probability, keys)) = keys {
            dropped.clear();
            dropped.extend_from_slice(grad);
            dropout(outputs, &keys, probability, dropped);
            grad = dropped;
        }
        if let Some(activation) = self.activation {
            activated.resize(rows * outputs, 0.0);
            activate_backward(activation, &step.state.gate, grad, activated);
            grad = activated;
        }
        let grad_rows = Matrix::new(grad, [rows, outputs]);
        let [by_input, _] = step.by_inputs;
        if let Some(target) = by_input {
            let finish = if target.add { Finish::Add } else { Finish::Store };
            let weight = Matrix::new(&step.parameters[self.weight.0], [outputs, inputs]);
            let target = MatrixMut::new(target.values, [rows, inputs]);
            step.precision.multiply(grad_rows, weight, finish, target);
        }
        let by_weight = MatrixMut::new(&mut step.gradients[self.weight.0], [outputs, inputs]);
        let input = Matrix::new(step.input, [rows, inputs]);
        step.precision.multiply(grad_rows.transposed(), input, Finish::Store, by_weight);
        column_sums(rows, grad, &mut step.gradients[self.bias.0]);
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let [weight, bias] = [self.weight, self.bias].map(|id| values.parameters[id.0].clone());
        let (activation, residual) = (self.activation, self.residual);
        Box::new(FrozenDense { weight, bias, activation, residual })
    }
}

fn product(
    site: &Site,
    precision: Precision,
    input: &[f32],
    weight: &[f32],
    finish: Finish<'_>,
    output: &mut [f32],
) {
    let [rows, inputs, outputs] = sizes(site);
    precision.multiply(
        Matrix::new(input, [rows, inputs]),
        Matrix::new(weight, [outputs, inputs]).transposed(),
        finish,
        MatrixMut::new(output, [rows, outputs]),
    );
}

#[derive(Debug)]
struct FrozenDense {
    weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
    residual: bool,
}

impl FrozenOp for FrozenDense {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, residual], output, precision, .. } = step;
        let bias = &self.bias;
        let finish = match self.activation {
            Some(activation) => Finish::Activate { bias, activation, before: None },
            None if self.residual => Finish::Residual { bias: Some(bias), residual },
            None => Finish::Bias { bias },
        };
        product(site, precision, input, &self.weight, finish, output);
    }

    fn gives_rows(&self) -> bool {
        true
    }
}
