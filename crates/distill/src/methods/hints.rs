//! FitNet's hints: a regressor from a student's map to a teacher's map, and their squared difference.
//!
//! Which regressor, by the sizes s of the student's and t of the teacher's map:
//! ```text
//! s = 2t     3×3 convolution of stride 2, padding 1
//! 2s = t     transposed 4×4 convolution of stride 2, padding 1
//! s ≥ t      convolution of size 1 + s - t without padding
//! otherwise  bilinear to t, then a 3×3 convolution of padding 1
//! ```
//! each with bias, then batch norm and ReLU. The first three are those of the released benchmarks,
//! which do not know the last case.

use burn::Tensor;
use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, Initial, MapShape, ParameterSpec};

use super::layers::{Parameters, batch_norm_relu, doubling_convolution, parameter};
use super::{Connector, Needs, Shapes, Step};
use crate::tap::Tap;

/// Hints at one feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hints {
    /// Number of the feature tap, of student and teachers.
    pub(super) stage: usize,
}

impl Hints {
    fn tap(self) -> Tap {
        Tap::Feature(self.stage)
    }

    pub(super) fn needs(self) -> Needs {
        Needs {
            teacher_taps: vec![self.tap()],
            student_taps: vec![self.tap()],
            connector_taps: vec![self.tap()],
            trained_parts: true,
            ..Needs::default()
        }
    }

    pub(super) fn connectors(self, shapes: &Shapes) -> Vec<Connector> {
        let student = shapes.student[&self.tap()];
        let teachers = shapes.teachers.iter().map(|taps| taps[&self.tap()]);
        teachers
            .filter(|teacher| !is_double(student, *teacher))
            .map(|teacher| Connector { tap: self.tap(), graph: regressor(student, teacher) })
            .collect()
    }

    pub(super) fn parameters(self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let student = shapes.student[&self.tap()];
        let mut specs = Vec::new();
        for (k, taps) in shapes.teachers.iter().enumerate() {
            let teacher = taps[&self.tap()];
            if is_double(student, teacher) {
                let out = teacher.channels;
                // PyTorch counts the outputs of a transposed convolution as its fan-in.
                let initial = Initial::UniformFanIn { fan_in: out * 16 };
                let name = |kind: &str| format!("regressor.{k}.{kind}");
                specs.push(parameter(name("weight"), &[student.channels, out, 4, 4], initial));
                specs.push(parameter(name("bias"), &[out], initial));
                specs.push(parameter(name("bn.weight"), &[out], Initial::Ones));
                specs.push(parameter(name("bn.bias"), &[out], Initial::Zeros));
            }
        }
        specs
    }

    /// For each teacher the mean squared difference of its map and the regressed map, `[1]`. The
    /// hint's taps are the first of each list, its connectors and parameters the only ones.
    pub(super) fn errors(self, step: &Step) -> Vec<Tensor<1>> {
        let student = &step.student_maps[0];
        let mut connected = step.connected_maps.iter();
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
                    connected.next().expect("one connector for every other teacher").clone()
                };
                (regressed - teacher).square().mean()
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
    let (from, config) = if is_double(teacher, student) {
        (input, Conv2dConfig::new(out, 3, 2))
    } else if let Some(surplus) = surplus.filter(|s| teacher.width + s == student.width) {
        (input, Conv2dConfig { padding: 0, ..Conv2dConfig::new(out, 1 + surplus, 1) })
    } else {
        (graph.resize(input, teacher.height, teacher.width), Conv2dConfig::new(out, 3, 1))
    };
    let convolved =
        graph.conv2d("conv", from, config.with_bias()).expect("each kernel fits its map");
    graph.batch_norm("bn", convolved, None, true);
    graph.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_regressor_ends_at_the_teachers_shape() {
        let sides = [(8, 8), (4, 4), (8, 6), (1, 1), (5, 7), (16, 16)];
        for student in sides.map(|(h, w)| MapShape::new(3, h, w)) {
            for teacher in sides.map(|(h, w)| MapShape::new(5, h, w)) {
                if !is_double(student, teacher) {
                    let graph = regressor(student, teacher);
                    assert_eq!(graph.shape(graph.output()), teacher, "{student}");
                }
            }
        }
    }
}
