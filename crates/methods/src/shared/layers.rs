//! Small layers on the tape, for trained parts that a graph cannot express, and the handing out of a
//! method's flat parameters.

use burn::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{adaptive_avg_pool2d, conv_transpose2d, conv2d, interpolate};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions};
use faculty_nets::{Init, ParameterSpec};

/// Added to variances, as everywhere.
const EPSILON: f32 = 1e-5;

/// The parameters of a step in the order of their specifications.
pub(crate) struct Parameters<'a> {
    rest: std::slice::Iter<'a, Tensor<1>>,
}

impl<'a> Parameters<'a> {
    pub(crate) fn new(parameters: &'a [Tensor<1>]) -> Self {
        Self { rest: parameters.iter() }
    }

    /// The next one, in its shape.
    pub(crate) fn next<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let flat = self.rest.next().expect("as many parameters as the method specified");
        flat.clone().reshape(shape)
    }
}

pub(crate) fn parameter(name: String, shape: &[usize], initial: Init) -> ParameterSpec {
    ParameterSpec { name, shape: shape.to_vec(), initial }
}

/// 1×1 convolution: map `[batch, in, height, width]`, weight `[out, in]`, bias `[out]`.
pub(crate) fn conv1x1(map: Tensor<4>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let [batch, channels, height, width] = map.dims();
    let out = weight.dims()[0];
    let mixed = weight.unsqueeze::<3>().matmul(map.reshape([batch, channels, height * width]));
    let mixed = mixed.reshape([batch, out, height, width]);
    match bias {
        Some(bias) => mixed + bias.reshape([1, out, 1, 1]),
        None => mixed,
    }
}

/// Batch norm by the batch's own statistics, then ReLU; `gamma` and `beta` are `[channels]`.
///
/// No running statistics: these layers are gone after training.
pub(crate) fn batch_norm_relu(map: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<4> {
    relu(batch_norm(map, gamma, beta))
}

/// The same without ReLU.
pub(crate) fn batch_norm(map: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<4> {
    let channels = map.dims()[1];
    let centred = map.clone() - map.mean_dims(&[0, 2, 3]);
    let variance = centred.clone().square().mean_dims(&[0, 2, 3]);
    let scale = gamma.reshape([1, channels, 1, 1]) / (variance + EPSILON).sqrt();
    centred * scale + beta.reshape([1, channels, 1, 1])
}

/// To another size: adaptive average pooling in a direction that shrinks, bilinear (corners not
/// aligned) in one that grows.
pub(crate) fn resize(map: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, _, rows, columns] = map.dims();
    let (low, narrow) = (rows.min(height), columns.min(width));
    let map = if (low, narrow) == (rows, columns) {
        map
    } else {
        adaptive_avg_pool2d(map, [low, narrow])
    };
    if (low, narrow) == (height, width) {
        return map;
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
        .with_align_corners(false)
        .with_output_size([height, width]);
    interpolate(map, options)
}

/// To a larger size by repeating positions.
pub(crate) fn repeat_to(map: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, _, rows, columns] = map.dims();
    if (rows, columns) == (height, width) {
        return map;
    }
    let options = InterpolateOptions::new(InterpolateMode::Nearest)
        .with_align_corners(false)
        .with_output_size([height, width]);
    interpolate(map, options)
}

/// 3×3 convolution of stride 1 and padding 1 without bias; weight `[out, in, 3, 3]`.
pub(crate) fn conv3x3(map: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    conv2d(map, weight, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

/// Transposed 4×4 convolution of stride 2 and padding 1, which doubles a map; weight
/// `[in, out, 4, 4]`, bias `[out]`.
pub(crate) fn doubling_convolution(
    map: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
) -> Tensor<4> {
    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
    conv_transpose2d(map, weight, Some(bias), options)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use faculty_nets::{Conv2dConfig, GraphBuilder, MapShape, Network, TrainingRun};

    use super::*;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn layers_agree_with_those_of_the_networks() {
        let (batch, from) = (3, MapShape::new(4, 6, 4));
        // Down in one direction and up in both.
        for (height, width) in [(6, 4), (3, 2), (9, 8)] {
            let (mut graph, input) = GraphBuilder::new(from);
            let resized = graph.resize(input, height, width);
            let config = Conv2dConfig::new(5, 1, 1).with_bias();
            let convolved = graph.conv2d("conv", resized, config).unwrap();
            graph.batch_norm("bn", convolved, None, true);
            let mut network = Network::from_graph("reference", graph.finish(), 3);
            let images = numbers(batch * 4 * 6 * 4);
            let mut run = TrainingRun::new();
            run.forward(&mut network, &images, batch);
            let want = run.value(network.graph().output());

            let parameters = network.parameters();
            let map = resize(tensor(&images, [batch, 4, 6, 4]), height, width);
            let map =
                conv1x1(map, tensor(&parameters[0], [5, 4]), Some(tensor(&parameters[1], [5])));
            let got = values(batch_norm_relu(
                map,
                tensor(&parameters[2], [5]),
                tensor(&parameters[3], [5]),
            ));
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < 1e-4, "{height}×{width}: {got} and {want}");
            }
        }
    }

    #[test]
    fn the_doubling_convolution_spreads_each_position_over_its_kernel() {
        // One position, weight w: the four outputs around it are the kernel's centre.
        let kernel = numbers(16);
        let got = doubling_convolution(
            tensor(&[2.0], [1, 1, 1, 1]),
            tensor(&kernel, [1, 1, 4, 4]),
            tensor(&[0.5], [1]),
        );
        assert_eq!(got.dims(), [1, 1, 2, 2]);
        let want = [5, 6, 9, 10].map(|i| 2.0 * kernel[i] + 0.5);
        for (got, want) in values(got).iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} and {want}");
        }
    }
}
