//! A small model whose tokens are bytes and a few merges of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faculty_gguf::{Array, GgufWriter, NumberKind, TensorType, Value};
use faculty_nets::{DecoderConfig, Network, RotaryLayout};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Merges of the vocabulary: of "the" with a space before it, "in" and two digits, which smollm's cut keeps
/// apart.
pub(crate) const MERGES: [&str; 5] = ["t h", "th e", "Ġ the", "i n", "1 2"];
const CONTROL: [&str; 2] = ["<|end|>", "<|turn|>"];

/// Bytes, merges, and tokens that mark something.
pub(crate) fn vocabulary() -> Vec<String> {
    let mut bytes: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    let control = CONTROL.iter().map(|&token| token.to_owned());
    control.chain(bytes.into_iter().map(String::from)).chain(merged).collect()
}

pub(crate) fn config() -> DecoderConfig {
    DecoderConfig {
        longest: 64,
        heads: 4,
        kv_heads: 2,
        head_width: 8,
        intermediate: 48,
        initial_deviation: 0.25,
        rotary_layout: RotaryLayout::Interleaved,
        ..DecoderConfig::new(vocabulary().len(), 2, 32)
    }
}

pub(crate) fn network() -> Network {
    Network::from_graph("small", config().graph().unwrap(), 5)
}

fn strings(own: &[String]) -> Value {
    Value::Array(Array::Strings(own.to_vec()))
}

/// The model as a GGUF file, with `pre` as its cut.
pub(crate) fn writer(pre: &str) -> GgufWriter {
    let (config, tokens) = (config(), vocabulary());
    let kinds =
        tokens.iter().map(|token| if CONTROL.contains(&token.as_str()) { 3_i32 } else { 1 });
    let kinds = kinds.flat_map(i32::to_le_bytes).collect();
    let number = |number: usize| Value::Unsigned(number as u64);
    let merges: Vec<String> = MERGES.iter().map(|&merge| merge.to_owned()).collect();
    let mut writer = GgufWriter::new()
        .with("general.architecture", Value::String("llama".to_owned()))
        .with("llama.block_count", number(config.layers))
        .with("llama.context_length", number(config.longest))
        .with("llama.embedding_length", number(config.width))
        .with("llama.feed_forward_length", number(config.intermediate))
        .with("llama.attention.head_count", number(config.heads))
        .with("llama.attention.head_count_kv", number(config.kv_heads))
        .with("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5))
        .with("tokenizer.ggml.model", Value::String("gpt2".to_owned()))
        .with("tokenizer.ggml.pre", Value::String(pre.to_owned()))
        .with("tokenizer.ggml.tokens", strings(&tokens))
        .with("tokenizer.ggml.merges", strings(&merges))
        .with("tokenizer.ggml.eos_token_id", number(0))
        .with(
            "tokenizer.ggml.token_type",
            Value::Array(Array::Numbers { kind: NumberKind::I32, bytes: kinds }),
        );
    let names = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("model.layers", "blk"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
    ];
    for (name, array) in network().state_dict() {
        let name = names.iter().fold(name, |name, (own, there)| name.replace(own, there));
        writer = writer.with_tensor(&name, &array.shape, &array.values, TensorType::F32);
    }
    writer
}

pub(crate) fn gguf(folder: &Path) -> PathBuf {
    let path = folder.join("small.gguf");
    fs::write(&path, writer("smollm").to_bytes()).unwrap();
    path
}

/// A model with its head and words in halves' order as a folder of Hugging Face's kind.
pub(crate) fn folder(folder: &Path) {
    let config = DecoderConfig { rotary_layout: RotaryLayout::Halves, ..config() };
    fs::write(folder.join("config.json"), config.to_json()).unwrap();
    fs::write(folder.join("generation_config.json"), r#"{"eos_token_id": [0, 1]}"#).unwrap();
    let state = network().state_dict();
    let path = folder.join("model.safetensors");
    faculty_nets::weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let tokens = vocabulary();
    let vocab: serde_json::Map<_, _> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "post_processor": null, "pre_tokenizer": byte_level, "decoder": byte_level,
        "added_tokens": [],
        "model": { "type": "BPE", "vocab": vocab, "merges": MERGES },
    });
    fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
}
