//! `convolution(x) [+ residual]`

use std::borrow::Cow;

use burn::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use faculty_kernels::bf16::batch_norm::channel_sums;
use faculty_kernels::bf16::conv2d::{self as bf16, Epilogue, PackedWeights};
use faculty_kernels::conv2d::{
    Conv2dShape, conv2d_bias_grad, conv2d_fused, conv2d_input_grad, conv2d_weight_grad,
};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenNorm, FrozenOp, FrozenStep, GradRoute, MapsBackward,
    MapsForward, MapsOp, MapsStep, OnMaps, Op, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;
use crate::precision::Precision;
use crate::shape::{ConvWindow, MapShape};

impl ConvWindow {
    /// Where the values of the kernel lie in one that reads every position of the span.
    fn places(&self) -> impl Iterator<Item = usize> {
        let Self { kernel: [rows, columns], dilation: [down, right], .. } = *self;
        let width = self.span()[1];
        (0..rows).flat_map(move |i| (0..columns).map(move |j| i * down * width + j * right))
    }

    /// A weight as that of such a kernel, zeros in between: the kernels know no dilation.
    fn spread<'a>(&self, weight: &'a [f32]) -> Cow<'a, [f32]> {
        if self.dilation == [1; 2] {
            return Cow::Borrowed(weight);
        }
        let [from, to] = [self.kernel, self.span()].map(|[rows, columns]| rows * columns);
        let mut spread = vec![0.0; weight.len() / from * to];
        for (spread, weight) in spread.chunks_exact_mut(to).zip(weight.chunks_exact(from)) {
            self.places().zip(weight).for_each(|(place, value)| spread[place] = *value);
        }
        Cow::Owned(spread)
    }

    /// The gradient by a weight from that by its spread form.
    fn gather(&self, spread: &[f32], weight: &mut [f32]) {
        let [from, to] = [self.kernel, self.span()].map(|[rows, columns]| rows * columns);
        for (spread, weight) in spread.chunks_exact(to).zip(weight.chunks_exact_mut(from)) {
            self.places().zip(weight).for_each(|(place, value)| *value = spread[place]);
        }
    }
}

/// A convolution; where `residual` is set, a second value is added.
#[derive(Debug)]
pub(crate) struct Conv2d {
    pub(crate) weight: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) window: ConvWindow,
    pub(crate) groups: usize,
    pub(crate) residual: bool,
}

fn shape(site: &Site, window: ConvWindow, groups: usize) -> Conv2dShape {
    let from = site.input();
    Conv2dShape {
        batch: site.batch,
        in_channels: from.channels,
        in_height: from.height,
        in_width: from.width,
        out_channels: site.output.channels,
        kernel: window.span(),
        stride: window.stride,
        padding: window.padding,
        groups,
    }
}

/// Sizes of a batch of maps.
fn sizes(batch: usize, shape: MapShape) -> [usize; 4] {
    [batch, shape.channels, shape.height, shape.width]
}

impl Op for Conv2d {
    fn kind(&self) -> &'static str {
        "Conv2d"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        std::iter::once(self.weight).chain(self.bias).collect()
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn adds(&self) -> bool {
        true
    }

    fn grad_route(&self, which: usize) -> GradRoute {
        if which == 0 { GradRoute::Write } else { GradRoute::Same }
    }

    fn skips_input_grad(&self) -> bool {
        true
    }

    fn multiply_adds(&self, site: &Site, weights: usize) -> usize {
        // Every weight is used once at every output position.
        weights * site.output.positions()
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let ForwardStep { inputs: [input, residual], parameters, output, .. } = step;
        let shape = shape(site, self.window, self.groups);
        let weight = self.window.spread(&parameters[self.weight.0]);
        let bias = self.bias.map(|bias| parameters[bias.0].as_slice());
        let residual = self.residual.then_some(residual);
        match step.precision == Precision::Bf16 && bf16::fits(&shape) {
            true => {
                let maps = &mut step.state.maps;
                maps.write(sizes(site.batch, site.input()), input);
                let weights = PackedWeights::forward(&shape, &weight, bias);
                bf16::conv2d_to_planes(&weights, maps, residual, false, output);
            }
            false => conv2d_fused(&shape, input, &weight, bias, residual, false, output),
        }
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { input, by_output, by_inputs: [by_input, _], gradients, maps, .. } = step;
        let shape = shape(site, self.window, self.groups);
        let in_bf16 = step.precision == Precision::Bf16 && bf16::fits(&shape);
        if in_bf16 {
            maps.write(sizes(site.batch, site.output), by_output);
        }
        self.by_weight(&mut gradients[self.weight.0], |by_weight| match in_bf16 {
            true => bf16::conv2d_weight_grad(&shape, &step.state.maps, maps, by_weight),
            false => conv2d_weight_grad(&shape, input, by_output, by_weight),
        });
        if let Some(bias) = self.bias {
            conv2d_bias_grad(&shape, by_output, &mut gradients[bias.0]);
        }
        if let Some(by_input) = by_input {
            let weight = self.window.spread(&step.parameters[self.weight.0]);
            match in_bf16 {
                true => {
                    let weights = PackedWeights::input_grad(&shape, &weight);
                    bf16::conv2d_to_planes(&weights, maps, None, false, by_input.values);
                }
                false => conv2d_input_grad(&shape, &weight, by_output, by_input.values),
            }
        }
    }

    fn on_maps(&self, site: &Site) -> Option<&dyn OnMaps> {
        bf16::fits(&shape(site, self.window, self.groups)).then_some(self)
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenConv2d {
            name: values.specs[self.weight.0].name.clone(),
            weight_shape: values.specs[self.weight.0].shape.clone(),
            weight: values.parameters[self.weight.0].clone(),
            bias: self.bias.map(|bias| values.parameters[bias.0].clone()),
            window: self.window,
            groups: self.groups,
            residual: self.residual,
            relu: false,
        })
    }

    fn folds(&self) -> bool {
        !self.residual
    }

    fn fold(&self, norm: &FrozenNorm, values: Values<'_>) -> Option<Box<dyn FrozenOp>> {
        let FrozenNorm { constants: [gamma, beta, mean, variance], epsilon, residual, relu } = norm;
        let weight = &values.parameters[self.weight.0];
        let channels = gamma.len();
        let per_channel = weight.len() / channels.max(1);
        let mut folded = Vec::with_capacity(weight.len());
        let mut folded_bias = Vec::with_capacity(channels);
        for channel in 0..channels {
            let scale = gamma[channel] / (variance[channel] + epsilon).sqrt();
            let bias = self.bias.map_or(0.0, |bias| values.parameters[bias.0][channel]);
            let row = &weight[channel * per_channel..(channel + 1) * per_channel];
            folded.extend(row.iter().map(|w| w * scale));
            folded_bias.push(beta[channel] + (bias - mean[channel]) * scale);
        }
        Some(Box::new(FrozenConv2d {
            name: values.specs[self.weight.0].name.clone(),
            weight_shape: values.specs[self.weight.0].shape.clone(),
            weight: folded,
            bias: Some(folded_bias),
            window: self.window,
            groups: self.groups,
            residual: *residual,
            relu: *relu,
        }))
    }

    fn burn(&self, site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let ConvWindow { kernel: [rows, columns], stride, padding, dilation } = self.window;
        let channels = site.input().channels;
        let shape = [site.output.channels, channels / self.groups, rows, columns];
        let weight = step.parameters[self.weight.0].clone().reshape(shape);
        let bias = self.bias.map(|bias| step.parameters[bias.0].clone());
        let options = ConvOptions::new(stride, padding, dilation, self.groups);
        let mut inputs = step.inputs.into_iter();
        let input = inputs.next().expect("a convolution reads a value");
        let result = conv2d(input, weight, bias, options);
        inputs.next().map_or(result.clone(), |residual| result + residual)
    }
}

impl OnMaps for Conv2d {
    fn forward(&self, site: &Site, step: MapsForward<'_>) {
        let shape = shape(site, self.window, self.groups);
        let weight = self.window.spread(&step.parameters[self.weight.0]);
        let bias = self.bias.map(|bias| step.parameters[bias.0].as_slice());
        let weights = PackedWeights::forward(&shape, &weight, bias);
        let epilogue = Epilogue { residual: step.residual, relu: false };
        bf16::conv2d(&weights, step.input, epilogue, step.output);
    }

    fn backward(&self, site: &Site, step: MapsBackward<'_>) {
        let MapsBackward { input, by_output, by_input, there, gradients, parameters, .. } = step;
        let shape = shape(site, self.window, self.groups);
        self.by_weight(&mut gradients[self.weight.0], |by_weight| {
            bf16::conv2d_weight_grad(&shape, input, by_output, by_weight);
        });
        if let Some(bias) = self.bias {
            channel_sums(by_output, &mut gradients[bias.0]);
        }
        if let Some(by_input) = by_input {
            let weight = self.window.spread(&parameters[self.weight.0]);
            let weights = PackedWeights::input_grad(&shape, &weight);
            bf16::conv2d(&weights, by_output, Epilogue { residual: there, relu: false }, by_input);
        }
    }

    fn adds_up(&self) -> bool {
        true
    }
}

impl Conv2d {
    /// Has the gradient by the weight computed for a kernel without dilation.
    fn by_weight(&self, by_weight: &mut [f32], compute: impl FnOnce(&mut [f32])) {
        if self.window.dilation == [1; 2] {
            return compute(by_weight);
        }
        let mut by_spread = self.window.spread(by_weight).into_owned();
        compute(&mut by_spread);
        self.window.gather(&by_spread, by_weight);
    }
}

/// The convolution of an inference plan, a batch norm folded in where one follows it.
#[derive(Debug)]
struct FrozenConv2d {
    /// State-dict name of the weight.
    name: String,
    weight_shape: Vec<usize>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    window: ConvWindow,
    groups: usize,
    residual: bool,
    relu: bool,
}

impl FrozenOp for FrozenConv2d {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, residual], activate, output, .. } = step;
        conv2d_fused(
            &shape(site, self.window, self.groups),
            input,
            &self.window.spread(&self.weight),
            self.bias.as_deref(),
            self.residual.then_some(residual),
            self.relu && activate,
            output,
        );
    }

    fn on_maps(&self, site: &Site) -> Option<Box<dyn MapsOp>> {
        let shape = shape(site, self.window, self.groups);
        bf16::fits(&shape).then(|| {
            let weight = self.window.spread(&self.weight);
            let weights = PackedWeights::forward(&shape, &weight, self.bias.as_deref());
            Box::new(MapsConv2d { weights, relu: self.relu }) as Box<dyn MapsOp>
        })
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        // A linear layer at each position has a weight without rows and columns.
        let mut weight_shape = self.weight_shape.clone();
        weight_shape.resize(4, 1);
        let mut read = vec![constants.floats(&self.name, &weight_shape, &self.weight)];
        if let Some(bias) = &self.bias {
            let name = format!("{}.bias", self.name.trim_end_matches(".weight"));
            read.push(constants.floats(&name, &[bias.len()], bias));
        }
        let conv = Link::new("Conv").reading(read);
        conv.with_conv_window(self.window).with_int("group", self.groups).then(second, self.relu)
    }
}

/// The same between maps of bfloat16.
#[derive(Debug)]
struct MapsConv2d {
    weights: PackedWeights,
    relu: bool,
}

impl MapsOp for MapsConv2d {
    fn run(&self, step: MapsStep<'_>) {
        let epilogue = Epilogue { residual: step.residual, relu: self.relu && step.activate };
        bf16::conv2d(&self.weights, step.input, epilogue, step.output);
    }
}
