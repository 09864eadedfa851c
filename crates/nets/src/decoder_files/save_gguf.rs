//! A decoder as a GGUF file that llama.cpp opens.

use faculty_gguf::{GgufWriter, TensorType, Value};
use faculty_kernels::activation::Activation;
use faculty_kernels::rotary::RotaryLayout;

use super::gguf::name_there;
use super::save::state_in;
use crate::decoder_config::{DecoderConfig, DecoderFamily};
use crate::error::{Error, Result};
use crate::network::Network;

/// The version of llama.cpp's blocks that are written.
const QUANTISATION_VERSION: u64 = 2;
/// The largest half float.
const LARGEST_HALF: f32 = 65_504.0;

/// Settings and weights of a decoder as a GGUF file, to which the caller adds the tokenizer. Matrices
/// are written as `kind`, F32, F16 or Q8_0; rows that are not whole blocks of Q8_0 as F16; scales of norms and
/// biases as F32. Queries and keys are brought into llama.cpp's order.
///
/// Files of Mistral say `llama`, as llama.cpp's converter has it: within the window both are the same,
/// and behind it llama.cpp attends to all tokens.
///
/// # Errors
/// When llama.cpp computes such a decoder otherwise, or a weight is beyond the type's range.
///
/// # Panics
/// If the network is no decoder, or `kind` is not written.
pub fn decoder_gguf(network: &Network, kind: TensorType) -> Result<GgufWriter> {
    let config = network.graph().decoder().expect("the network is a decoder");
    if config.activation != Activation::Silu {
        let problem = format!(
            "its activation is {:?}, llama.cpp computes SiLU in models of this architecture",
            config.activation
        );
        return Err(Error::NoGguf { problem });
    }
    let mut writer = with_settings(config, kind);
    let layout = match config.family {
        DecoderFamily::Llama | DecoderFamily::Mistral => RotaryLayout::Interleaved,
        DecoderFamily::Qwen2 => RotaryLayout::Halves,
    };
    for (name, array) in state_in(network, layout) {
        let there = name_there(&name).expect("every parameter of a decoder has a name there");
        let row = array.shape.last().copied().unwrap_or(0);
        let own = match kind {
            _ if array.shape.len() < 2 => TensorType::F32,
            _ if !row.is_multiple_of(kind.block_values()) => TensorType::F16,
            _ => kind,
        };
        let largest = match own {
            TensorType::F16 => LARGEST_HALF,
            TensorType::Q8_0 => LARGEST_HALF * 127.0,
            _ => f32::MAX,
        };
        if let Some(value) =
            array.values.iter().find(|value| value.is_nan() || value.abs() > largest)
        {
            let problem = format!("`{name}` holds {value}, beyond what {} has", own.name());
            return Err(Error::NoGguf { problem });
        }
        writer = writer.with_tensor(&there, &array.shape, &array.values, own);
    }
    Ok(writer)
}

/// What the metadata say of the network.
fn with_settings(config: &DecoderConfig, kind: TensorType) -> GgufWriter {
    let architecture = match config.family {
        DecoderFamily::Llama | DecoderFamily::Mistral => "llama",
        DecoderFamily::Qwen2 => "qwen2",
    };
    // llama.cpp's number of a file's most usual type.
    let file_type = match kind {
        TensorType::F16 => 1,
        TensorType::Q8_0 => 7,
        _ => 0,
    };
    let count = |count: usize| Value::Unsigned(count as u64);
    let mut writer = GgufWriter::new()
        .with("general.architecture", Value::String(architecture.to_owned()))
        .with("general.type", Value::String("model".to_owned()))
        .with("general.file_type", Value::Unsigned(file_type))
        .with("general.quantization_version", Value::Unsigned(QUANTISATION_VERSION));
    // An epsilon of 1e-5 in f32 is another number in f64; it is written as f32 again.
    let epsilon = f64::from(config.epsilon);
    for (key, value) in [
        ("block_count", count(config.layers)),
        ("vocab_size", count(config.vocabulary)),
        ("context_length", count(config.longest)),
        ("embedding_length", count(config.width)),
        ("feed_forward_length", count(config.intermediate)),
        ("attention.head_count", count(config.heads)),
        ("attention.head_count_kv", count(config.kv_heads)),
        ("attention.key_length", count(config.head_width)),
        ("attention.value_length", count(config.head_width)),
        ("attention.layer_norm_rms_epsilon", Value::Float(epsilon)),
        ("rope.dimension_count", count(config.head_width)),
        ("rope.freq_base", Value::Float(config.rotary_base)),
    ] {
        writer = writer.with(&format!("{architecture}.{key}"), value);
    }
    match config.window {
        Some(window) => {
            writer.with(&format!("{architecture}.attention.sliding_window"), count(window))
        }
        None => writer,
    }
}
