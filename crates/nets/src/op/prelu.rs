//! `x` where it is at least 0, else `slope[c] · x`, with trained slopes.

use burn::Tensor;
use faculty_kernels::prelu::{AffineShape, prelu, prelu_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;
use crate::pattern::ActivationPattern;

/// Parametric ReLU with one slope for each channel, or one for all.
#[derive(Debug)]
pub(crate) struct PRelu {
    pub(crate) slope: ParameterId,
}

/// One slope for all is one of a single channel that is as large as the sample.
fn shape(site: &Site, slopes: usize) -> AffineShape {
    let elements = site.output.elements();
    AffineShape { batch: site.batch, channels: slopes, spatial: elements / slopes.max(1) }
}

impl Op for PRelu {
    fn kind(&self) -> &'static str {
        "PRelu"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        vec![self.slope]
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let ForwardStep { inputs: [input, _], output, parameters, state, pattern, .. } = step;
        let slope = &parameters[self.slope.0];
        if pattern == ActivationPattern::Recorded {
            state.gate.clear();
            state.gate.extend_from_slice(input);
        }
        let decided = if pattern == ActivationPattern::Held { &state.gate } else { input };
        prelu(&shape(site, slope.len()), decided, input, slope, output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { input, by_output, by_inputs: [by_input, _], state, .. } = step;
        let slope = &step.parameters[self.slope.0];
        let held = step.pattern == ActivationPattern::Held;
        prelu_backward(
            &shape(site, slope.len()),
            if held { &state.gate } else { input },
            input,
            slope,
            by_output,
            by_input.expect("activations leave out no gradient").values,
            &mut step.gradients[self.slope.0],
        );
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let name = values.specs[self.slope.0].name.clone();
        Box::new(FrozenPRelu { name, slope: values.parameters[self.slope.0].clone() })
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let x = step.inputs.remove(0);
        let slope = step.parameters[self.slope.0].clone();
        let slopes = slope.dims()[0];
        let below = match (&step.decided, step.pattern) {
            (Some(decided), ActivationPattern::Held) => decided.clone(),
            _ => x.clone().detach().lower_elem(0.0).int(),
        };
        if step.pattern == ActivationPattern::Recorded {
            *step.decided = Some(below.clone());
        }
        let below = below.float();
        let above = below.clone() * -1.0 + 1.0;
        x.clone() * above + x * below * slope.reshape([1, slopes, 1, 1])
    }
}

#[derive(Debug)]
struct FrozenPRelu {
    name: String,
    slope: Vec<f32>,
}

impl FrozenOp for FrozenPRelu {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        prelu(&shape(site, self.slope.len()), input, input, &self.slope, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let slope = constants.floats(&self.name, &[self.slope.len(), 1, 1], &self.slope);
        vec![Link::new("PRelu").reading([slope])]
    }
}
