//! A border of one value, of its own width on each side.

use burn::Tensor;
use faculty_kernels::pad::{PadShape, pad, pad_backward};

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::op::link::{Constants, Link};

/// A border around each plane: what convolutions and pooling with the same padding on all sides
/// cannot say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pad {
    /// Rows above, columns to the left.
    pub(crate) before: [usize; 2],
    /// Rows below, columns to the right.
    pub(crate) after: [usize; 2],
    pub(crate) value: f32,
}

impl Pad {
    fn shape(&self, site: &Site) -> PadShape {
        let from = site.input();
        PadShape {
            planes: site.batch * from.channels,
            size: [from.height, from.width],
            before: self.before,
            after: self.after,
        }
    }
}

impl Op for Pad {
    fn kind(&self) -> &'static str {
        "Pad"
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        pad(&self.shape(site), self.value, step.inputs[0], step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("a border leaves out no gradient").values;
        pad_backward(&self.shape(site), step.by_output, by_input);
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let ([top, left], [bottom, right]) = (self.before, self.after);
        step.inputs.remove(0).pad((left, right, top, bottom), self.value)
    }
}

impl FrozenOp for Pad {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        pad(&self.shape(site), self.value, input, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let ([top, left], [bottom, right]) = (self.before, self.after);
        let widths = [0, 0, top, left, 0, 0, bottom, right];
        let widths = constants.indices(&format!("{target}.widths"), &widths);
        let value = constants.floats(&format!("{target}.border"), &[], &[self.value]);
        vec![Link::new("Pad").reading([widths, value])]
    }
}
