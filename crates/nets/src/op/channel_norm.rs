//! `gamma (x - mean) / sqrt(variance + epsilon) + beta`, mean and variance over the channels of each
//! position: the layer norm of maps (ConvNeXt: Liu et al., CVPR 2022, arXiv:2201.03545).

use burn::Tensor;
use faculty_kernels::layer_norm::{layer_norm, layer_norm_backward};
use faculty_kernels::row_norm::RowsShape;
use faculty_kernels::transpose::transpose;

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, OpState, Site, Values};
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;

/// Layer norm over the channels at each position of a map.
#[derive(Debug)]
pub(crate) struct ChannelNorm {
    pub(crate) gamma: ParameterId,
    pub(crate) beta: ParameterId,
    pub(crate) epsilon: f32,
}

/// One row for each position of each sample.
fn rows(site: &Site) -> RowsShape {
    let shape = site.output;
    RowsShape { rows: site.batch * shape.positions(), width: shape.channels }
}

/// Maps as rows of channels.
fn to_rows(site: &Site, map: &[f32], rows: &mut [f32]) {
    transpose(site.output.channels, site.output.positions(), map, rows);
}

fn to_map(site: &Site, rows: &[f32], map: &mut [f32]) {
    transpose(site.output.positions(), site.output.channels, rows, map);
}

fn compute(
    site: &Site,
    [gamma, beta]: [&[f32]; 2],
    epsilon: f32,
    input: &[f32],
    output: &mut [f32],
    state: &mut OpState,
) {
    let shape = rows(site);
    let OpState { floats: [mean, rstd], gate: from, .. } = state;
    from.resize(input.len(), 0.0);
    mean.resize(shape.rows, 0.0);
    rstd.resize(shape.rows, 0.0);
    to_rows(site, input, from);
    let mut to = vec![0.0; input.len()];
    layer_norm(&shape, from, gamma, beta, epsilon, &mut to, mean, rstd);
    to_map(site, &to, output);
}

impl Op for ChannelNorm {
    fn kind(&self) -> &'static str {
        "ChannelNorm"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.gamma, self.beta]
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let constants = [self.gamma, self.beta].map(|id| step.parameters[id.0].as_slice());
        compute(site, constants, self.epsilon, step.inputs[0], step.output, step.state);
    }

    /// The rows are kept from the forward pass.
    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { by_output, by_inputs: [by_input, _], state, .. } = step;
        let [by_gamma, by_beta] = step
            .gradients
            .get_disjoint_mut([self.gamma.0, self.beta.0])
            .expect("gamma and beta are two parameters of the graph");
        let OpState { floats: [mean, rstd], gate: from, .. } = state;
        let mut by_rows = vec![0.0; by_output.len()];
        to_rows(site, by_output, &mut by_rows);
        let mut by_from = vec![0.0; by_output.len()];
        let gamma = &step.parameters[self.gamma.0];
        layer_norm_backward(
            &rows(site),
            from,
            gamma,
            mean,
            rstd,
            &by_rows,
            &mut by_from,
            by_gamma,
            by_beta,
        );
        to_map(site, &by_from, by_input.expect("a norm leaves out no gradient").values);
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let of =
            |id: ParameterId| (values.specs[id.0].name.clone(), values.parameters[id.0].clone());
        Box::new(FrozenChannelNorm {
            gamma: of(self.gamma),
            beta: of(self.beta),
            epsilon: self.epsilon,
        })
    }

    fn burn(&self, site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let x = step.inputs.remove(0);
        let centred = x.clone() - x.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let [gamma, beta] = [self.gamma, self.beta]
            .map(|id| step.parameters[id.0].clone().reshape([1, site.output.channels, 1, 1]));
        centred / (variance + self.epsilon).sqrt() * gamma + beta
    }
}

#[derive(Debug)]
struct FrozenChannelNorm {
    /// Names and values.
    gamma: (String, Vec<f32>),
    beta: (String, Vec<f32>),
    epsilon: f32,
}

impl FrozenOp for FrozenChannelNorm {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        let constants = [&self.gamma.1[..], &self.beta.1];
        compute(site, constants, self.epsilon, input, output, &mut OpState::default());
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let [gamma, beta] = [&self.gamma, &self.beta]
            .map(|(name, values)| constants.floats(name, &[values.len()], values));
        let norm = Link::new("LayerNormalization").reading([gamma, beta]).since(17);
        vec![
            Link::new("Transpose").with_ints("perm", &[0, 2, 3, 1]),
            norm.with_float("epsilon", self.epsilon),
            Link::new("Transpose").with_ints("perm", &[0, 3, 1, 2]),
        ]
    }
}
