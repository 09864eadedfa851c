//! A student that takes over another network's classifier.

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::network::{Classifier, Network};
use crate::teacher_head::Projection;

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Inference, MapShape, TrainingRun, graph_of};

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
