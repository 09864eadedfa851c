//! Networks that start from trained weights: what fits is taken, what does not is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use faculty_nets::weights::{self, StateDict, WeightFile};
use faculty_nets::{Inference, MapShape, Network};

const SIDE: usize = 32;

fn image(channels: usize) -> MapShape {
    MapShape::new(channels, SIDE, SIDE)
}

fn trained(name: &str, channels: usize, classes: usize) -> Network {
    Network::new(name, image(channels), classes, 77).unwrap()
}

fn written(folder: &tempfile::TempDir, state: &StateDict) -> PathBuf {
    let path = folder.path().join("weights.safetensors");
    weights::write(&path, state, &BTreeMap::new()).unwrap();
    path
}

/// A network of `name` for these images and classes that starts from `state`.
fn started(
    name: &str,
    channels: usize,
    classes: usize,
    state: &StateDict,
) -> faculty_nets::Result<(Network, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut file = WeightFile::open(&written(&folder, state), None)?;
    Network::pretrained(name, image(channels), classes, 5, &mut file)
}

/// Names of the tensors that are not those of `state`.
fn other(network: &Network, state: &StateDict) -> Vec<String> {
    let own = network.state_dict().into_iter();
    own.filter(|(name, array)| state.get(name) != Some(array)).map(|(name, _)| name).collect()
}

/// Logits for `[1, channels, …]`.
fn logits(network: &Network, pixels: &[f32]) -> Vec<f32> {
    Inference::new(network, &[]).run(pixels, 1).to_vec()
}

fn grey() -> Vec<f32> {
    (0..SIDE * SIDE).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect()
}

#[test]
fn everything_is_taken_from_a_file_of_the_same_classes_and_channels() {
    for name in ["resnet8", "vgg8", "MobileNetV2", "ShuffleV2", "wrn_16_1"] {
        let own = trained(name, 3, 7);
        let (network, notes) = started(name, 3, 7, &own.state_dict()).unwrap();
        assert!(network.state_dict() == own.state_dict() && notes.is_empty(), "{name}: {notes:?}");
    }
}

#[test]
fn a_classifier_of_other_classes_or_none_starts_anew_and_the_rest_is_taken() {
    for name in ["resnet8", "vgg8", "MobileNetV2", "ShuffleV1"] {
        let own = trained(name, 3, 7);
        let state = own.state_dict();
        let (network, notes) = started(name, 3, 4, &state).unwrap();
        let fresh = Network::new(name, image(3), 4, 5).unwrap().state_dict();
        let anew = other(&network, &state);
        assert_eq!(anew.len(), 2, "{name}: {anew:?}");
        for layer in &anew {
            assert!(network.state_dict()[layer] == fresh[layer], "{name}: {layer}");
        }
        let layer = anew[0].rsplit_once('.').unwrap().0;
        let expected =
            format!("classifier `{layer}` starts anew: the file's has 7 classes, the data have 4");
        assert_eq!(notes, [expected], "{name}");
        // A backbone alone.
        let body: StateDict =
            state.into_iter().filter(|(tensor, _)| !anew.contains(tensor)).collect();
        let (network, notes) = started(name, 3, 4, &body).unwrap();
        assert_eq!(other(&network, &body), anew, "{name}");
        assert_eq!(notes, [format!("classifier `{layer}` starts anew: the file has none")]);
    }
}

#[test]
fn grey_pictures_give_what_they_gave_in_colour_and_the_other_way_round() {
    for name in ["resnet8", "vgg8", "MobileNetV2"] {
        let close = |a: &[f32], b: &[f32]| {
            let largest = b.iter().fold(1e-3_f32, |most, z| most.max(z.abs()));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * largest), "{a:?} {b:?}");
        };
        let (one, three) = (grey(), [grey(), grey(), grey()].concat());
        let colour = trained(name, 3, 5);
        let (network, notes) = started(name, 1, 5, &colour.state_dict()).unwrap();
        close(&logits(&network, &one), &logits(&colour, &three));
        assert!(notes.len() == 1 && notes[0].contains("summed over its 3 channels"), "{notes:?}");
        let single = trained(name, 1, 5);
        let (network, notes) = started(name, 3, 5, &single.state_dict()).unwrap();
        close(&logits(&network, &three), &logits(&single, &one));
        assert!(notes.len() == 1 && notes[0].contains("divided by 3"), "{notes:?}");
    }
}

#[test]
fn a_first_convolution_without_a_way_starts_anew() {
    let state = trained("resnet8", 3, 5).state_dict();
    let (network, notes) = started("resnet8", 4, 5, &state).unwrap();
    assert_eq!(other(&network, &state), ["conv1.weight"]);
    assert_eq!(
        notes,
        ["`conv1.weight` starts anew: the file's is for 3 channels, the data have 4"]
    );
    let fresh = Network::new("resnet8", image(4), 5, 5).unwrap();
    assert!(network.state_dict()["conv1.weight"] == fresh.state_dict()["conv1.weight"]);
}

#[test]
fn another_network_or_a_part_of_one_is_refused() {
    let state = trained("resnet8", 3, 5).state_dict();
    let error = started("resnet14", 3, 5, &state).unwrap_err();
    assert!(error.to_string().contains("do not fit network `resnet14`"), "{error}");
    let mut part = state.clone();
    part.remove("layer2.0.conv1.weight");
    let error = started("resnet8", 3, 5, &part).unwrap_err();
    assert!(error.to_string().contains("`layer2.0.conv1.weight` is missing"), "{error}");
    // Half a classifier is no classifier of other classes.
    let mut half = state;
    half.remove("fc.bias");
    let error = started("resnet8", 3, 5, &half).unwrap_err();
    assert!(error.to_string().contains("`fc.bias` is missing"), "{error}");
}
