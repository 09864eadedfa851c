//! FitNet's hints: a regressor from a student's map to a teacher's map, and their squared difference.
//!
//! Which regressor, by the sizes s of the student's and t of the teacher's map:
//! ```text
//! s = 2t     3×3 convolution of stride 2, padding 1
//! 2s = t     transposed 4×4 convolution of stride 2, padding 1
//! s ≥ t      convolution of size 1 + s - t without padding
//! otherwise  3×3 convolution of padding 1, and the teacher's map resized to s
//! ```
//! each with bias, then batch norm and ReLU, as in the released benchmarks, and with PyTorch's default
//! start: weight and bias uniform in ±1/√fan-in (of a transposed convolution: outputs × 16).

use burn::Tensor;
use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, Init, MapShape, ParameterSpec};

use crate::shared::features::sample_means;
use crate::shared::layers::{Parameters, batch_norm_relu, doubling_convolution, parameter, resize};
use crate::{Needs, Parts, Projector, Shapes, Step};
use faculty_nets::Tap;

/// Hints at one feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Number of the feature tap, of student and teachers.
    pub(crate) stage: usize,
}

impl Hints {
    fn tap(self) -> Tap {
        Tap::Feature(self.stage)
    }

    pub(crate) fn needs(self) -> Needs {
        Needs {
            teacher_taps: vec![self.tap()],
            student_taps: vec![self.tap()],
            projector_taps: vec![self.tap()],
            trained_parts: true,
            ..Needs::default()
        }
    }

    pub(crate) fn parts(self, shapes: &Shapes) -> Parts {
        let parameters = self.parameters(shapes);
        Parts {
            projectors: self.projectors(shapes),
            // Batch norm of a transposed convolution is computed on the tape.
            batch_statistics: !parameters.is_empty(),
            parameters,
            ..Parts::default()
        }
    }

    fn projectors(self, shapes: &Shapes) -> Vec<Projector> {
        let student = shapes.student[&self.tap()];
        let teachers = shapes.teachers.iter().map(|taps| taps[&self.tap()]);
        teachers
            .filter(|teacher| !is_double(student, *teacher))
            .map(|teacher| Projector { tap: self.tap(), graph: regressor(student, teacher) })
            .collect()
    }

    fn parameters(self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let student = shapes.student[&self.tap()];
        let mut specs = Vec::new();
        for (k, taps) in shapes.teachers.iter().enumerate() {
            let teacher = taps[&self.tap()];
            if is_double(student, teacher) {
                let out = teacher.channels;
                // PyTorch counts the outputs of a transposed convolution as its fan-in.
                let initial = Init::UniformFanIn { fan_in: out * 16 };
                let name = |kind: &str| format!("regressor.{k}.{kind}");
                specs.push(parameter(name("weight"), &[student.channels, out, 4, 4], initial));
                specs.push(parameter(name("bias"), &[out], initial));
                specs.push(parameter(name("bn.weight"), &[out], Init::Ones));
                specs.push(parameter(name("bn.bias"), &[out], Init::Zeros));
            }
        }
        specs
    }

    /// For each teacher and sample the mean squared difference of the teacher's map and the
    /// regressed map, `[batch]`. The hint's taps are the first of each list, its projectors and parameters the only ones.
    pub(crate) fn errors(self, step: &Step) -> Vec<Tensor<1>> {
        let student = &step.student_maps[0];
        let mut projected = step.projected_maps.iter();
        let mut parameters = Parameters::new(&step.parameters);
        step.teacher_maps
            .iter()
            .map(|maps| {
                let teacher = maps[0].clone();
                let [_, out, ..] = teacher.dims();
                let regressed = if is_double(shape(student), shape(&teacher)) {
                    let weight = parameters.next([student.dims()[1], out, 4, 4]);
                    let bias = parameters.next([out]);
                    let doubled = doubling_convolution(student.clone(), weight, bias);
                    batch_norm_relu(doubled, parameters.next([out]), parameters.next([out]))
                } else {
                    projected.next().expect("one projector for every other teacher").clone()
                };
                let [_, _, height, width] = regressed.dims();
                sample_means((regressed - resize(teacher, height, width)).square())
            })
            .collect()
    }
}

fn shape(map: &Tensor<4>) -> MapShape {
    let [_, channels, height, width] = map.dims();
    MapShape::new(channels, height, width)
}

fn is_double(student: MapShape, teacher: MapShape) -> bool {
    (2 * student.height, 2 * student.width) == (teacher.height, teacher.width)
}

fn regressor(student: MapShape, teacher: MapShape) -> Graph {
    let (mut graph, input) = GraphBuilder::new(student);
    let out = teacher.channels;
    let surplus = student.height.checked_sub(teacher.height);
    let config = if is_double(teacher, student) {
        Conv2dConfig::new(out, 3, 2)
    } else if let Some(surplus) = surplus.filter(|s| teacher.width + s == student.width) {
        Conv2dConfig { padding: 0, ..Conv2dConfig::new(out, 1 + surplus, 1) }
    } else {
        Conv2dConfig::new(out, 3, 1)
    };
    let convolved =
        graph.conv2d("conv", input, config.with_bias()).expect("each kernel fits its map");
    graph.batch_norm("bn", convolved, None, true);
    graph.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, Int, TensorData};

    use super::*;

    #[test]
    fn every_regressor_ends_at_the_size_of_the_teacher_or_keeps_its_own() {
        let sides = [(8, 8), (4, 4), (8, 6), (1, 1), (5, 7), (16, 16), (11, 11)];
        for student in sides.map(|(h, w)| MapShape::new(3, h, w)) {
            for teacher in sides.map(|(h, w)| MapShape::new(5, h, w)) {
                if is_double(student, teacher) {
                    continue;
                }
                let graph = regressor(student, teacher);
                let kept = MapShape { channels: 5, ..student };
                assert!([teacher, kept].contains(&graph.shape(graph.output())), "{student}");
                let square = student.height == student.width && teacher.height == teacher.width;
                if square && student.height >= teacher.height {
                    assert_eq!(graph.shape(graph.output()), teacher, "{student}");
                }
            }
        }
    }

    #[test]
    fn a_teacher_of_double_size_gets_a_transposed_convolution_that_trains() {
        let tap = Tap::Feature(2);
        let shape = |channels, side| BTreeMap::from([(tap, MapShape::new(channels, side, side))]);
        let shapes = Shapes {
            classes: 2,
            batch_size: 2,
            samples: 0,
            student: shape(3, 2),
            teachers: vec![shape(5, 4), shape(4, 2)],
        };
        let hints = Hints { stage: 2 };
        assert_eq!(hints.projectors(&shapes).len(), 1);
        let device = Device::flex().autodiff();
        let numbers = |len: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 31 + 7) % 17) as f32 / 8.0 - 1.0).collect()
        };
        let parameters: Vec<Tensor<1>> = hints
            .parameters(&shapes)
            .iter()
            .map(|spec| {
                let len = spec.shape.iter().product();
                Tensor::from_data(TensorData::new(numbers(len), [len]), &device).require_grad()
            })
            .collect();
        assert_eq!(parameters.len(), 4);
        let map = |channels: usize, side: usize| -> Tensor<4> {
            let values = numbers(2 * channels * side * side);
            Tensor::from_data(TensorData::new(values, [2, channels, side, side]), &device)
        };
        let student = map(3, 2).require_grad();
        let step = Step {
            student_maps: vec![student.clone()],
            projected_maps: vec![map(4, 2)],
            parameters: parameters.clone(),
            teacher_maps: vec![vec![map(5, 4)], vec![map(4, 2)]],
            ..Step::of_logits(
                Tensor::<1, Int>::zeros([2], &device),
                Tensor::zeros([2, 2], &device),
                Tensor::zeros([2, 2, 2], &device),
            )
        };
        let errors = hints.errors(&step);
        let gradients = errors[0].clone().mean().backward();
        for leaf in [&parameters[0], &parameters[2], &parameters[3]] {
            let gradient = leaf.grad(&gradients).unwrap().abs().sum().into_scalar::<f32>();
            assert!(gradient > 1e-4, "{gradient}");
        }
        assert!(student.grad(&gradients).is_some());
        // The second teacher's map is the projected one.
        assert_eq!(errors[1].clone().sum().into_scalar::<f32>(), 0.0);
    }
}
