//! Weight files of other programs: `bench/weight_files.py` makes those of PyTorch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use faculty_nets::weights::{self, Array, Kind, StateDict, WeightFile};
use faculty_nets::{
    Conv2dConfig, Error, Graph, GraphBuilder, MapShape, NETWORKS, Network, recognise,
};

use crate::zip_files::{saved, zip};

/// The network of `bench/weight_files.py`.
fn graph() -> Graph {
    let (mut g, image) = GraphBuilder::new(MapShape::new(1, 8, 8));
    let x = g.conv2d("conv1", image, Conv2dConfig::new(2, 3, 1)).unwrap();
    let x = g.conv2d("layer1.0", x, Conv2dConfig::new(2, 3, 1)).unwrap();
    let x = g.batch_norm("layer1.1", x, None, true);
    g.pooled_classifier("fc", x, 3);
    g.finish()
}

/// Its values there: eighths, counted from `first` on.
fn values(first: usize) -> StateDict {
    let shapes: [(&str, &[usize]); 8] = [
        ("conv1.weight", &[2, 1, 3, 3]),
        ("layer1.0.weight", &[2, 2, 3, 3]),
        ("layer1.1.weight", &[2]),
        ("layer1.1.bias", &[2]),
        ("layer1.1.running_mean", &[2]),
        ("layer1.1.running_var", &[2]),
        ("fc.weight", &[3, 2]),
        ("fc.bias", &[3]),
    ];
    let mut next = first;
    let array = |(name, shape): (&str, &[usize])| {
        let count: usize = shape.iter().product();
        let values = (next..next + count).map(|n| n as f32 / 8.0).collect();
        next += count;
        (name.to_owned(), Array { shape: shape.to_vec(), values })
    };
    shapes.into_iter().map(array).collect()
}

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weight_files").join(name)
}

/// The network's values in a file, and what there is to know.
fn read(path: &Path, key: Option<&str>) -> faculty_nets::Result<(StateDict, Vec<String>)> {
    let mut file = WeightFile::open(path, key)?;
    let fit = file.fit(&graph(), "net")?;
    Ok((file.take(&fit)?, fit.notes))
}

fn written(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The network's values under other names, with other tensors beside.
fn renamed(folder: &tempfile::TempDir, name: impl Fn(&str) -> String, beside: &[&str]) -> PathBuf {
    let mut state: StateDict =
        values(0).into_iter().map(|(own, array)| (name(&own), array)).collect();
    let one = Array { shape: vec![2], values: vec![1.0; 2] };
    state.extend(beside.iter().map(|&name| (name.to_owned(), one.clone())));
    let path = folder.path().join("renamed.safetensors");
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    path
}

#[test]
fn every_format_of_pytorch_gives_the_same_numbers() {
    for name in ["legacy.pth", "legacy1.pth", "mixed.pth", "tar.pth"] {
        let (state, notes) = read(&stored(name), None).unwrap();
        assert_eq!(state, values(0), "{name}");
        assert!(notes.is_empty(), "{name}: {notes:?}");
    }
}

#[test]
fn the_network_is_found_beside_everything_else_and_the_rest_is_told() {
    let (state, notes) = read(&stored("checkpoint.pth"), None).unwrap();
    assert_eq!(state, values(0));
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.contains("left out of the weight file: `complex`"), "{note}");
    assert!(note.contains("`optimizer` ("), "{note}");
    assert!(note.contains("and 8 more"), "{note}");
}

#[test]
fn of_several_sets_none_is_taken_unasked() {
    let path = stored("ema.pth.tar");
    let error = read(&path, None).unwrap_err();
    let named = "holds several sets of weights: `state_dict`, `state_dict_ema`";
    assert!(error.to_string().contains(named), "{error}");
    assert!(error.hint().unwrap().contains("weights_key"));
    let (raw, notes) = read(&path, Some("state_dict")).unwrap();
    assert_eq!(raw, values(8));
    assert_eq!(notes, ["left out of the weight file: `state_dict_ema` (8 tensors)"]);
    assert_eq!(read(&path, Some("state_dict_ema")).unwrap().0, values(0));
    let error = read(&path, Some("ema")).unwrap_err();
    assert!(matches!(error, Error::UnknownSet { .. }), "{error}");
    assert!(error.hint().unwrap().contains("`state_dict`, `state_dict_ema`"), "{error}");
}

#[test]
fn sets_may_have_any_names_and_lie_inside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("", "ema"),
        ("student", "teacher"),
        ("module", "ema"),
        ("model", "model.ema"),
        ("state_dict.model", "state_dict.model_ema.module"),
    ];
    for (first, second) in cases {
        let under = |prefix: &str, state: StateDict| -> Vec<(String, Array)> {
            let dot = if prefix.is_empty() { "" } else { "." };
            state.into_iter().map(|(name, own)| (format!("{prefix}{dot}{name}"), own)).collect()
        };
        let state = under(first, values(0)).into_iter().chain(under(second, values(8))).collect();
        let path = folder.path().join("sets.safetensors");
        weights::write(&path, &state, &BTreeMap::new()).unwrap();
        let error = read(&path, None).unwrap_err();
        assert!(matches!(error, Error::SeveralSets { .. }), "{first}, {second}: {error}");
        assert_eq!(read(&path, Some(first)).unwrap().0, values(0), "{first} of {second}");
        assert_eq!(read(&path, Some(second)).unwrap().0, values(8), "{second} beside {first}");
        // The keys that are listed lead to both.
        let Error::SeveralSets { sets, .. } = error else { unreachable!("matched above") };
        let listed =
            sets.iter().map(|key| read(&path, Some(key.trim_matches(['`', '"']))).unwrap().0);
        let listed: Vec<StateDict> = listed.collect();
        assert_eq!(listed.len(), 2, "{sets:?}");
        assert!([values(0), values(8)].iter().all(|own| listed.contains(own)), "{sets:?}");
    }
}

#[test]
fn averages_with_other_marks_in_their_names_are_sets_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sets.safetensors");
    // Key, what stands before a name, and whether its dots are left out.
    for (key, before, without_dots) in [
        ("ema_", "ema_", false),
        // The shortest that leads to `net.ema_`.
        ("net", "net.ema_", false),
        ("model_ema", "model_ema.", true),
        ("ema_model_", "ema_model_", false),
    ] {
        let mark = |name: &str| match without_dots {
            true => format!("{before}{}", name.replace('.', "")),
            false => format!("{before}{name}"),
        };
        let average = values(8).into_iter().map(|(name, own)| (mark(&name), own));
        let state: Vec<_> = values(0).into_iter().chain(average).collect();
        weights::write(&path, &state.into_iter().collect(), &BTreeMap::new()).unwrap();
        let error = read(&path, None).unwrap_err();
        assert!(matches!(error, Error::SeveralSets { .. }), "{key}: {error}");
        assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
        assert!(error.to_string().contains("`\"\"`"), "{error}");
        assert_eq!(read(&path, Some("")).unwrap().0, values(0), "{key}");
        assert_eq!(read(&path, Some(key)).unwrap().0, values(8), "{key}");
    }
}

#[test]
fn a_negative_variance_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    let mut state = values(0);
    let name = state.keys().find(|name| name.ends_with("running_var")).unwrap().clone();
    state.get_mut(&name).unwrap().values[1] = -0.5;
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("holds -0.5 at index 1"), "{error}");
}

#[test]
fn weights_that_are_registered_twice_are_one_set() {
    // `self.net = self.model`: the names are two, the storages the same.
    let keys = ["model", "net"].map(|key| (key, 0_usize));
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, _) in keys {
        for (number, (name, array)) in values(0).iter().enumerate() {
            pickle.extend(text(&format!("{key}.{name}")));
            pickle.extend(tensor(number, &array.shape));
        }
    }
    pickle.extend(b"u.");
    let state = values(0);
    let bytes: Vec<Vec<u8>> = state
        .values()
        .map(|array| array.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let storages: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let folder = tempfile::tempdir().unwrap();
    for compressed in [false, true] {
        let path = written(&folder, "twice.pth", &saved("twice", &pickle, &storages, compressed));
        assert_eq!(read(&path, None).unwrap().0, state);
    }
}

/// A string as pickle writes it.
fn text(text: &str) -> Vec<u8> {
    [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

/// A row-major tensor of float32 in its own storage.
fn tensor(storage: usize, shape: &[usize]) -> Vec<u8> {
    let list = |numbers: &[usize]| {
        let number = |n: &usize| [b"J".as_slice(), &(*n as u32).to_le_bytes()].concat();
        let inside: Vec<u8> = numbers.iter().flat_map(number).collect();
        [b"(".as_slice(), &inside, b"t"].concat()
    };
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let count: usize = shape.iter().product();
    let mut pickle = b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    pickle.extend(text("storage"));
    pickle.extend(b"ctorch\nFloatStorage\n");
    pickle.extend(text(&storage.to_string()));
    pickle.extend(text("cpu"));
    pickle.extend([b"J".as_slice(), &(count as u32).to_le_bytes(), b"tQK\0"].concat());
    pickle.extend([list(shape), list(&strides)].concat());
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    pickle
}

#[test]
fn any_prefix_and_any_wrapper_inside_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in
        ["", "module.", "backbone.", "encoder.", "resnet.", "net.model.module._orig_mod.", "0."]
    {
        let path = renamed(&folder, |name| format!("{prefix}{name}"), &[]);
        assert_eq!(read(&path, None).unwrap(), (values(0), Vec::new()), "{prefix}");
    }
    for inside in ["layer1._orig_mod.", "layer1.module.", "layer1._orig_mod.module."] {
        let path = renamed(&folder, |name| name.replace("layer1.", inside), &[]);
        assert_eq!(read(&path, None).unwrap(), (values(0), Vec::new()), "{inside}");
    }
}

#[test]
fn what_lies_beside_the_network_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let beside = ["criterion.weight", "projector.0.weight", "projector.2.weight"];
    let path = renamed(&folder, str::to_owned, &beside);
    let (state, notes) = read(&path, None).unwrap();
    assert_eq!(state, values(0));
    let note = "left out of the weight file: `criterion.weight`, `projector` (2 tensors)";
    assert_eq!(notes, [note]);
}

#[test]
fn what_belongs_to_a_larger_network_is_not_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for extra in ["layer2.0.weight", "layer1.2.weight", "conv1.bias", "fc.0.weight", "conv2.weight"]
    {
        let path = renamed(&folder, |name| format!("model.{name}"), &[&format!("model.{extra}")]);
        let error = read(&path, None).unwrap_err().to_string();
        assert!(error.contains(&format!("`model.{extra}` is unexpected")), "{error}");
    }
}

#[test]
fn weights_that_are_no_plain_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let as_bytes = |names: &[&str]| {
        let state = values(0);
        let data: Vec<Vec<u8>> = state
            .values()
            .map(|array| array.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = state.iter().zip(&data).map(|((name, array), bytes)| {
            let numbers = if names.contains(&name.as_str()) { Dtype::I32 } else { Dtype::F32 };
            (name, TensorView::new(numbers, array.shape.clone(), bytes).unwrap())
        });
        written(&folder, "x.safetensors", &safetensors::serialize(views, None).unwrap())
    };
    assert_eq!(read(&as_bytes(&[]), None).unwrap().0, values(0));
    let error = read(&as_bytes(&["fc.weight"]), None).unwrap_err();
    assert_eq!(error.hint().unwrap(), "save the weights as float32 tensors");
    assert!(error.to_string().contains("tensor `fc.weight` in "), "{error}");
}

#[test]
fn buffers_that_hold_no_weights_are_left_out_of_the_networks_own_modules() {
    let folder = tempfile::tempdir().unwrap();
    let counters = ["total_ops", "layer1.0.total_params", "layer1.1.num_batches_tracked"];
    let path = renamed(&folder, str::to_owned, &counters);
    assert_eq!(read(&path, None).unwrap(), (values(0), Vec::new()));
    // One that does is another network.
    let path = renamed(&folder, str::to_owned, &["layer1.0.gamma"]);
    assert!(read(&path, None).unwrap_err().to_string().contains("`layer1.0.gamma` is unexpected"));
}

#[test]
fn a_classifier_behind_dropout_is_the_classifier() {
    let (state, notes) = read(&stored("dropout_head.pth"), None).unwrap();
    assert_eq!(state, values(0));
    assert!(
        notes[0].starts_with("`fc.1` of the file is taken as the classifier `fc`"),
        "{notes:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    // Two layers are another network.
    let deeper = |name: &str| name.replace("fc.", "fc.2.");
    let path = renamed(&folder, deeper, &["fc.0.weight", "fc.0.bias"]);
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.contains("`fc.0.weight` is unexpected"), "{error}");
}

#[test]
fn a_classifier_beside_the_rest_is_the_classifier_unless_it_is_another_networks() {
    let folder = tempfile::tempdir().unwrap();
    let apart = |name: &str| match name.starts_with("fc") {
        true => format!("state_dict.head.{name}"),
        false => format!("state_dict.backbone.{name}"),
    };
    let (state, notes) = read(&renamed(&folder, apart, &["meta.epoch"]), None).unwrap();
    assert_eq!(state, values(0));
    assert!(
        notes[0].starts_with("`state_dict.head.fc.weight` of the file is taken as the classifier"),
        "{notes:?}"
    );
    // Beside a network that has its own: that one alone is whole.
    let mut both: StateDict = values(0)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("fc"))
        .map(|(name, array)| (format!("student.{name}"), array))
        .collect();
    both.extend(values(9).into_iter().map(|(name, array)| (format!("teacher.{name}"), array)));
    let path = folder.path().join("both.safetensors");
    weights::write(&path, &both, &BTreeMap::new()).unwrap();
    assert_eq!(read(&path, None).unwrap().0, values(9));
    // Of two nobody says which is meant.
    let path = renamed(&folder, apart, &[]);
    let mut two = weights::read(&path).unwrap();
    for name in ["weight", "bias"] {
        let array = two[&format!("state_dict.head.fc.{name}")].clone();
        two.insert(format!("state_dict.head2.fc.{name}"), array);
    }
    weights::write(&path, &two, &BTreeMap::new()).unwrap();
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.contains("`fc.weight` is missing"), "{error}");
}

#[test]
fn weights_that_are_computed_from_others_come_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (stored, beside, way) in [
        ("conv1.weight_orig", "conv1.weight_mask", "prune.remove"),
        ("conv1.weight_v", "conv1.weight_g", "remove_weight_norm"),
        (
            "conv1.parametrizations.weight.original1",
            "conv1.parametrizations.weight.original0",
            "remove_parametrizations",
        ),
    ] {
        let name = |name: &str| if name == "conv1.weight" { stored } else { name }.to_owned();
        let error = read(&renamed(&folder, name, &[beside]), None).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains(way)), "{error} {:?}", error.hint());
    }
}

#[test]
fn the_number_of_classes_is_the_files() {
    let info = &NETWORKS[0];
    let image = MapShape::new(1, 8, 8);
    let state = Network::new(info.name, image, 7, 1).unwrap().state_dict();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let mut file = WeightFile::open(&path, None).unwrap();
    let (network, _) = Network::from_file(info.name, image, None, &mut file).unwrap();
    assert_eq!((network.classes(), network.state_dict()), (7, state));
    let error = Network::load(info.name, image, 5, &path).unwrap_err().to_string();
    assert!(error.contains("`fc.bias` has shape [7], the network wants [5]"), "{error}");
}

#[test]
fn different_networks_in_one_file_are_asked_about() {
    let image = MapShape::new(1, 16, 16);
    let folder = tempfile::tempdir().unwrap();
    let mut both = StateDict::new();
    for (prefix, name) in [("student", "resnet8x0.5"), ("teacher", "resnet14x0.5")] {
        let state = Network::new(name, image, 3, 1).unwrap().state_dict();
        both.extend(state.into_iter().map(|(own, array)| (format!("{prefix}.{own}"), array)));
    }
    let path = folder.path().join("distilled.safetensors");
    weights::write(&path, &both, &BTreeMap::new()).unwrap();
    let error = recognise(&WeightFile::open(&path, None).unwrap(), image).unwrap_err();
    let named = "`student` (resnet8x0.5), `teacher` (resnet14x0.5)";
    assert!(error.to_string().contains(named), "{error}");
    let found = recognise(&WeightFile::open(&path, Some("teacher")).unwrap(), image).unwrap();
    assert_eq!((found[0].network.name, found[0].classes), ("resnet14x0.5", 3));
    assert_eq!(found[0].fit.notes.len(), 1, "{:?}", found[0].fit.notes);
}

#[test]
fn the_name_of_a_file_of_any_length_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let mut pickle = b"\x80\x02}(".to_vec();
    let state = values(0);
    for (number, (name, array)) in state.iter().enumerate() {
        pickle.extend([text(name), tensor(number, &array.shape)].concat());
    }
    pickle.extend(b"u.");
    let bytes: Vec<Vec<u8>> = state
        .values()
        .map(|array| array.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let storages: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    for length in 1..=60 {
        let stem = "n".repeat(length);
        let file = saved(&stem, &pickle, &storages, false);
        let path = written(&folder, &format!("{stem}.pth"), &file);
        assert_eq!(read(&path, None).unwrap().0, state, "{length} letters");
    }
}

#[test]
fn only_a_file_that_is_cut_short_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ema.pth.tar", "legacy.pth", "tar.pth"] {
        let whole = fs::read(stored(name)).unwrap();
        // A tar file ends in blocks of zeros that nobody misses.
        let last = if name == "tar.pth" { 4 << 10 } else { whole.len() - 1 };
        for length in (300..last).step_by(211).chain([last]) {
            let path = written(&folder, "cut.pth", &whole[..length]);
            let error = WeightFile::open(&path, None).unwrap_err();
            let tar_ends = name == "tar.pth" && matches!(error, Error::NotWeights { .. });
            assert!(
                matches!(error, Error::CutShort { .. }) || tar_ends,
                "{name} {length}: {error}"
            );
        }
    }
    let whole = fs::read(renamed(&folder, str::to_owned, &[])).unwrap();
    let path = written(&folder, "cut.safetensors", &whole[..whole.len() - 1]);
    assert!(matches!(WeightFile::open(&path, None).unwrap_err(), Error::CutShort { .. }));
}

#[test]
fn a_changed_byte_of_a_weight_is_found_by_the_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::read(stored("dropout_head.pth")).unwrap();
    let first = 17.0_f32 / 8.0;
    let place = file.windows(4).position(|own| own == first.to_le_bytes()).unwrap();
    file[place] ^= 1;
    let error = read(&written(&folder, "changed.pth", &file), None).unwrap_err();
    assert!(error.to_string().contains("do not match their checksum"), "{error}");
}

#[test]
fn what_is_no_state_dict_is_called_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let members = |names: &[&str]| -> Vec<u8> {
        let members: Vec<_> = names.iter().map(|&name| (name.to_owned(), vec![1, 2])).collect();
        zip(&members, false)
    };
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let plain_list = b"\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(K\x01K\x02e.";
    let cases: [(&[u8], &str, &str); 17] = [
        (
            &members(&["a/data.pkl", "a/code/net.py", "a/constants.pkl"]),
            "a TorchScript program",
            "ONNX",
        ),
        (&members(&["a/archive_format", "a/data/weights/w"]), "an exported program", "ONNX"),
        (&members(&["conv.npy", "fc.npy"]), "a file of NumPy arrays", "torch.save"),
        (&members(&["config.json", "model.weights.h5"]), "an HDF5 file", "ONNX"),
        (&members(&["net.pth", "readme.txt"]), "an archive: zip (`net.pth`, ", "unpack"),
        (b"\x89HDF\r\n\x1a\n and so on", "an HDF5 file", "ONNX"),
        (b"\x93NUMPY\x01\0", "a file of NumPy arrays", "logits"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0", "an archive: gzip", "unpack"),
        (&tar, "an archive: tar", "unpack"),
        (plain_list, "a pickled list of Python", "torch.save"),
        (b"(lp0\nI1\na.", "a pickled list of Python", "torch.save"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a pointer of Git LFS",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "a web page", "download"),
        (b"{\"metadata\": {}, \"weight_map\": {}}", "a JSON file", "several files"),
        (b"", "empty", "again"),
        (b"column,another\n1,2\n", "of no known format", "torch.save"),
        (b"\x08\x07\x12\x04", "of no known format", "ONNX"),
    ];
    for (content, what, hint) in cases {
        let path = written(&folder, "teacher.pth", content);
        let error = WeightFile::open(&path, None).unwrap_err();
        assert!(matches!(error, Error::NotWeights { .. }), "{what}: {error}");
        assert!(error.to_string().contains(&format!("is {what}")), "{what}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{what}: {:?}", error.hint());
    }
    for (name, what) in [
        ("module.pth", "a whole pickled module (class `__main__.Net`)"),
        ("list.pth", "a pickled list of Python"),
    ] {
        let error = WeightFile::open(&stored(name), None).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let onnx = written(&folder, "teacher.onnx", b"\x08\x07\x12\x04");
    let error = WeightFile::open(&onnx, None).unwrap_err();
    assert!(matches!(error, Error::NotWeights { kind: Kind::Onnx, .. }), "{error}");
    #[cfg(unix)]
    assert!(
        WeightFile::open(Path::new("/dev/zero"), None).unwrap_err().to_string().contains("device")
    );
    let error = WeightFile::open(folder.path(), None).unwrap_err();
    assert!(matches!(error, Error::NotWeights { kind: Kind::Folder, .. }), "{error}");
}

#[test]
fn pickles_take_no_memory_that_the_file_does_not_justify() {
    let folder = tempfile::tempdir().unwrap();
    let count = 20 << 20;
    let repeated = |start: &[u8], unit: &[u8], end: &[u8]| {
        [start, &unit.repeat(count / unit.len()), end].concat()
    };
    let bombs = [
        repeated(b"(", b"N", b"l."),
        repeated(b"(", b"(", b"."),
        repeated(b"", b"]", b"."),
        repeated(b"", b"}", b"."),
        repeated(b"]", b"2", b"."),
        repeated(b"](K\x01", b"K\x01K\x01", b"e."),
        repeated(b"]", b"\x94", b"."),
        repeated(b"]q\0", b"h\0", b"."),
    ];
    for (number, pickle) in bombs.iter().enumerate() {
        let path = written(&folder, "bomb.pth", &saved("bomb", pickle, &[], true));
        assert!(fs::metadata(&path).unwrap().len() < 1 << 17);
        let error = WeightFile::open(&path, None).unwrap_err();
        assert!(matches!(error, Error::Bomb { .. }), "{number}: {error}");
    }
    // Few bytes, endlessly many names: each dict holds the next one twice.
    let mut doubling = b"\x80\x02}q\0".to_vec();
    doubling.extend([text("w"), tensor(0, &[1]), b"s0".to_vec()].concat());
    for level in 1..30_u8 {
        let below = level - 1;
        doubling.extend(
            [b"}q", [level].as_slice(), b"(K\0h", &[below], b"K\x01h", &[below], b"u0"].concat(),
        );
    }
    doubling.extend([b"h".as_slice(), &[29], b"."].concat());
    let path = written(&folder, "bomb.pth", &saved("bomb", &doubling, &[&[0; 4]], false));
    let error = WeightFile::open(&path, None).unwrap_err();
    assert!(matches!(error, Error::Bomb { .. }), "{error}");
    // One that holds itself.
    let circle =
        [b"\x80\x02}q\0(".to_vec(), text("w"), tensor(0, &[1]), text("self"), b"h\0u.".to_vec()];
    let path =
        written(&folder, "circle.pth", &saved("circle", &circle.concat(), &[&[0; 4]], false));
    assert_eq!(weights::read(&path).unwrap().keys().collect::<Vec<_>>(), ["w"]);
}
