use std::path::Path;

use ::safetensors::tensor::{Dtype, TensorView};
use half::f16;

use super::*;
use crate::{MapShape, Network};

fn small_network(seed: u64) -> Network {
    Network::new("resnet8x0.5", MapShape::new(1, 8, 8), 3, seed).unwrap()
}

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("network".to_owned(), "resnet8x0.5".to_owned())])
}

#[test]
fn a_written_network_reads_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let network = small_network(1);
    write(&path, &network.state_dict(), &metadata()).unwrap();
    let mut other = small_network(2);
    other.set_state_dict(&read(&path).unwrap(), &path).unwrap();
    assert_eq!(other.state_dict(), network.state_dict());
    assert_eq!(read_safetensors(&path).unwrap().1["network"], "resnet8x0.5");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn refuses_nan_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let mut state = small_network(1).state_dict();
    state.get_mut("fc.bias").unwrap().values[2] = f32::NAN;
    write(&path, &state, &BTreeMap::new()).unwrap();
    let error = read(&path).unwrap_err();
    assert!(
        matches!(&error, Error::NotFinite { tensor, index: 2, .. } if tensor == "fc.bias"),
        "{error}"
    );
}

#[test]
fn refuses_every_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    write(&path, &small_network(1).state_dict(), &metadata()).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(read(&path).is_err(), "{length} of {} bytes were accepted", whole.len());
    }
}

#[test]
fn refuses_another_network_and_names_what_differs() {
    let state = Network::new("resnet14x0.5", MapShape::new(1, 8, 8), 4, 1).unwrap().state_dict();
    let mut network = small_network(1);
    let before = network.state_dict();
    let error = network.set_state_dict(&state, Path::new("x.pth")).unwrap_err().to_string();
    assert!(error.contains("`fc.weight` has shape [4, 32], the network wants [3, 32]"), "{error}");
    assert!(error.contains("and "), "{error}");
    assert_eq!(network.state_dict(), before);
}

#[test]
fn reads_half_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let bytes = [f16::from_f32(1.5).to_le_bytes(), f16::from_f32(-0.25).to_le_bytes()].concat();
    let view = TensorView::new(Dtype::F16, vec![2], &bytes).unwrap();
    fs::write(&path, ::safetensors::serialize([("w", view)], None).unwrap()).unwrap();
    assert_eq!(read(&path).unwrap()["w"].values, [1.5, -0.25]);
}

#[test]
fn a_missing_file_is_an_error_with_its_path() {
    let error = read(Path::new("no/such/file.pth")).unwrap_err();
    assert!(error.to_string().contains("no/such/file.pth"), "{error}");
}

#[test]
fn a_small_file_of_huge_tensors_is_refused() {
    // One number, expanded to a GiB.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/pytorch/expanded");
    let error = read(&path).unwrap_err();
    assert!(matches!(error, Error::Bomb { decoded: 0x4000_0000.., .. }), "{error}");
    assert!(error.hint().unwrap().contains("do not use it"));
}
