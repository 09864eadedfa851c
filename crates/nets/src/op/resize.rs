//! A map at another size: adaptive average pooling where it shrinks, bilinear (corners not aligned)
//! where it grows.

use burn::Tensor;
use burn::tensor::module::{adaptive_avg_pool2d, interpolate};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use faculty_kernels::pool::{self, adaptive_avg_pool2d_backward};
use faculty_kernels::resize::{ResizeShape, resize_bilinear, resize_bilinear_backward};

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::op::link::{Constants, Link};
use crate::shape::MapShape;

/// Resizing to the node's own shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resize;

fn shape(site: &Site) -> ResizeShape {
    let (from, to) = (site.input(), site.output);
    ResizeShape {
        planes: site.batch * from.channels,
        input: [from.height, from.width],
        output: [to.height, to.width],
    }
}

/// Whether it averages (CA-MKD's rule; a map that shrinks along one axis and grows along the other
/// counts as growing).
fn shrinks(site: &Site) -> bool {
    let (from, to) = (site.input(), site.output);
    to.height <= from.height && to.width <= from.width
}

fn compute(site: &Site, input: &[f32], output: &mut [f32]) {
    if shrinks(site) {
        pool::adaptive_avg_pool2d(&shape(site), input, output);
    } else {
        resize_bilinear(&shape(site), input, output);
    }
}

impl Op for Resize {
    fn kind(&self) -> &'static str {
        "Resize"
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        compute(site, step.inputs[0], step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("resizing leaves out no gradient").values;
        if shrinks(site) {
            adaptive_avg_pool2d_backward(&shape(site), step.by_output, by_input);
        } else {
            resize_bilinear_backward(&shape(site), step.by_output, by_input);
        }
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let input = step.inputs.remove(0);
        let MapShape { height, width, .. } = site.output;
        if shrinks(site) {
            adaptive_avg_pool2d(input, [height, width])
        } else {
            let options = InterpolateOptions::new(InterpolateMode::Bilinear)
                .with_align_corners(false)
                .with_output_size([height, width]);
            interpolate(input, options)
        }
    }
}

impl FrozenOp for Resize {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        compute(site, input, output);
    }

    /// Two products with constant matrices, one for rows and one for columns: both ways of resizing
    /// are linear in each axis, and runtimes differ in how they read the options of `Resize`.
    fn onnx(
        &self,
        site: &Site,
        target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let (from, to) = (site.input(), site.output);
        let rows = axis_matrix(shrinks(site), from.height, to.height);
        let across: Vec<f32> = (0..to.height)
            .flat_map(|row| (0..from.height).map(move |input| input * to.height + row))
            .map(|index| rows[index])
            .collect();
        let rows = constants.floats(&format!("{target}.rows"), &[to.height, from.height], &across);
        let columns = axis_matrix(shrinks(site), from.width, to.width);
        let name = format!("{target}.columns");
        let columns = constants.floats(&name, &[from.width, to.width], &columns);
        vec![Link::new("MatMul").reading([columns]), Link::new("MatMul").behind(rows)]
    }
}

/// `[from, to]`: what each position gives to each new one along one axis. Found by resizing unit
/// vectors, so that it is the kernels' own.
fn axis_matrix(shrinks: bool, from: usize, to: usize) -> Vec<f32> {
    let units: Vec<f32> =
        (0..from * from).map(|index| f32::from(u8::from(index / from == index % from))).collect();
    let shape = ResizeShape { planes: from, input: [from, 1], output: [to, 1] };
    let mut matrix = vec![0.0; from * to];
    let resize = if shrinks { pool::adaptive_avg_pool2d } else { resize_bilinear };
    resize(&shape, &units, &mut matrix);
    matrix
}
