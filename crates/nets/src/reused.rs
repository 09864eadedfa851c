//! A network that ends in the classifier of another one: its last map goes through a projector to
//! as many channels as that classifier reads.
//!
//! SimKD's student (Chen et al., CVPR 2022, <https://arxiv.org/abs/2203.14001>):
//!
//! ```text
//! body of the network, up to its last map [average-pooled to H×W]
//! Conv1×1 to C/2, BN, ReLU, Conv3×3, BN, ReLU, Conv1×1 to C, BN, ReLU           projector.conv0, …
//! global average pooling, Linear                                                fc, frozen
//! ```
//! The convolutions have no bias and start as PyTorch's do by default, as in the release.
//! Its name says all this, so that a weight file with the name can be used like any other:
//! `resnet8+simkd256`, or `vgg8+simkd256@2x2` where the map is pooled first.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::{Error, Result};
use crate::graph::{Graph, MapShape};
use crate::network::{Classifier, Network};
use crate::networks::graph_of;

/// Between the name of the network and what follows it.
const MARK: &str = "+simkd";

/// Where a projector leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Channels of the projected map.
    pub channels: usize,
    /// Rows and columns that the map is average-pooled to beforehand, if it is larger.
    pub size: Option<(usize, usize)>,
}

impl Projection {
    /// From a network's map towards another one: to its channels, and to its size in a direction
    /// where it is smaller.
    #[must_use]
    pub fn between(from: MapShape, to: MapShape) -> Self {
        let size = (from.height.min(to.height), from.width.min(to.width));
        let size = Some(size).filter(|&size| size != (from.height, from.width));
        Self { channels: to.channels, size }
    }

    /// Name of the network `base` with this projector.
    fn name(self, base: &str) -> String {
        let Self { channels, size } = self;
        let size = size.map_or_else(String::new, |(height, width)| format!("@{height}x{width}"));
        format!("{base}{MARK}{channels}{size}")
    }

    /// The base's name and the projection in a name, if it is made so.
    pub(crate) fn parse(name: &str) -> Option<(&str, Self)> {
        let (base, rest) = name.split_once(MARK)?;
        let (channels, size) = match rest.split_once('@') {
            None => (rest, None),
            Some((channels, size)) => {
                let (height, width) = size.split_once('x')?;
                (channels, Some((number(height)?, number(width)?)))
            }
        };
        Some((base, Self { channels: number(channels)?, size }))
    }

    /// The graph of `base` with this projector and a frozen classifier behind it.
    pub(crate) fn applied(self, base: Graph, name: &str, classes: usize) -> Result<Graph> {
        let no_head = || Error::NoPooledClassifier { network: name.to_owned() };
        let (mut g, map) = GraphBuilder::body(base).ok_or_else(no_head)?;
        let shape = g.shape(map);
        let (height, width) = self.size.unwrap_or((shape.height, shape.width));
        if height > shape.height || width > shape.width {
            return Err(Error::InputTooSmall { layer: "projector".to_owned(), shape });
        }
        let mut x = g.resize(map, height, width);
        let inner = (self.channels / 2).max(1);
        for (layer, (channels, kernel)) in
            [(inner, 1), (inner, 3), (self.channels, 1)].into_iter().enumerate()
        {
            let config = Conv2dConfig::new(channels, kernel, 1);
            x = g.conv2d(&format!("projector.conv{layer}"), x, config)?;
            x = g.batch_norm(&format!("projector.bn{layer}"), x, None, true);
        }
        g.pooled_classifier("fc", x, classes);
        g.freeze_classifier();
        Ok(g.finish())
    }
}

/// A count without sign or leading zero, so that each network has one name; not absurdly large.
fn number(text: &str) -> Option<usize> {
    let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0')).then(|| text.parse().ok()).flatten()
}

impl Network {
    /// This network with a projector, whose start values are drawn from `seed`, and the classifier of
    /// another one, which stays as it is.
    ///
    /// # Errors
    /// When the network does not end in a pooled linear classifier, or has a foreign one already.
    ///
    /// # Panics
    /// When the classifier is not one of as many classes for as many channels.
    pub fn reusing(
        &self,
        classifier: Classifier<'_>,
        projection: Projection,
        seed: u64,
    ) -> Result<Self> {
        let name = projection.name(self.name());
        if Projection::parse(self.name()).is_some() {
            return Err(Error::AlreadyReusing { network: self.name().to_owned() });
        }
        let base = Graph::clone(self.graph());
        let graph = projection.applied(base, self.name(), self.classes())?;
        let own = self.state_dict();
        let mut network = Self::from_graph(&name, graph, seed);
        let graph = std::sync::Arc::clone(network.graph());
        let ids = graph.classifier().expect("a reused classifier is one");
        for (spec, values) in graph.parameters().iter().zip(&mut network.parameters) {
            if let Some(array) = own.get(&spec.name).filter(|array| array.shape == spec.shape) {
                values.clone_from(&array.values);
            }
        }
        for (spec, values) in graph.buffers().iter().zip(&mut network.buffers) {
            if let Some(array) = own.get(&spec.name) {
                values.clone_from(&array.values);
            }
        }
        network.parameters[ids.weight.0].copy_from_slice(classifier.weight);
        network.parameters[ids.bias.0].copy_from_slice(classifier.bias);
        Ok(network)
    }
}

/// The graph that a name with a projector stands for, if it is one.
pub(crate) fn graph(name: &str, input: MapShape, classes: usize) -> Option<Result<Graph>> {
    let (base, projection) = Projection::parse(name)?;
    let of_base = graph_of(base, input, classes);
    Some(of_base.and_then(|graph| projection.applied(graph, base, classes)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Inference, TrainingRun};

    const IMAGE: MapShape = MapShape::new(3, 16, 16);

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn reusing(base: &str, to: MapShape) -> (Network, Network, Vec<f32>) {
        let plain = Network::new(base, IMAGE, 5, 3).unwrap();
        let from = plain.graph().shape(plain.graph().map().unwrap());
        let (weight, bias) = (numbers(5 * to.channels), numbers(5));
        let classifier = Classifier { weight: &weight, bias: &bias };
        let network = plain.reusing(classifier, Projection::between(from, to), 3).unwrap();
        (plain, network, weight)
    }

    #[test]
    fn names_stand_for_one_network_each() {
        for (projection, name) in [
            (Projection { channels: 256, size: None }, "resnet8x4+simkd256"),
            (Projection { channels: 7, size: Some((4, 2)) }, "resnet8x4+simkd7@4x2"),
        ] {
            assert_eq!(projection.name("resnet8x4"), name);
            assert_eq!(Projection::parse(name), Some(("resnet8x4", projection)));
        }
        for name in ["resnet8", "resnet8+simkd", "resnet8+simkd0", "resnet8+simkd064"]
            .iter()
            .chain(&["resnet8+simkd+4", "resnet8+simkd4@4", "resnet8+simkd4@x4", "r+simkd99999"])
            .chain(&["resnet8+simkd4+simkd4", "resnet8+simkd4@4x4@2x2", "resnet8+simkd-1"])
        {
            assert_eq!(Projection::parse(name), None, "{name}");
            let built = graph_of(name, IMAGE, 5);
            assert_eq!(built.is_ok(), *name == "resnet8", "{name}");
        }
        assert!(matches!(
            graph_of("resnet8+simkd4@9x4", IMAGE, 5),
            Err(Error::InputTooSmall { .. })
        ));
        assert!(matches!(
            graph_of("nonsense+simkd4", IMAGE, 5),
            Err(Error::UnknownNetwork { name, .. }) if name == "nonsense"
        ));
    }

    #[test]
    fn the_name_alone_rebuilds_the_network() {
        // Channels 64 at 4×4: wider, narrower, smaller and larger maps.
        for (to, name) in [
            (MapShape::new(96, 4, 4), "resnet8+simkd96"),
            (MapShape::new(9, 2, 2), "resnet8+simkd9@2x2"),
            (MapShape::new(1, 8, 2), "resnet8+simkd1@4x2"),
        ] {
            let (plain, mut network, weight) = reusing("resnet8", to);
            assert_eq!(network.name(), name);
            let mut again = Network::new(name, IMAGE, 5, 99).unwrap();
            again.set_state_dict(&network.state_dict(), Path::new("same")).unwrap();
            // The body is the student's, the classifier the other's.
            let state = network.state_dict();
            let shared = plain.state_dict().into_iter().filter(|(n, _)| !n.starts_with("fc."));
            for (name, array) in shared {
                assert_eq!(state[&name].values, array.values, "{name}");
            }
            assert_eq!(network.classifier().unwrap().weight, weight);

            let images = numbers(2 * IMAGE.elements());
            let mut run = TrainingRun::new();
            run.forward(&mut network, &images, 2);
            let map = network.graph().map().unwrap();
            let shape = network.graph().shape(map);
            assert_eq!(shape.channels, to.channels);
            assert_eq!((shape.height, shape.width), (4.min(to.height), 4.min(to.width)));
            let plain_logits = Inference::new(&network, &[]).run(&images, 2).to_vec();
            again.set_state_dict(&network.state_dict(), Path::new("same")).unwrap();
            assert_eq!(Inference::new(&again, &[]).run(&images, 2), plain_logits);
        }
    }

    #[test]
    fn only_the_classifier_is_frozen() {
        let (_, network, _) = reusing("resnet8", MapShape::new(6, 4, 4));
        let graph = network.graph();
        let frozen: Vec<&str> =
            graph.frozen().iter().map(|&id| graph.parameter(id).name.as_str()).collect();
        assert_eq!(frozen, ["fc.weight", "fc.bias"]);
        assert!(Network::new("resnet8", IMAGE, 5, 1).unwrap().graph().frozen().is_empty());
    }

    #[test]
    fn every_network_of_the_table_can_be_projected() {
        let image = MapShape::new(3, 32, 32);
        for info in crate::NETWORKS {
            let name = format!("{}+simkd8", info.name);
            let graph = graph_of(&name, image, 10).unwrap_or_else(|e| panic!("{name}: {e}"));
            let names: std::collections::BTreeSet<_> =
                graph.parameters().iter().map(|p| &p.name).collect();
            assert_eq!(names.len(), graph.parameters().len(), "{name}: names are unique");
        }
    }

    #[test]
    fn a_second_projector_is_refused() {
        let (_, network, weight) = reusing("resnet8", MapShape::new(6, 4, 4));
        let classifier = Classifier { weight: &weight, bias: &[0.0; 5] };
        let projection = Projection { channels: 6, size: None };
        let error = network.reusing(classifier, projection, 1).unwrap_err();
        assert!(matches!(error, Error::AlreadyReusing { .. }), "{error}");
        assert!(error.hint().unwrap().contains("`resnet8`"), "{error}");
    }
}
