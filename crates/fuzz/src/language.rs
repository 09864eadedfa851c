//! Files of language models.

use faculty_gguf::{Array, GgufFile, GgufWriter, TensorType, Value};
use faculty_language::LanguageModel;

use crate::input::Scratch;

/// A GGUF file: its tensors, and a language model with its tokenizer.
pub(crate) fn gguf(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("model.gguf", bytes);
    let Ok(mut file) = GgufFile::open(&path) else { return false };
    for tensor in file.tensors().to_vec() {
        if let Ok(values) = file.read(&tensor.name) {
            assert_eq!(values.len(), tensor.elements());
            // A block of 144 bytes has 256 values.
            assert!(values.len() <= 2 * bytes.len());
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    match LanguageModel::open(&path) {
        Ok(model) => model.tokenizer.encode("a b").is_ok(),
        Err(_) => false,
    }
}

/// A model of one narrow layer with a vocabulary of six words.
pub(crate) fn gguf_files() -> Vec<Vec<u8>> {
    let words = ["<end>", "a", "b", "c", "ab", "\u{120}"].map(str::to_owned).to_vec();
    let strings = |own: Vec<String>| Value::Array(Array::Strings(own));
    let text = |own: &str| Value::String(own.to_owned());
    let number = Value::Unsigned;
    let mut writer = GgufWriter::new()
        .with("general.architecture", text("llama"))
        .with("llama.block_count", number(1))
        .with("llama.context_length", number(8))
        .with("llama.embedding_length", number(4))
        .with("llama.feed_forward_length", number(6))
        .with("llama.attention.head_count", number(2))
        .with("llama.attention.head_count_kv", number(1))
        .with("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5))
        .with("tokenizer.ggml.model", text("gpt2"))
        .with("tokenizer.ggml.pre", text("smollm"))
        .with("tokenizer.ggml.tokens", strings(words))
        .with("tokenizer.ggml.merges", strings(vec!["a b".to_owned()]));
    let sizes: [(&str, &[usize]); 11] = [
        ("token_embd", &[6, 4]),
        ("output_norm", &[4]),
        ("blk.0.attn_norm", &[4]),
        ("blk.0.attn_q", &[4, 4]),
        ("blk.0.attn_k", &[2, 4]),
        ("blk.0.attn_v", &[2, 4]),
        ("blk.0.attn_output", &[4, 4]),
        ("blk.0.ffn_norm", &[4]),
        ("blk.0.ffn_gate", &[6, 4]),
        ("blk.0.ffn_up", &[6, 4]),
        ("blk.0.ffn_down", &[4, 6]),
    ];
    for (name, shape) in sizes {
        let values = vec![0.5; shape.iter().product()];
        writer = writer.with_tensor(&format!("{name}.weight"), shape, &values, TensorType::F32);
    }
    vec![writer.to_bytes()]
}
