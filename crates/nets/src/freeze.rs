//! Parts of a network that training leaves as they are.

use std::sync::Arc;

use crate::graph::Graph;
use crate::network::Network;
use crate::parameter::ParameterId;

impl Network {
    /// Freezes the parameters whose names begin with the keys of `prefix`: `layer1` means
    /// `layer1.0.conv1.weight`, but not `layer10.…`. Gives how many parameters these are.
    ///
    /// A batch norm that is frozen normalises by its running statistics from then on, and leaves
    /// them as they are.
    pub fn freeze(&mut self, prefix: &str) -> usize {
        let is_below = |name: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let names = self.graph().parameters().iter().enumerate();
        let ids: Vec<ParameterId> = names
            .filter(|(_, spec)| is_below(&spec.name))
            .map(|(index, _)| ParameterId(index))
            .collect();
        self.change_graph(|graph| {
            graph.frozen.extend(&ids);
            graph.frozen.sort_unstable_by_key(|id| id.0);
            graph.frozen.dedup();
        });
        ids.len()
    }

    fn change_graph(&mut self, change: impl FnOnce(&mut Graph)) {
        let mut graph = Graph::clone(self.graph());
        change(&mut graph);
        self.set_graph(Arc::new(graph));
    }
}

impl Graph {
    /// Every run of keys that begins the name of a parameter: `layer1`, `layer1.0`, ….
    #[must_use]
    pub fn prefixes(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for spec in &self.parameters {
            let ends = spec.name.match_indices('.').map(|(end, _)| end).chain([spec.name.len()]);
            for prefix in ends.map(|end| &spec.name[..end]) {
                if !all.iter().any(|known| known == prefix) {
                    all.push(prefix.to_owned());
                }
            }
        }
        all
    }

    /// Whether a node is a norm that is frozen, and so keeps its running statistics.
    pub(crate) fn keeps_statistics(&self, node: usize) -> bool {
        let op = &self.nodes[node].op;
        op.is_norm() && op.parameters().iter().all(|id| self.frozen.contains(id))
    }

    /// For each node whether a parameter that is trained is in it or in front of it: no other node
    /// has a gradient to pass on.
    pub(crate) fn reaches_trained(&self) -> Vec<bool> {
        let mut reaches = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let own = node.op.parameters().iter().any(|id| !self.frozen.contains(id));
            let before = node.inputs.iter().any(|input| reaches[input.0]);
            reaches.push(own || before);
        }
        reaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapShape, TrainingRun};

    fn network() -> Network {
        Network::new("resnet8", MapShape::new(1, 8, 8), 3, 1).unwrap()
    }

    #[test]
    fn a_prefix_means_whole_keys() {
        let mut own = network();
        let frozen = |own: &Network| -> Vec<String> {
            let graph = own.graph();
            graph.frozen().iter().map(|&id| graph.parameter(id).name.clone()).collect()
        };
        assert_eq!(own.freeze("layer"), 0);
        assert_eq!(own.freeze("conv1"), 1);
        assert_eq!(own.freeze("fc.bias"), 1);
        assert_eq!(frozen(&own), ["conv1.weight", "fc.bias"]);
        let of_layer = own.freeze("layer1");
        assert!(frozen(&own).iter().filter(|name| name.starts_with("layer1.")).count() == of_layer);
        // Once more changes nothing.
        let before = frozen(&own);
        assert_eq!((own.freeze("layer1"), frozen(&own)), (of_layer, before));
        let prefixes = own.graph().prefixes();
        for known in ["conv1", "layer1", "layer1.0", "layer1.0.bn1", "fc.bias"] {
            assert!(prefixes.iter().any(|own| own == known), "{known}");
        }
    }

    /// The gradients of those that are trained do not depend on what is skipped in front of them,
    /// and frozen norms compute as in inference.
    #[test]
    fn a_frozen_part_keeps_its_statistics_and_is_not_gone_back_through() {
        let image: Vec<f32> =
            (0..4 * 64).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
        let seed: Vec<f32> = (0..12).map(|i| (i % 5) as f32 - 2.0).collect();
        let step = |mut network: Network, mut run: TrainingRun| {
            let before = network.state_dict();
            run.forward(&mut network, &image, 4);
            let output = network.graph().output();
            run.backward(&network, [(output, &seed)], false);
            (before, network.state_dict(), run)
        };
        let mut part = network();
        for prefix in ["conv1", "bn1", "layer1"] {
            assert!(part.freeze(prefix) > 0);
        }
        let graph = part.graph().clone();
        let (before, after, run) = step(part.clone(), TrainingRun::new());
        for (name, array) in &after {
            let frozen = ["conv1.", "bn1.", "layer1."].iter().any(|own| name.starts_with(own));
            let moves = name.contains("running") && !frozen;
            assert_eq!(array != &before[name], moves, "{name}");
        }
        for (spec, gradient) in graph.parameters().iter().zip(run.gradients()) {
            let id = graph.parameters().iter().position(|own| own.name == spec.name).unwrap();
            let frozen = graph.frozen().iter().any(|own| own.index() == id);
            assert_eq!(gradient.iter().all(|&g| g == 0.0), frozen, "{}", spec.name);
        }
        // All norms frozen but nothing else: as a run that takes all running statistics.
        let mut norms = network();
        let prefixes = norms.graph().prefixes();
        for prefix in prefixes.iter().filter(|own| {
            let last = own.rsplit('.').next().unwrap();
            last.starts_with("bn") || own.ends_with("downsample.1")
        }) {
            norms.freeze(prefix);
        }
        let (_, _, own) = step(norms, TrainingRun::new());
        let (_, _, all) = step(network(), TrainingRun::with_frozen_statistics());
        let frozen_norm = |name: &str| name.contains("bn") || name.contains("downsample.1");
        let graph = network().graph().clone();
        for ((spec, a), b) in graph.parameters().iter().zip(own.gradients()).zip(all.gradients()) {
            assert!(a == b || frozen_norm(&spec.name), "{}", spec.name);
        }
        assert_eq!(own.value(graph.output()), all.value(graph.output()));
    }
}
