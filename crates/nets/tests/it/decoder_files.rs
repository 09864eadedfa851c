//! Decoders against Hugging Face's transformers and llama.cpp's files: logits, gradients, names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faculty_gguf::{GgufFile, GgufWriter, TensorType, Value};
use faculty_inputs::{Texts, Tokens};
use faculty_kernels::head_loss::{Divergence, Head, HeadGrads, Targets, head_loss};
use faculty_nets::weights::{self, Array, StateDict};
use faculty_nets::{
    Activation, Decoder, Network, RotaryLayout, TrainingRun, decoder_gguf, load_decoder,
    save_decoder,
};
use faculty_testkit::{Case, Tolerance, assert_close};

/// float32 against float64, through two layers.
const TOLERANCE: Tolerance = Tolerance { relative: 0.0, of_largest: 2e-5, absolute: 2e-6 };
const MODELS: [&str; 4] = ["grouped", "own_head", "mistral", "qwen2"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders")
}

fn case(name: &str) -> Case {
    Case::read(&folder().join(format!("{name}.safetensors")))
}

fn weights_of(case: &Case) -> StateDict {
    let own = case.tensors.iter().filter_map(|(name, tensor)| {
        let array = Array { shape: tensor.shape.clone(), values: tensor.values.clone() };
        Some((name.strip_prefix("w.")?.to_owned(), array))
    });
    own.collect()
}

fn tokens(case: &Case) -> Tokens {
    let lengths: Vec<usize> = serde_json::from_str(&case.metadata["lengths"]).unwrap();
    let ids: Vec<u32> = case.values("in.ids").iter().map(|&id| id as u32).collect();
    let (mut tokens, mut from) = (Tokens::default(), 0);
    for length in lengths {
        tokens.push(&ids[from..from + length], &vec![0; length]);
        from += length;
    }
    tokens
}

/// A folder with a case's model.
fn saved(case: &Case, state: &StateDict) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), &case.metadata["config"]).unwrap();
    weights::write(&folder.path().join("model.safetensors"), state, &BTreeMap::new()).unwrap();
    folder
}

fn load(case: &Case) -> Network {
    load_decoder(saved(case, &weights_of(case)).path()).unwrap()
}

fn logits(network: &Network, tokens: &Tokens) -> Vec<f32> {
    let mut decoder = Decoder::new(network);
    let (hidden, mut logits) = (decoder.hidden(tokens).to_vec(), Vec::new());
    decoder.logits(&hidden, &mut logits);
    logits
}

#[test]
fn logits_loss_and_gradients_are_those_of_transformers() {
    for name in MODELS {
        let case = case(name);
        let (mut network, tokens) = (load(&case), tokens(&case));
        let (graph, rows) = (network.graph().clone(), tokens.count());
        let own = logits(&network, &tokens);
        assert_close(&format!("{name}: logits"), &own, case.values("out.logits"), TOLERANCE);

        let mut run = TrainingRun::new();
        let texts = Texts { texts: Vec::new(), tokens: tokens.clone() };
        run.forward(&mut network, &texts, tokens.len());
        // The mean cross-entropy over all tokens that have a next one.
        let (mut labels, mut factors) = (vec![0; rows], vec![0.0; rows]);
        for text in 0..tokens.len() {
            for at in tokens.range(text).skip(1) {
                (labels[at - 1], factors[at - 1]) =
                    (tokens.ids()[at], 1.0 / (rows - tokens.len()) as f32);
            }
        }
        let head = graph.token_head().unwrap();
        let hidden = run.value(graph.output()).to_vec();
        let weight = network.parameters()[head.index()].clone();
        let width = hidden.len() / rows;
        let (mut by_hidden, mut by_weight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
        let losses = head_loss(
            weight.len() / width,
            Head { hidden: &hidden, weight: &weight, width },
            &Targets {
                labels: &labels,
                ce_factor: &factors,
                kd_factor: &[],
                teachers: &[],
                temperature: 1.0,
                divergence: Divergence::Forward,
            },
            Some(HeadGrads { hidden: &mut by_hidden, weight: &mut by_weight }),
        );
        let loss: f64 =
            losses.iter().zip(&factors).map(|(row, &factor)| row.ce * f64::from(factor)).sum();
        assert_close(&format!("{name}: loss"), &[loss as f32], case.values("out.loss"), TOLERANCE);
        run.backward(&network, [(graph.output(), by_hidden)], false);
        run.gradients_mut()[head.index()].iter_mut().zip(by_weight).for_each(|(a, b)| *a += b);
        for (spec, gradient) in graph.parameters().iter().zip(run.gradients()) {
            let want = case.values(&format!("grad.{}", spec.name));
            assert_close(&format!("{name}: gradient of {}", spec.name), gradient, want, TOLERANCE);
        }
    }
}

#[test]
fn a_gguf_file_gives_the_same_model() {
    let case = case("grouped");
    let network = load_decoder(&folder().join("grouped.gguf")).unwrap();
    let config = network.graph().decoder().unwrap().clone();
    assert_eq!(config.rotary_layout, RotaryLayout::Interleaved);
    assert_eq!((config.rotary_base, config.kv_heads, config.tied), (500.0, 2, true));
    let own = logits(&network, &tokens(&case));
    assert_close("logits", &own, case.values("out.logits"), TOLERANCE);
    // The order of rows matters: in halves they are another model.
    let mut halves = config;
    halves.rotary_layout = RotaryLayout::Halves;
    let mut other = Network::from_graph("halves", halves.graph().unwrap(), 0);
    other.set_state_dict(&network.state_dict(), Path::new("grouped")).unwrap();
    let apart = logits(&other, &tokens(&case)).iter().zip(&own).any(|(a, b)| (a - b).abs() > 0.1);
    assert!(apart, "both orders give the same logits");
}

#[test]
fn a_decoder_is_written_as_the_folder_that_it_came_from() {
    let target = tempfile::tempdir().unwrap();
    for name in MODELS {
        let case = case(name);
        let folder = target.path().join(name);
        save_decoder(&load(&case), &folder).unwrap();
        let own = load_decoder(&folder).unwrap();
        assert_eq!(own.state_dict(), weights_of(&case), "{name}");
        assert_eq!(own.graph().decoder(), load(&case).graph().decoder(), "{name}");
    }
    // One from a GGUF file has the rows of queries and keys in Hugging Face's order again.
    let gguf = load_decoder(&folder().join("grouped.gguf")).unwrap();
    let folder = target.path().join("of_gguf");
    save_decoder(&gguf, &folder).unwrap();
    assert_eq!(load_decoder(&folder).unwrap().state_dict(), weights_of(&case("grouped")));
    let file = target.path().join("file");
    fs::write(&file, "").unwrap();
    let error = save_decoder(&gguf, &file).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("file"), "{error}");
}

#[test]
fn a_decoder_is_written_as_a_gguf_file() {
    let target = tempfile::tempdir().unwrap();
    let path = target.path().join("model.gguf");
    for name in MODELS {
        let case = case(name);
        let network = load(&case);
        let written = decoder_gguf(&network, TensorType::F32).unwrap();
        fs::write(&path, written.to_bytes()).unwrap();
        let own = load_decoder(&path).unwrap();
        let config = network.graph().decoder().unwrap();
        let layout = own.graph().decoder().unwrap().rotary_layout;
        let of_llama =
            if name == "qwen2" { RotaryLayout::Halves } else { RotaryLayout::Interleaved };
        assert_eq!(layout, of_llama, "{name}");
        let mut read = own.graph().decoder().unwrap().clone();
        read.rotary_layout = config.rotary_layout;
        read.initial_deviation = config.initial_deviation;
        assert_eq!(&read, config, "{name}");
        assert_close(name, &logits(&own, &tokens(&case)), case.values("out.logits"), TOLERANCE);
        // The way back to a folder gives the first weights, to the last bit.
        let folder = target.path().join(name);
        save_decoder(&own, &folder).unwrap();
        assert_eq!(load_decoder(&folder).unwrap().state_dict(), weights_of(&case), "{name}");
        for kind in [TensorType::F16, TensorType::Q8_0] {
            fs::write(&path, decoder_gguf(&network, kind).unwrap().to_bytes()).unwrap();
            let file = GgufFile::open(&path).unwrap();
            for tensor in file.tensors() {
                let rows_fit = tensor.shape.last().unwrap().is_multiple_of(kind.block_values());
                let want = match tensor.shape.len() {
                    1 => TensorType::F32,
                    _ if rows_fit => kind,
                    _ => TensorType::F16,
                };
                assert_eq!(tensor.kind, Ok(want), "{name}: {}", tensor.name);
            }
            let own = logits(&load_decoder(&path).unwrap(), &tokens(&case));
            let coarse = Tolerance { relative: 0.0, of_largest: 0.03, absolute: 0.0 };
            assert_close(name, &own, case.values("out.logits"), coarse);
        }
    }
}

#[test]
fn what_a_gguf_file_cannot_say_is_refused() {
    let network = load(&case("grouped"));
    let mut config = network.graph().decoder().unwrap().clone();
    config.activation = Activation::Gelu;
    let gelu = Network::from_graph("gelu", config.graph().unwrap(), 0);
    let mut large = load(&case("grouped"));
    let specs = large.graph().clone();
    let words = specs.parameters().iter().position(|spec| spec.name.contains("embed_tokens"));
    large.parameters_mut()[words.unwrap()][0] = 1e5;
    for (network, kind, want) in [
        (&gelu, TensorType::F32, "its activation is Gelu"),
        (&large, TensorType::F16, "holds 100000, beyond what F16 has"),
    ] {
        let error = decoder_gguf(network, kind).unwrap_err();
        assert!(error.to_string().contains(want), "{error}, {want} expected");
        assert!(error.hint().is_some());
    }
    decoder_gguf(&large, TensorType::F32).unwrap();
}

#[test]
fn weights_in_pieces_without_a_prefix_or_with_a_written_head_are_read() {
    let case = case("grouped");
    let full = weights_of(&case);
    let want = load(&case).state_dict();
    let bare = full
        .iter()
        .map(|(name, array)| (name.strip_prefix("model.").unwrap().to_owned(), array.clone()));
    let mut headed = full.clone();
    headed.insert("lm_head.weight".to_owned(), full["model.embed_tokens.weight"].clone());
    for state in [bare.collect(), headed] {
        assert_eq!(load_decoder(saved(&case, &state).path()).unwrap().state_dict(), want);
    }
    let folder = saved(&case, &full);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let (first, second): (StateDict, StateDict) =
        full.clone().into_iter().partition(|(name, _)| name.contains("layers.0"));
    for (name, state) in [("a.safetensors", first), ("b.safetensors", second)] {
        weights::write(&folder.path().join(name), &state, &BTreeMap::new()).unwrap();
    }
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#).unwrap();
    assert_eq!(load_decoder(folder.path()).unwrap().state_dict(), want);
    fs::write(&index, r#"{"weight_map": {"x": "../a.safetensors"}}"#).unwrap();
    let error = load_decoder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`../a.safetensors`"), "{error}");
}

#[test]
fn what_does_not_fit_is_told_by_name() {
    let case = case("qwen2");
    let full = weights_of(&case);
    let error =
        |state: &StateDict| load_decoder(saved(&case, state).path()).unwrap_err().to_string();
    let mut state = full.clone();
    state.remove("model.layers.1.self_attn.q_proj.bias");
    assert!(error(&state).contains("`model.layers.1.self_attn.q_proj.bias` is missing"));
    let mut state = full.clone();
    let array = Array { shape: vec![2], values: vec![0.0; 2] };
    state.insert("model.layers.1.self_attn.o_proj.bias".to_owned(), array.clone());
    assert!(error(&state).contains("o_proj.bias` is unexpected"));
    state = full;
    state.insert("model.norm.weight".to_owned(), array);
    assert!(error(&state).contains("[2], the network wants [24]"));
    let empty = tempfile::tempdir().unwrap();
    let error = load_decoder(empty.path()).unwrap_err();
    assert!(error.to_string().contains("no weights of a language model"), "{error}");
    assert!(error.hint().unwrap().contains("model.safetensors"));
    assert!(load_decoder(&empty.path().join("none")).is_err());
}

#[test]
fn gguf_files_of_other_models_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut file = GgufFile::open(&self::folder().join("grouped.gguf")).unwrap();
    let tensors: Vec<_> = file.tensors().to_vec();
    let values: Vec<_> = tensors.iter().map(|tensor| file.read(&tensor.name).unwrap()).collect();
    let metadata = file.metadata().clone();
    let write = |key: &str, value: Option<Value>, leave: &str, add: Option<&str>| {
        let mut writer = GgufWriter::new();
        for (own, old) in &metadata {
            if own != key {
                writer = writer.with(own, old.clone());
            }
        }
        if let Some(value) = value {
            writer = writer.with(key, value);
        }
        for (tensor, values) in tensors.iter().zip(&values) {
            if tensor.name != leave {
                writer = writer.with_tensor(&tensor.name, &tensor.shape, values, TensorType::F32);
            }
        }
        if let Some(name) = add {
            writer = writer.with_tensor(name, &[2], &[1.0, 2.0], TensorType::F32);
        }
        fs::write(&path, writer.to_bytes()).unwrap();
        load_decoder(&path)
    };
    write("none", None, "", None).unwrap();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let number = |number: u64| Some(Value::Unsigned(number));
    let cases = [
        (write("general.architecture", text("gemma3"), "", None), "`gemma3`; known are llama"),
        (write("general.architecture", None, "", None), "`general.architecture` is ``"),
        (write("llama.block_count", None, "", None), "`llama.block_count` is missing"),
        (write("llama.block_count", text("two"), "", None), "is a string"),
        (write("llama.block_count", number(3), "", None), "`blk.2.attn_norm.weight` is missing"),
        (write("llama.block_count", number(u64::MAX), "", None), "beyond any decoder's"),
        (write("llama.attention.head_count", number(5), "", None), "do not divide 5"),
        (write("llama.rope.dimension_count", number(2), "", None), "heads have 4 values"),
        (write("llama.rope.scaling.type", text("yarn"), "", None), "type `yarn`"),
        (write("llama.expert_count", number(8), "", None), "mixtures of experts"),
        (write("x", None, "token_embd.weight", None), "`token_embd.weight` is missing"),
        (write("x", None, "blk.1.ffn_up.weight", None), "`blk.1.ffn_up.weight` is missing"),
        (write("x", None, "", Some("rope_freqs.weight")), "`rope_freqs.weight` is unexpected"),
    ];
    for (result, want) in cases {
        let error = result.expect_err(want);
        assert!(error.to_string().contains(want), "{error}, {want} expected");
        assert!(error.to_string().contains("model.gguf"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn smollm2_gives_its_goldens() {
    let Some(path) = std::env::var_os("FACULTY_SMOLLM").map(PathBuf::from) else {
        eprintln!("skipped: FACULTY_SMOLLM names no GGUF file of SmolLM2-135M-Instruct");
        return;
    };
    // "It is a truth universally acknowledged, …", by a numpy program that reads the same file.
    let ids: [u32; 40] = [
        1589, 314, 253, 4569, 21902, 14494, 28, 338, 253, 2244, 555, 281, 13932, 282, 253, 1123,
        18598, 28, 1251, 325, 281, 1277, 282, 253, 6221, 30, 533, 216, 33, 40, 33, 35, 260, 37366,
        1708, 216, 34, 37, 8473, 30,
    ];
    let network = load_decoder(&path).unwrap();
    assert_eq!(network.graph().parameter_count(), 134_515_008);
    let mut tokens = Tokens::default();
    tokens.push(&ids, &[0; 40]);
    let logits = logits(&network, &tokens);
    let vocabulary = logits.len() / 40;
    let mut sum = 0.0;
    for (row, &label) in logits.chunks_exact(vocabulary).zip(&ids[1..]) {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let exps: f64 = row.iter().map(|&z| f64::from(z - max).exp()).sum();
        sum += f64::from(max) + exps.ln() - f64::from(row[label as usize]);
    }
    assert!((sum / 39.0 - 3.24187).abs() < 1e-3, "mean NLL {}", sum / 39.0);
    let want = [-3.11198, -3.47142, 2.23664, -5.63939, -5.70949];
    for (got, want) in logits[39 * vocabulary..].iter().zip(want) {
        assert!((got - want).abs() < 1e-2, "{got}, {want} expected");
    }
}
