//! The largest value, or the mean with padding counted as zeros, of every window.

use burn::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d, max_pool2d_with_indices};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use faculty_kernels::bf16::pool::{Pooling, pool2d};
use faculty_kernels::pool::{self, PoolShape, avg_pool2d_backward, max_pool2d_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, MapsOp, MapsStep, Op, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::pattern::ActivationPattern;
use crate::shape::Window;

/// What pooling makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Max,
    Average,
}

/// Pooling with square windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) window: Window,
}

impl Pool {
    fn shape(&self, site: &Site) -> PoolShape {
        let from = site.input();
        PoolShape {
            planes: site.batch * from.channels,
            in_height: from.height,
            in_width: from.width,
            kernel: [self.window.kernel; 2],
            stride: [self.window.stride; 2],
            padding: [self.window.padding; 2],
        }
    }

    fn compute(&self, site: &Site, input: &[f32], output: &mut [f32], maxima: &mut Vec<u32>) {
        match self.kind {
            PoolKind::Max => {
                maxima.resize(output.len(), 0);
                pool::max_pool2d(&self.shape(site), input, output, maxima);
            }
            PoolKind::Average => pool::avg_pool2d(&self.shape(site), input, output),
        }
    }
}

impl Op for Pool {
    fn kind(&self) -> &'static str {
        "Pool"
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let ForwardStep { inputs: [input, _], output, state, pattern, .. } = step;
        if self.kind == PoolKind::Max && pattern == ActivationPattern::Held {
            let (shape, maxima) = (self.shape(site), &state.indices);
            assert_eq!(maxima.len(), output.len(), "a pattern is held on a batch of its size");
            let planes = input.chunks(shape.in_plane()).zip(maxima.chunks(shape.out_plane()));
            let values = planes.flat_map(|(plane, at)| at.iter().map(|&at| plane[at as usize]));
            output.iter_mut().zip(values).for_each(|(output, value)| *output = value);
            return;
        }
        self.compute(site, input, output, &mut state.indices);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("pooling leaves out no gradient").values;
        match self.kind {
            PoolKind::Max => {
                let maxima = &step.state.indices;
                max_pool2d_backward(&self.shape(site), step.by_output, maxima, by_input);
            }
            PoolKind::Average => avg_pool2d_backward(&self.shape(site), step.by_output, by_input),
        }
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let input = step.inputs.remove(0);
        let Window { kernel, stride, padding } = self.window;
        match self.kind {
            PoolKind::Max => {
                let options = MaxPoolOptions::new([kernel; 2])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2]);
                match step.pattern {
                    ActivationPattern::Free => max_pool2d(input, options),
                    ActivationPattern::Recorded => {
                        let (maxima, positions) = max_pool2d_with_indices(input, options);
                        *step.decided = Some(positions);
                        maxima
                    }
                    ActivationPattern::Held => {
                        let at = step.decided.clone().expect("a pattern is held that was recorded");
                        let dims = at.dims();
                        let values = input.flatten::<3>(2, 3).gather(2, at.flatten::<3>(2, 3));
                        values.reshape(dims)
                    }
                }
            }
            PoolKind::Average => {
                let options = AvgPoolOptions::new([kernel; 2])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2])
                    .with_count_include_pad(true);
                avg_pool2d(input, options)
            }
        }
    }
}

impl FrozenOp for Pool {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, scratch, .. } = step;
        self.compute(site, input, output, &mut scratch.indices);
    }

    fn on_maps(&self, site: &Site) -> Option<Box<dyn MapsOp>> {
        Some(Box::new(MapsPool { kind: self.kind, shape: self.shape(site) }))
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        _second: Option<&str>,
        _constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let pool = match self.kind {
            PoolKind::Max => Link::new("MaxPool"),
            PoolKind::Average => Link::new("AveragePool").with_int("count_include_pad", 1),
        };
        vec![pool.with_window(self.window)]
    }
}

/// The same between maps of bfloat16.
#[derive(Debug)]
struct MapsPool {
    kind: PoolKind,
    shape: PoolShape,
}

impl MapsOp for MapsPool {
    fn run(&self, step: MapsStep<'_>) {
        let pooling = match self.kind {
            PoolKind::Max => Pooling::Max,
            PoolKind::Average => Pooling::Average,
        };
        pool2d(&self.shape, pooling, step.input, step.output);
    }
}
