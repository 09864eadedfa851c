//! Root mean square normalisation of every row.

use faculty_kernels::rms_norm::{rms_norm, rms_norm_backward};
use faculty_kernels::row_norm::RowsShape;

use super::{BackwardStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values};
use crate::parameter::ParameterId;

/// Scale, `[width]`.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) gamma: ParameterId,
    pub(crate) epsilon: f32,
}

fn shape(site: &Site) -> RowsShape {
    RowsShape { rows: site.batch, width: site.output.elements() }
}

impl Op for RmsNorm {
    fn kind(&self) -> &'static str {
        "RmsNorm"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.gamma]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [scale, _] = &mut step.state.floats;
        scale.resize(site.batch, 0.0);
        let gamma = &step.parameters[self.gamma.0];
        rms_norm(&shape(site), step.inputs[0], gamma, self.epsilon, step.output, scale);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        rms_norm_backward(
            &shape(site),
            step.input,
            &step.parameters[self.gamma.0],
            &step.state.floats[0],
            step.by_output,
            by_input.expect("a norm leaves out no gradient").values,
            &mut step.gradients[self.gamma.0],
        );
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let gamma = values.parameters[self.gamma.0].clone();
        Box::new(FrozenRmsNorm { gamma, epsilon: self.epsilon })
    }
}

#[derive(Debug)]
struct FrozenRmsNorm {
    gamma: Vec<f32>,
    epsilon: f32,
}

impl FrozenOp for FrozenRmsNorm {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let [scale, ..] = &mut step.scratch.floats;
        scale.resize(site.batch, 0.0);
        rms_norm(&shape(site), step.inputs[0], &self.gamma, self.epsilon, step.output, scale);
    }
}
