//! What newer networks for images have beside convolutions and norms: activations by themselves,
//! gates, dropout, and a hidden layer in front of the output.

use super::GraphBuilder;
use crate::activation_kind::ActivationKind;
use crate::op::global_avg_pool::GlobalAvgPool;
use crate::op::product::Product;
use crate::op::stochastic_depth::StochasticDepth;
use crate::op::sum::Sum;
use crate::parameter::ValueId;
use crate::shape::MapShape;

impl GraphBuilder {
    /// An activation of each number.
    pub fn activation(&mut self, input: ValueId, kind: ActivationKind) -> ValueId {
        let shape = self.shape(input);
        self.push(kind.op(), [input], shape)
    }

    /// The mean of each channel, `[channels, 1, 1]`.
    pub fn global_avg_pool(&mut self, map: ValueId) -> ValueId {
        let channels = self.shape(map).channels;
        self.push(GlobalAvgPool, [map], MapShape::new(channels, 1, 1))
    }

    /// `map · gate`, number by number, or each channel by its number where `gate` is
    /// `[channels, 1, 1]` (squeeze-and-excitation).
    ///
    /// # Panics
    /// When the shapes are others, or the two are one value.
    pub fn product(&mut self, map: ValueId, gate: ValueId) -> ValueId {
        let (shape, other) = (self.shape(map), self.shape(gate));
        let fits = other == shape || other == MapShape::new(shape.channels, 1, 1);
        assert!(map != gate && fits, "a gate {other} on a map {shape}");
        self.push(Product, [map, gate], shape)
    }

    /// The sum of two values of one shape.
    ///
    /// # Panics
    /// When the shapes differ, or the two are one value.
    pub fn sum(&mut self, first: ValueId, second: ValueId) -> ValueId {
        let (shape, other) = (self.shape(first), self.shape(second));
        assert!(first != second && shape == other, "a sum of {shape} and {other}");
        self.push(Sum, [first, second], shape)
    }

    /// Stochastic depth in training: a sample's branch is left out with `probability`, in `0..1`;
    /// `branch` itself where none is.
    pub fn stochastic_depth(&mut self, branch: ValueId, probability: f32) -> ValueId {
        if probability <= 0.0 {
            return branch;
        }
        // Each operation draws for itself.
        let layer = self.graph.nodes.len();
        self.push(StochasticDepth { probability, layer }, [branch], self.shape(branch))
    }

    /// The output `name`, a linear layer on a vector made of the pooled `map`. Sets
    /// [`Graph::map`](crate::Graph::map), the last feature tap (the vector, without dropout if that
    /// stands in front of the layer), and [`Graph::classifier`](crate::Graph::classifier) if the vector
    /// is the pooled map itself: networks with a hidden layer there have none.
    pub fn vector_classifier(
        &mut self,
        name: &str,
        map: ValueId,
        vector: ValueId,
        classes: usize,
    ) -> ValueId {
        let node = |id: ValueId| &self.graph.nodes[id.0];
        let is_dropped = node(vector).op.kind() == "Dropout";
        let whole = if is_dropped { node(vector).inputs[0] } else { vector };
        let is_pooled = node(whole).op.kind() == "GlobalAvgPool" && node(whole).inputs == [map];
        let ids = self.linear_ids(name, self.shape(vector).elements(), classes);
        self.graph.map = Some(map);
        self.graph.classifier = is_pooled.then_some(ids);
        self.feature(whole);
        self.linear_of(vector, ids, classes)
    }
}
