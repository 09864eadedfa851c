//! `scale[c] · x + shift[c]`: one trained factor, summand or both for each channel.

use burn::Tensor;
use faculty_kernels::channel_affine::{AffineShape, channel_affine, channel_affine_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;

/// A factor, a summand or both for each channel; what there is none of is 1 and 0.
#[derive(Debug)]
pub(crate) struct ChannelAffine {
    pub(crate) scale: Option<ParameterId>,
    pub(crate) shift: Option<ParameterId>,
}

fn shape(site: &Site) -> AffineShape {
    let shape = site.output;
    AffineShape { batch: site.batch, channels: shape.channels, spatial: shape.positions() }
}

impl ChannelAffine {
    /// Both, whether there or not.
    fn values(&self, site: &Site, parameters: &[Vec<f32>]) -> [Vec<f32>; 2] {
        let of = |id: Option<ParameterId>, or: f32| {
            id.map_or_else(|| vec![or; site.output.channels], |id| parameters[id.0].clone())
        };
        [of(self.scale, 1.0), of(self.shift, 0.0)]
    }
}

impl Op for ChannelAffine {
    fn kind(&self) -> &'static str {
        "ChannelAffine"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        self.scale.into_iter().chain(self.shift).collect()
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [scale, shift] = self.values(site, step.parameters);
        channel_affine(&shape(site), step.inputs[0], &scale, &shift, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { input, by_output, by_inputs: [by_input, _], gradients, .. } = step;
        let by_input = by_input.expect("a factor leaves out no gradient").values;
        let [scale, mut by_shift] = self.values(site, step.parameters);
        let mut by_scale = scale.clone();
        channel_affine_backward(
            &shape(site),
            input,
            &scale,
            by_output,
            by_input,
            &mut by_scale,
            &mut by_shift,
        );
        for (id, gradient) in [(self.scale, by_scale), (self.shift, by_shift)] {
            if let Some(id) = id {
                gradients[id.0].copy_from_slice(&gradient);
            }
        }
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let of =
            |id: ParameterId| (values.specs[id.0].name.clone(), values.parameters[id.0].clone());
        Box::new(FrozenChannelAffine { scale: self.scale.map(of), shift: self.shift.map(of) })
    }

    fn burn(&self, site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let x = step.inputs.remove(0);
        let of = |id: ParameterId| {
            step.parameters[id.0].clone().reshape([1, site.output.channels, 1, 1])
        };
        let x = self.scale.map_or_else(|| x.clone(), |scale| x.clone() * of(scale));
        self.shift.map_or_else(|| x.clone(), |shift| x.clone() + of(shift))
    }
}

#[derive(Debug)]
struct FrozenChannelAffine {
    /// Names and values.
    scale: Option<(String, Vec<f32>)>,
    shift: Option<(String, Vec<f32>)>,
}

impl FrozenOp for FrozenChannelAffine {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        let of = |own: &Option<(String, Vec<f32>)>, or: f32| match own {
            Some((_, values)) => values.clone(),
            None => vec![or; site.output.channels],
        };
        let (scale, shift) = (of(&self.scale, 1.0), of(&self.shift, 0.0));
        channel_affine(&shape(site), input, &scale, &shift, output);
    }

    fn onnx(
        &self,
        site: &Site,
        _target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let shape = [site.output.channels, 1, 1];
        let mut link = |kind: &'static str, own: &Option<(String, Vec<f32>)>| {
            let (name, values) = own.as_ref()?;
            Some(Link::new(kind).reading([constants.floats(name, &shape, values)]))
        };
        link("Mul", &self.scale).into_iter().chain(link("Add", &self.shift)).collect()
    }
}
