//! What must hold for every network of the table.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_nets::{Error, MapShape, NETWORKS, Network, TrainingRun, weights};

#[test]
fn names_are_those_of_the_literature() {
    let names: Vec<&str> = NETWORKS.iter().map(|info| info.name).collect();
    let expected = [
        "resnet8x0.5",
        "resnet14x0.5",
        "resnet8",
        "resnet14",
        "resnet20",
        "resnet32",
        "resnet44",
        "resnet56",
        "resnet110",
        "resnet8x4",
        "resnet20x4",
        "resnet32x4",
        "wrn_16_1",
        "wrn_16_2",
        "wrn_40_1",
        "wrn_40_2",
        "vgg8",
        "vgg11",
        "vgg13",
        "vgg16",
        "vgg19",
        "MobileNetV2",
        "ShuffleV1",
        "ShuffleV2",
        "ResNet18",
        "ResNet34",
        "ResNet50",
        "resnet18_imagenet",
        "resnet34_imagenet",
        "resnet50_imagenet",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "efficientnet_b0",
    ];
    assert_eq!(names, expected);
    assert!(NETWORKS.iter().all(|info| !info.summary.is_empty()));
}

#[test]
fn every_network_has_a_classifier_on_its_map_and_taps() {
    for info in NETWORKS {
        let graph = info.graph(MapShape::new(3, 32, 32), 100).unwrap();
        let map = graph.shape(graph.map().unwrap());
        // Of MobileNetV3 the output reads a hidden vector behind the pooled map.
        let hidden = match info.name {
            "mobilenet_v3_small" => Some(1024),
            "mobilenet_v3_large" => Some(1280),
            _ => None,
        };
        assert_eq!(graph.classifier().is_none(), hidden.is_some(), "{}", info.name);
        let inputs = hidden.unwrap_or(map.channels);
        let [weight, bias] = graph.output_layer()[..] else { panic!("{}", info.name) };
        assert_eq!(graph.parameter(weight).shape, [100, inputs], "{}", info.name);
        assert_eq!(graph.parameter(bias).shape, [100], "{}", info.name);
        let taps: Vec<MapShape> = graph.features().iter().map(|&id| graph.shape(id)).collect();
        assert!(taps.len() >= 5, "{}: {taps:?}", info.name);
        assert_eq!(taps.last(), Some(&MapShape::new(inputs, 1, 1)), "{}", info.name);
        assert_eq!(graph.shape(graph.output()), MapShape::new(100, 1, 1), "{}", info.name);
    }
}

#[test]
fn every_network_writes_and_reads_its_state_dict() {
    for info in NETWORKS {
        let shape = MapShape::new(3, 32, 32);
        let network = Network::new(info.name, shape, 7, 1).unwrap();
        let state = network.state_dict();
        let specs = network.graph().parameters().len() + network.graph().buffers().len();
        assert_eq!(state.len(), specs, "{}: two tensors of one name", info.name);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        weights::write(&path, &state, &BTreeMap::new()).unwrap();
        let mut other = Network::new(info.name, shape, 7, 2).unwrap();
        other.set_state_dict(&weights::read(&path).unwrap(), &path).unwrap();
        assert_eq!(other.parameters(), network.parameters(), "{}", info.name);
        assert_eq!(other.buffers(), network.buffers(), "{}", info.name);
        let mut fewer = state;
        let missing = fewer.keys().next().unwrap().clone();
        fewer.remove(&missing);
        let error = other.set_state_dict(&fewer, Path::new("x")).unwrap_err();
        assert!(error.to_string().contains(&missing), "{}: {error}", info.name);
    }
}

#[test]
fn torchvisions_names_are_those_of_the_large_resnets() {
    let names = |name: &str| -> Vec<String> {
        let network = Network::new(name, MapShape::new(3, 64, 64), 10, 1).unwrap();
        network.state_dict().into_keys().collect()
    };
    let basic = names("resnet18_imagenet");
    for name in ["conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "fc.bias"] {
        assert!(basic.iter().any(|n| n == name), "{name}");
    }
    assert!(basic.iter().any(|n| n == "layer4.0.downsample.1.running_mean"));
    assert!(!basic.iter().any(|n| n.starts_with("layer1.0.downsample")));
    let deep = names("resnet50_imagenet");
    for name in ["layer1.0.downsample.0.weight", "layer3.5.conv3.weight", "layer4.2.bn3.bias"] {
        assert!(deep.iter().any(|n| n == name), "{name}");
    }
}

/// Every size up to one that fits: an error that names a layer, or a network that runs.
#[test]
fn too_small_inputs_are_errors() {
    for info in NETWORKS {
        for size in 0..=9 {
            let shape = MapShape::new(3, size, size);
            match info.graph(shape, 4) {
                Ok(graph) => {
                    let elements: usize = graph.parameter_count();
                    // A large network's run would only repeat what the small ones show.
                    if elements > 2_000_000 {
                        continue;
                    }
                    let mut network = Network::new(info.name, shape, 4, 1).unwrap();
                    let input = vec![0.5; 2 * shape.elements()];
                    let mut run = TrainingRun::new();
                    run.forward(&mut network, &input, 2);
                    let output = network.graph().output();
                    run.backward(&network, [(output, vec![1.0; 8])], false);
                }
                Err(Error::InputTooSmall { layer, .. }) => assert!(!layer.is_empty()),
                Err(other) => panic!("{}: {other}", info.name),
            }
        }
        assert!(info.graph(MapShape::new(3, 0, 8), 4).is_err(), "{}", info.name);
        assert!(info.graph(MapShape::new(0, 32, 32), 4).is_err(), "{}", info.name);
        for classes in [1, 2, 1000] {
            assert!(info.graph(MapShape::new(3, 32, 32), classes).is_ok(), "{}", info.name);
        }
    }
}
