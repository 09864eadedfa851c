//! Layer normalisation of every row.

use faculty_kernels::layer_norm::{layer_norm, layer_norm_backward};
use faculty_kernels::row_norm::RowsShape;

use super::{BackwardStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values};
use crate::parameter::ParameterId;

/// Scale and shift, `[width]` each.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) gamma: ParameterId,
    pub(crate) beta: ParameterId,
    pub(crate) epsilon: f32,
}

fn shape(site: &Site) -> RowsShape {
    RowsShape { rows: site.batch, width: site.output.elements() }
}

impl Op for LayerNorm {
    fn kind(&self) -> &'static str {
        "LayerNorm"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.gamma, self.beta]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [gamma, beta] = [self.gamma, self.beta].map(|id| &step.parameters[id.0]);
        let [mean, rstd] = &mut step.state.floats;
        mean.resize(site.batch, 0.0);
        rstd.resize(site.batch, 0.0);
        let [input, _] = step.inputs;
        layer_norm(&shape(site), input, gamma, beta, self.epsilon, step.output, mean, rstd);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        let [by_gamma, by_beta] = step
            .gradients
            .get_disjoint_mut([self.gamma.0, self.beta.0])
            .expect("scale and shift are two parameters of the graph");
        let [mean, rstd] = &step.state.floats;
        layer_norm_backward(
            &shape(site),
            step.input,
            &step.parameters[self.gamma.0],
            mean,
            rstd,
            step.by_output,
            by_input.expect("a layer norm leaves out no gradient").values,
            by_gamma,
            by_beta,
        );
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let [gamma, beta] = [self.gamma, self.beta].map(|id| values.parameters[id.0].clone());
        Box::new(FrozenLayerNorm { gamma, beta, epsilon: self.epsilon })
    }
}

#[derive(Debug)]
struct FrozenLayerNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
}

impl FrozenOp for FrozenLayerNorm {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let Self { gamma, beta, epsilon } = self;
        let [mean, rstd, ..] = &mut step.scratch.floats;
        mean.resize(site.batch, 0.0);
        rstd.resize(site.batch, 0.0);
        let [input, _] = step.inputs;
        layer_norm(&shape(site), input, gamma, beta, *epsilon, step.output, mean, rstd);
    }
}
