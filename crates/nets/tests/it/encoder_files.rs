//! Text encoders against Hugging Face's transformers: values, gradients and names of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faculty_inputs::{Texts, Tokens};
use faculty_nets::weights::{self, Array, StateDict, WeightFile};
use faculty_nets::{
    EncoderConfig, EncoderFamily, Inference, LoadedEncoder, Pooling, Result, TrainingRun,
};
use faculty_testkit::{Case, Tolerance, assert_close};

/// float32 against float64, through three layers.
const TOLERANCE: Tolerance = Tolerance { relative: 0.0, of_largest: 2e-5, absolute: 1e-6 };

fn case(family: &str) -> Case {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders");
    Case::read(&folder.join(format!("{family}.safetensors")))
}

fn families() -> impl Iterator<Item = &'static str> {
    EncoderFamily::names().filter(|name| *name != "bag")
}

fn weights_of(case: &Case) -> StateDict {
    let own = case.tensors.iter().filter_map(|(name, tensor)| {
        let array = Array { shape: tensor.shape.clone(), values: tensor.values.clone() };
        Some((name.strip_prefix("w.")?.to_owned(), array))
    });
    own.collect()
}

fn texts(case: &Case) -> Texts {
    let lengths: Vec<usize> = serde_json::from_str(&case.metadata["lengths"]).unwrap();
    let (mut tokens, mut from) = (Tokens::default(), 0);
    let values = |name: &str| case.values(name).iter().map(|&x| x as u32).collect::<Vec<_>>();
    let (ids, segments) = (values("in.ids"), values("in.segments"));
    for length in lengths {
        let range = from..from + length;
        let segments: Vec<u8> = segments[range.clone()].iter().map(|&s| s as u8).collect();
        tokens.push(&ids[range], &segments);
        from += length;
    }
    Texts { texts: Vec::new(), tokens }
}

fn saved(folder: &Path, state: &StateDict) -> PathBuf {
    let path = folder.join("model.safetensors");
    weights::write(&path, state, &BTreeMap::new()).unwrap();
    path
}

fn load(
    config: &EncoderConfig,
    state: &StateDict,
    classes: Option<usize>,
) -> Result<LoadedEncoder> {
    let folder = tempfile::tempdir().unwrap();
    let mut file = WeightFile::open(&saved(folder.path(), state), None).unwrap();
    config.load(&mut file, classes, 1)
}

#[test]
fn logits_hidden_states_and_gradients_are_those_of_transformers() {
    for family in families() {
        let case = case(family);
        let config = EncoderConfig::from_json(&case.metadata["config"]).unwrap();
        let LoadedEncoder { mut network, anew, left_out } =
            load(&config, &weights_of(&case), None).unwrap();
        assert!(anew.is_empty() && left_out.is_empty(), "{family}: {anew:?} {left_out:?}");
        let (graph, texts) = (network.graph().clone(), texts(&case));
        let labels: Vec<usize> = serde_json::from_str(&case.metadata["labels"]).unwrap();
        let mut plan = Inference::new(&network, graph.features());
        let logits = plan.run(&texts, labels.len()).to_vec();
        assert_close(&format!("{family}: logits"), &logits, case.values("out.logits"), TOLERANCE);
        let hidden: Vec<f32> =
            graph.features()[..4].iter().flat_map(|&tap| plan.value(tap).to_vec()).collect();
        assert_close(&format!("{family}: hidden"), &hidden, case.values("out.hidden"), TOLERANCE);

        let mut run = TrainingRun::new();
        run.forward(&mut network, &texts, labels.len());
        // Of the mean cross-entropy.
        let classes = network.classes();
        let mut grad = run.value(graph.output()).to_vec();
        for (row, &label) in grad.chunks_exact_mut(classes).zip(&labels) {
            let sum: f32 = row.iter().map(|z| z.exp()).sum();
            row.iter_mut().for_each(|z| *z = z.exp() / sum);
            row[label] -= 1.0;
            row.iter_mut().for_each(|z| *z /= labels.len() as f32);
        }
        run.backward(&network, [(graph.output(), grad)], false);
        for (spec, gradient) in graph.parameters().iter().zip(run.gradients()) {
            match case.tensors.get(&format!("grad.{}", spec.name)) {
                Some(want) => {
                    let what = format!("{family}: gradient of {}", spec.name);
                    let tolerance = Tolerance { absolute: 1e-5, ..TOLERANCE };
                    assert_close(&what, gradient, &want.values, tolerance);
                }
                None => assert!(gradient.iter().all(|&g| g == 0.0), "{family}: {}", spec.name),
            }
        }
    }
}

#[test]
fn of_several_sets_none_is_taken_unasked_and_a_file_of_more_is_refused() {
    let case = case("bert");
    let config = EncoderConfig::from_json(&case.metadata["config"]).unwrap();
    let full = weights_of(&case);
    let half = |array: &Array| Array {
        shape: array.shape.clone(),
        values: array.values.iter().map(|value| 0.5 * value).collect(),
    };
    let folder = tempfile::tempdir().unwrap();
    for [first, second, dot] in [["student", "teacher", "."], ["", "ema", "."], ["", "ema_", ""]] {
        let own = |name: &str| match first {
            "" => name.to_owned(),
            _ => format!("{first}.{name}"),
        };
        let mut both = StateDict::new();
        for (name, array) in &full {
            both.insert(own(name), array.clone());
            both.insert(format!("{second}{dot}{name}"), half(array));
        }
        let path = saved(folder.path(), &both);
        let load =
            |key: Option<&str>| config.load(&mut WeightFile::open(&path, key).unwrap(), None, 1);
        let error = load(None).unwrap_err();
        assert!(matches!(error, faculty_nets::Error::SeveralSets { .. }), "{second}: {error}");
        for (key, want) in [(first, &full), (second, &both)] {
            let loaded = load(Some(key)).unwrap();
            let state = loaded.network.state_dict();
            for (name, array) in &state {
                let name = if key == first { name.clone() } else { format!("{second}{dot}{name}") };
                assert_eq!(array, &want[&name], "{key}: {name}");
            }
        }
        let error = load(Some("other")).unwrap_err();
        assert!(matches!(error, faculty_nets::Error::UnknownSet { .. }), "{error}");
    }
    // One layer less than the file has.
    let mut less = config.clone();
    less.layers -= 1;
    let error = load(&less, &full, None).unwrap_err().to_string();
    assert!(error.contains("is unexpected"), "{error}");
    let mut json: serde_json::Value = serde_json::from_str(&case.metadata["config"]).unwrap();
    json["type_vocab_size"] = 0.into();
    let bare = EncoderConfig::from_json(&json.to_string()).unwrap();
    let error = load(&bare, &full, None).unwrap_err().to_string();
    assert!(error.contains("token_type_embeddings.weight` is unexpected"), "{error}");
    json["is_decoder"] = true.into();
    let error = EncoderConfig::from_json(&json.to_string()).unwrap_err().to_string();
    assert!(error.contains("`is_decoder` is true"), "{error}");
}

#[test]
fn a_body_without_prefix_or_head_is_read_and_the_head_starts_anew() {
    for family in families() {
        let case = case(family);
        let mut config = EncoderConfig::from_json(&case.metadata["config"]).unwrap();
        let full = weights_of(&case);
        let prefix = full.keys().find_map(|n| n.split_once(".embeddings.word").map(|(p, _)| p));
        let prefix = format!("{}.", prefix.unwrap());
        let strip = |(name, array): (&String, &Array)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), array.clone()))
        };
        let mut body: StateDict = full.iter().filter_map(strip).collect();
        let ids = Array { shape: vec![1, 4], values: vec![0.0; 4] };
        body.insert("embeddings.position_ids".to_owned(), ids);
        config.pooling = Pooling::Mean;
        let loaded = load(&config, &body, Some(5)).unwrap();
        assert_eq!(loaded.anew, ["classifier.weight", "classifier.bias"], "{family}");
        assert_eq!(loaded.network.classes(), 5);
        let state = loaded.network.state_dict();
        let word = format!("{prefix}embeddings.word_embeddings.weight");
        assert_eq!(state[&word], full[&word], "{family}");
        // Without a number of classes, and with a layer missing, it says what is wrong.
        let error = load(&config, &body, None).unwrap_err().to_string();
        assert!(error.contains("no classifier"), "{error}");
        body.retain(|name, _| !name.contains("layer.2."));
        let error = load(&config, &body, Some(5)).unwrap_err().to_string();
        assert!(error.contains("layer.2.") && error.contains("missing"), "{error}");
    }
}

#[test]
fn a_student_takes_the_layers_that_it_is_told_to() {
    let case = case("bert");
    let config = EncoderConfig::from_json(&case.metadata["config"]).unwrap();
    let full = weights_of(&case);
    let student = EncoderConfig { layers: 2, ..config };
    let folder = tempfile::tempdir().unwrap();
    let mut file = WeightFile::open(&saved(folder.path(), &full), None).unwrap();
    let loaded = student.load_layers(&mut file, Some(3), 1, Some(&[2, 0])).unwrap();
    let state = loaded.network.state_dict();
    for part in ["attention.self.query.weight", "output.LayerNorm.bias"] {
        for (to, from) in [(0, 2), (1, 0)] {
            let name = |layer| format!("bert.encoder.layer.{layer}.{part}");
            assert_eq!(state[&name(to)], full[&name(from)], "{part}");
        }
    }
    assert!(loaded.left_out.iter().all(|name| name.contains("layer.1.")), "{:?}", loaded.left_out);
}

#[test]
fn minilm_gives_its_published_vector() {
    let Some(folder) = std::env::var_os("FACULTY_MINILM").map(PathBuf::from) else {
        eprintln!("skipped: FACULTY_MINILM names no folder of all-MiniLM-L6-v2");
        return;
    };
    let json = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut config = EncoderConfig::from_json(&json).unwrap();
    let mut tokens = Tokens::default();
    // "That is a happy person"
    tokens.push(&[101, 2008, 2003, 1037, 3407, 2711, 102], &[0; 7]);
    let texts = Texts { texts: Vec::new(), tokens };
    let mut values = |pooling| {
        config.pooling = pooling;
        let mut file = WeightFile::open(&folder.join("model.safetensors"), None).unwrap();
        let network = config.load(&mut file, Some(2), 1).unwrap().network;
        let taps = network.graph().features().to_vec();
        let mut plan = Inference::new(&network, &taps);
        plan.run(&texts, 1);
        taps.iter().map(|&tap| plan.value(tap).to_vec()).collect::<Vec<_>>()
    };
    let first = values(Pooling::First);
    // Layers 0, 2, 3, 5 and 6, first value of the first token.
    let wants = [-0.17657, -0.04337, -0.01864, -0.00917, -0.06737];
    let got: Vec<f32> = first[..5].iter().map(|tap| tap[0]).collect();
    for (got, want) in got.iter().zip(wants) {
        assert!((got - want).abs() < 1e-4, "{got} instead of {want}");
    }
    let mean = values(Pooling::Mean).pop().unwrap();
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (got, want) in mean.iter().zip([-0.033877, 0.091942, 0.048701, -0.034884]) {
        assert!((got / length - want).abs() < 1e-5, "{} instead of {want}", got / length);
    }
}
